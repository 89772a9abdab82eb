"""attnrobust: how robust a medical image classifier is, why, and how to make it better."""

__version__ = "0.1.0"
