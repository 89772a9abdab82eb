"""EXPLAIN: images and a model to heatmaps."""

# Where there is no attack: the folder below `explain/`, and the sample images in it.
UNATTACKED, SAMPLES = "clean", "samples.npz"
# What the model makes of the heatmaps of one method and condition, beside them; and whether they
# depend on what the model has learned.
SCORES, RANDOMISED = "faithfulness-{}.npz", "randomisation.json"
