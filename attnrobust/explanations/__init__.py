"""EXPLAIN: images and a model to heatmaps."""
