"""TRAIN: records to weights."""
