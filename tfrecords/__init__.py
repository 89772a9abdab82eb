"""PREPARE: one file for each raw layout; nothing else knows folders or CSV columns."""
