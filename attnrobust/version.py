"""The version of attnrobust."""

__version__ = "0.1.0"
