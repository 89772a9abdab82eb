"""The ResNet-18 of resnet18_standard, trained on adversarials: L2 4, 7 steps.

Claim: its gradients show the lesion where those of its twin are noise, for less accuracy on clean
images (Margeloiu et al., figures 1 and 5: epsilon 4 and 7 show it best).
From the paper: L2, epsilon 4 at 224 px, 7 steps of a fifth of epsilon (together 1.4 times its
length), a random start, adversarials alone. Ours: the attack, and all that the twin says. For other
sizes the paper scales epsilon in proportion to pixels, 4 for 50,000 of them, which
resnet18_small_adversarial does; resnet18_small_adversarial_by_side scales it with the side.
Command: python -m experiments.ham10000_balanced.resnet18_adversarial all
"""

import dataclasses

from attnrobust.run import main
from experiments.ham10000_balanced.resnet18_standard import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="resnet18_adversarial",
    training=dataclasses.replace(
        TWIN.training,
        method="adversarial",
        inner_norm="l2",
        inner_epsilon=4.0,
        inner_rel_stepsize=1 / 5,
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
