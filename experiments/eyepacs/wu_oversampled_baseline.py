"""wu_baseline with every grade equally common: repeated images, not corrupted.

Claim: 70.4 % accuracy, 39.9 % balanced, kappa 0.612 (Wu, table 7). All else is the twin's.
Command: python -m experiments.eyepacs.wu_oversampled_baseline train predict attack evaluate
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.wu_baseline import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="wu_oversampled_baseline",
    training=dataclasses.replace(TWIN.training, sampling="oversample"),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
