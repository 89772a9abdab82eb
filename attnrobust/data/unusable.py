"""The exception for one image that cannot be used."""

from __future__ import annotations


class UnusableImageError(Exception):
    """An image that goes to rejects.csv; the message is the reason."""
