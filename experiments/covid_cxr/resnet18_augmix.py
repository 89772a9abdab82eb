"""The ResNet-18 of resnet18_standard, trained with AugMix of random flips.

Claim: loses against resnet18_standard under PGD and under noise (Martinez-Martinez and Nabavi,
table I, "AugMix": 94.25 % clean, 12.41 % as the mean over PGD's epsilons; 21.27, 26.07 and 44.35 %
under Gaussian, salt-and-pepper and speckle noise).
From the paper: AugMix of random flips with the Jensen-Shannon loss. Ours: width, depth, severity
and weights of AugMix, which are those of Hendrycks et al. 2020; all other settings are the twin's.
Command: python -m experiments.covid_cxr.resnet18_augmix all
"""

from attnrobust.config import Attack, Corruptions, Data, Experiment, Model, Training
from attnrobust.pipeline import main

EXPERIMENT = Experiment(
    name="resnet18_augmix",
    data=Data(dataset="covid_cxr", image_size=224, task="covid"),
    model=Model(backbone="resnet18", head="gap", weights="none"),
    training=Training(
        epochs=41,
        batch_size=32,
        optimizer="sgd",
        learning_rate=0.01,
        class_weights="none",
        patience=41,
        min_delta=0.0,
        augmentation=(),
        method="augmix",
        augmix_operations=("flip",),
    ),
    corruptions=Corruptions(names=("gaussian_noise", "salt_and_pepper", "speckle")),
    attack=Attack(
        epsilons=(1 / 255, 2 / 255, 3 / 255, 4 / 255, 5 / 255), steps=20, rel_stepsize=1 / 8
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
