"""Experiments on the lesions of HAM10000."""
