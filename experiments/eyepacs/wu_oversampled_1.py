"""wu_corrupted_1 with every grade equally common: repeated images, each copy corrupted anew.

Claim: 80.6 % accuracy, 47.7 % balanced, kappa 0.705 (Wu, table 7); trained on images that were
corrupted once, at level 1. All else is the twin's.
Command: python -m attnrobust.data.corrupted --records tfrecords/shards/eyepacs
    --out tfrecords/shards/eyepacs_oversampled_1 --levels 1 --splits train --oversample
Command: python -m experiments.eyepacs.wu_oversampled_1 train predict attack evaluate
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.wu_corrupted_1 import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="wu_oversampled_1",
    data=dataclasses.replace(TWIN.data, records="eyepacs_oversampled_1"),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
