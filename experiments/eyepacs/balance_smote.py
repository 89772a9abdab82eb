"""Its twin balance_cross_entropy with rare grades filled up by SMOTE.

Claim: mixtures of photographs are no photographs: accuracy falls from 0.852 to 0.211, balanced
accuracy from 0.586 to 0.504 (Wu, Table 5).
Ours: MobileNet 0.75 at 128 px where it has EfficientNet-B0 at 512 px; all else is the twin's.
Command: python -m experiments.eyepacs.balance_smote all
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.balance_cross_entropy import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="balance_smote",
    training=dataclasses.replace(TWIN.training, sampling="smote"),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
