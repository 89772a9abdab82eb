"""Its twin balance_cross_entropy with the inverse-frequency loss.

Claim: as balanced as the baseline (0.596 against 0.586), for 5 % of accuracy (Wu, Table 5).
Ours: MobileNet 0.75 at 128 px where it has EfficientNet-B0 at 512 px; all else is the twin's.
Command: python -m experiments.eyepacs.balance_inverse_frequency all
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.balance_cross_entropy import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="balance_inverse_frequency",
    training=dataclasses.replace(TWIN.training, class_weights="inverse_frequency"),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
