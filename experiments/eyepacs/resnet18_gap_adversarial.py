"""The small ResNet-18 of resnet18_gap, trained on adversarials: L-inf 2/255, 5 steps.

Claim: stands larger perturbations than its twin resnet18_gap, for less accuracy on clean images
(Wu, fundus images, with 2.5/255 and 5 steps, half of the loss on clean images; here adversarials
alone). All other settings are the twin's.
Command: python -m experiments.eyepacs.resnet18_gap_adversarial all
"""

import dataclasses

from attnrobust.run import main
from experiments.eyepacs.resnet18_gap import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="resnet18_gap_adversarial",
    training=dataclasses.replace(
        TWIN.training,
        method="adversarial",
        inner_norm="linf",
        inner_epsilon=2 / 255,
        inner_steps=5,
        inner_rel_stepsize=0.4,
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
