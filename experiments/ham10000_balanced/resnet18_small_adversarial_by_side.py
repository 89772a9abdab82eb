"""resnet18_small_adversarial with its epsilon scaled by the side: L2 8/7 instead of 0.328.

Claim: that of resnet18_adversarial. Not what the paper states: the change a pixel is that of its 4
at 224 px.
Command: python -m experiments.ham10000_balanced.resnet18_small_adversarial_by_side all
"""

import dataclasses

from attnrobust.run import main
from experiments.ham10000_balanced.resnet18_small_adversarial import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="resnet18_small_adversarial_by_side",
    training=dataclasses.replace(TWIN.training, inner_epsilon=8 / 7),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
