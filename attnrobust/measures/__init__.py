"""MEASURES: numbers from logits, labels and heatmaps. No TensorFlow."""
