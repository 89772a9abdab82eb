"""The network of wu_baseline, trained on images that were corrupted once, at levels 1 to 2.

Claim: 81.7 % accuracy, 49.7 % balanced, kappa 0.725, less than its twin; but 78.5 % on corrupted
images, only 3.2 points less; more of its predictions change under PGD than of the twin's (Wu,
tables 6 and 8, figure 5).
From the paper: motion blur, light leakage, under and over exposure at random levels, made once and
saved; no other augmentation. Ours: one of the four an image. All else is the twin's.
The report goes by how the records were made, not by names.
Command: python -m attnrobust.data.corrupted --records tfrecords/shards/eyepacs
    --out tfrecords/shards/eyepacs_1_2 --levels 1-2 --splits train
Command: python -m experiments.eyepacs.wu_corrupted_1_2 train predict attack evaluate
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.wu_baseline import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="wu_corrupted_1_2",
    data=dataclasses.replace(TWIN.data, records="eyepacs_1_2"),
    training=dataclasses.replace(TWIN.training, augmentation=()),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
