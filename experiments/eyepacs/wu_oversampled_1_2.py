"""wu_corrupted_1_2 with every grade equally common: repeated images, each copy corrupted anew.

Claim: 81.2 % accuracy, 47.1 % balanced, kappa 0.703 (Wu, table 7); trained on images that were
corrupted once, at levels 1 to 2. All else is the twin's.
Command: python -m attnrobust.data.corrupted --records tfrecords/shards/eyepacs
    --out tfrecords/shards/eyepacs_oversampled_1_2 --levels 1-2 --splits train --oversample
Command: python -m experiments.eyepacs.wu_oversampled_1_2 train predict attack evaluate
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.wu_corrupted_1_2 import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="wu_oversampled_1_2",
    data=dataclasses.replace(TWIN.data, records="eyepacs_oversampled_1_2"),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
