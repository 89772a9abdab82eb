"""Its twin balance_cross_entropy with the class-balanced loss, beta 0.99.

Claim: beta 0.99 raises balanced accuracy from 0.586 to 0.621 at the same accuracy (Wu, Table 5).
Ours: MobileNet 0.75 at 128 px where it has EfficientNet-B0 at 512 px; all else is the twin's.
Command: python -m experiments.eyepacs.balance_class_balanced all
Other rows (it has 0.9, 0.99 and 0.999): the same with --set training.class_balanced_beta=0.999
    --set name=balance_class_balanced_0.999
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.balance_cross_entropy import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="balance_class_balanced",
    training=dataclasses.replace(TWIN.training, class_weights="effective_number"),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
