"""A few epochs of oversampling from the weights of balance_cross_entropy.

Claim: the most balanced of all (0.630 against 0.586) at the cost of the commonest grade: accuracy
0.760 (Wu, Table 5, five epochs; its text says that one is best).
Ours: MobileNet 0.75 at 128 px where it has EfficientNet-B0 at 512 px; all else is the twin's.
Command: python -m experiments.eyepacs.balance_oversampling_restart all
First: python -m experiments.eyepacs.balance_cross_entropy all, with the same seed.
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.balance_cross_entropy import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="balance_oversampling_restart",
    training=dataclasses.replace(
        TWIN.training, epochs=5, sampling="oversample", start="balance_cross_entropy"
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
