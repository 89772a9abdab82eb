"""The ResNet-18 of resnet18_augmix, trained on adversarials as well: L-inf 4/255, 7 steps.

Claim: stands PGD and Gaussian and speckle noise nearly as resnet18_adversarial does, with the
smallest calibration error of the four (Martinez-Martinez and Nabavi, tables I and II,
"RobustAugMix": 96.27 % clean, 82.10 % as the mean over PGD's epsilons; 83.56, 69.75 and 94.86 %
under Gaussian, salt-and-pepper and speckle noise; calibration error 2.32 %).
From the paper: AugMix of random flips with the Jensen-Shannon loss, epsilon 4 and 7 steps. Ours:
L-inf and 255ths (it names neither norm nor scale; code of its first author's is L2), a step of a
quarter of epsilon; the rest is that of the twins.
Command: python -m experiments.covid_cxr.resnet18_robust_augmix all
"""

import dataclasses

from attnrobust.run import main
from experiments.covid_cxr.resnet18_standard import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="resnet18_robust_augmix",
    training=dataclasses.replace(
        TWIN.training, method="robust_augmix", inner_epsilon=4 / 255, augmix_operations=("flip",)
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
