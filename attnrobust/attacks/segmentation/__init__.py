"""Attacks on segmentation: the table (`methods`), DAG, PGD and APGD on losses of pixels."""
