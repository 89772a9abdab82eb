"""The network of resnet18_standard with a quarter of the filters, 64 px, for a CPU.

Claim: that of its twin resnet18_standard. Ours: size, width and learning rate 1e-3; the radii of
the attack are those of both readings of the paper's epsilon at 64 px (see
resnet18_small_adversarial).
Command: python -m experiments.ham10000_balanced.resnet18_small_standard all
"""

import dataclasses

from attnrobust.run import main
from experiments.ham10000_balanced.resnet18_standard import EXPERIMENT as TWIN

# 4 for 50,000 pixels, in proportion to pixels: 0.328. With the side it would be 4 * 64 / 224 = 8/7.
EPSILON = 4 * 64**2 / 50_000

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="resnet18_small_standard",
    data=dataclasses.replace(TWIN.data, image_size=64),
    model=dataclasses.replace(TWIN.model, width=0.25),
    training=dataclasses.replace(TWIN.training, learning_rate=1e-3),
    attack=dataclasses.replace(
        TWIN.attack, epsilons=(EPSILON / 4, EPSILON / 2, EPSILON, 4 / 7, 8 / 7)
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
