"""EXPLAIN: images and a model to heatmaps."""

# Where there is no attack: the folder below `explain/`, and the sample images in it.
UNATTACKED, SAMPLES = "clean", "samples.npz"
