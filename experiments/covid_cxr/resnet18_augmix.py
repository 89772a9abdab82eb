"""The ResNet-18 of resnet18_standard, trained with AugMix of random flips.

Claim: loses against resnet18_standard under PGD and under noise (Martinez-Martinez and Nabavi,
table I, "AugMix": 94.25 % clean, 12.41 % as the mean over PGD's epsilons; 21.27, 26.07 and 44.35 %
under Gaussian, salt-and-pepper and speckle noise).
From the paper: AugMix of random flips with the Jensen-Shannon loss. Ours: width, depth, severity
and weights of AugMix, which are those of Hendrycks et al. 2020; all other settings are the twin's.
Command: python -m experiments.covid_cxr.resnet18_augmix all
"""

import dataclasses

from attnrobust.run import main
from experiments.covid_cxr.resnet18_standard import EXPERIMENT as TWIN

EXPERIMENT = dataclasses.replace(
    TWIN,
    name="resnet18_augmix",
    training=dataclasses.replace(TWIN.training, method="augmix", augmix_operations=("flip",)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
