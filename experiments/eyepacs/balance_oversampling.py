"""Its twin balance_cross_entropy on every grade as often as the commonest.

Claim: repeated images are learned by heart: accuracy falls from 0.852 to 0.704, balanced accuracy
from 0.586 to 0.399; dropout of 0.75 brings most of it back (Wu, Table 5).
Ours: MobileNet 0.75 at 128 px where it has EfficientNet-B0 at 512 px; all else is the twin's.
Command: python -m experiments.eyepacs.balance_oversampling all
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.balance_cross_entropy import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="balance_oversampling",
    training=dataclasses.replace(TWIN.training, sampling="oversample"),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
