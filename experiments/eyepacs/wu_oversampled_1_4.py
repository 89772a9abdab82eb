"""wu_corrupted_1_4 with every grade equally common: repeated images, each copy corrupted anew.

Claim: 80.3 % accuracy, 46.6 % balanced, kappa 0.695 (Wu, table 7); trained on images that were
corrupted once, at levels 1 to 4. All else is the twin's.
Command: python -m attnrobust.data.corrupted --records tfrecords/shards/eyepacs
    --out tfrecords/shards/eyepacs_oversampled_1_4 --levels 1-4 --splits train --oversample
Command: python -m experiments.eyepacs.wu_oversampled_1_4 train predict attack evaluate
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.wu_corrupted_1_4 import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="wu_oversampled_1_4",
    data=dataclasses.replace(TWIN.data, records="eyepacs_oversampled_1_4"),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
