"""balance_oversampling with a dropout of 0.9 before the last layer.

Claim: 0.780 accuracy, 0.578 balanced, kappa 0.780, where the twin has 0.704, 0.399 and 0.612:
dropout holds back the learning by heart (Wu, Table 5).
Ours: MobileNet 0.75 at 128 px where it has EfficientNet-B0 at 512 px; all else is the twin's.
Command: python -m experiments.eyepacs.balance_oversampling_dropout_090 all
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.balance_oversampling import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="balance_oversampling_dropout_090",
    model=dataclasses.replace(TWIN.model, head="gap_dropout", dropout=0.9),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
