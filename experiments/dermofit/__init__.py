"""Dermofit Image Library."""
