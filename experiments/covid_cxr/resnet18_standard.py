"""ResNet-18 on COVID-19 against other chest X-rays, trained on the images as they are.

Claim: loses most of its accuracy under PGD of 1/255 to 5/255, and some under noise (Martinez-
Martinez and Nabavi, *Addressing Vulnerability in Medical Deep Learning through Robust Training*,
table I, "Standard": 95.80 % clean, 22.24 % as the mean over PGD's epsilons; 72.78, 72.00 and
86.51 % under Gaussian, salt-and-pepper and speckle noise).
From the paper: network, 41 epochs, SGD, learning rate, PGD's 20 steps and epsilons, kinds and
range of the noise. Ours, since it states none: L-inf and 255ths for its epsilons, a step of an
eighth of epsilon (20 of them reach the edge 2.5 times), five of its noise levels (0.1, 0.2, 0.4,
0.7, 1), momentum 0.9, 224 px, batches of 32, random starting weights, no class weights, no
augmentation, the epoch of the best validation loss, the split by patient.
Command: python -m experiments.covid_cxr.resnet18_standard all
"""

from attnrobust.config import Attack, Corruptions, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="resnet18_standard",
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
    ),
    corruptions=Corruptions(names=("gaussian_noise", "salt_and_pepper", "speckle")),
    attack=Attack(
        epsilons=(1 / 255, 2 / 255, 3 / 255, 4 / 255, 5 / 255), steps=20, rel_stepsize=1 / 8
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
