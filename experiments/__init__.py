"""EXPERIMENTS: one file each, `experiments/<dataset>/<backbone>_<head>.py`."""
