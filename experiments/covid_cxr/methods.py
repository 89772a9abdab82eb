"""Martinez-Martinez and Nabavi, *Addressing Vulnerability in Medical Deep Learning through Robust
Training*: one ResNet-18, four ways to train it.

From the paper: network, 41 epochs, SGD, learning rate, PGD's 20 steps and epsilons, kinds and
range of the noise. Ours, since it states none: L-inf and 255ths for its epsilons, a step of an
eighth of epsilon (20 of them reach the edge 2.5 times), five of its noise levels (0.1, 0.2, 0.4,
0.7, 1), momentum 0.9, 224 px, batches of 32, random starting weights, no class weights, no
augmentation, the epoch of the best validation loss, the split by patient.
Command: python -m experiments covid_cxr.NAME all
"""

from attnrobust.config import Attack, Corruptions, Data, Experiment, Model, Training
from experiments.variants import Variant

BASE = Experiment(
    name="resnet18",
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

VARIANTS = {
    "resnet18_standard": Variant(
        """ResNet-18 on COVID-19 against other chest X-rays, trained on the images as they are.

        Claim: loses most of its accuracy under PGD of 1/255 to 5/255, and some under noise (table
        I, "Standard": 95.80 % clean, 22.24 % as the mean over PGD's epsilons; 72.78, 72.00 and
        86.51 % under Gaussian, salt-and-pepper and speckle noise).
        """,
        BASE,
    ),
    "resnet18_adversarial": Variant(
        """The ResNet-18 of resnet18_standard, trained on adversarials: L-inf 4/255, 7 steps.

        Claim: keeps most of its accuracy under PGD of 1/255 to 5/255, gains under Gaussian and
        speckle noise, and loses under salt-and-pepper (table I, "Robust": 95.96 % clean, 89.83 % as
        the mean over PGD's epsilons; 82.91, 61.98 and 95.91 % under Gaussian, salt-and-pepper and
        speckle noise).
        From the paper: epsilon 4 and 7 steps. Ours: L-inf and 255ths (it names neither norm nor
        scale; code of its first author's is L2), a step of a quarter of epsilon (7 of them reach
        the edge 1.75 times); all other settings are the twin's.
        """,
        "resnet18_standard",
        ("training.method=adversarial", "training.inner_epsilon=4/255"),
    ),
    "resnet18_augmix": Variant(
        """The ResNet-18 of resnet18_standard, trained with AugMix of random flips.

        Claim: loses against resnet18_standard under PGD and under noise (table I, "AugMix": 94.25 %
        clean, 12.41 % as the mean over PGD's epsilons; 21.27, 26.07 and 44.35 % under Gaussian,
        salt-and-pepper and speckle noise).
        From the paper: AugMix of random flips with the Jensen-Shannon loss. Ours: width, depth,
        severity and weights of AugMix, which are those of Hendrycks et al. 2020; all other settings
        are the twin's.
        """,
        "resnet18_standard",
        ("training.method=augmix", "training.augmix_operations=flip"),
    ),
    "resnet18_robust_augmix": Variant(
        """The ResNet-18 of resnet18_augmix, trained on adversarials as well: L-inf 4/255, 7 steps.

        Claim: stands PGD and Gaussian and speckle noise nearly as resnet18_adversarial does, with
        the smallest calibration error of the four (tables I and II, "RobustAugMix": 96.27 % clean,
        82.10 % as the mean over PGD's epsilons; 83.56, 69.75 and 94.86 % under Gaussian,
        salt-and-pepper and speckle noise; calibration error 2.32 %).
        From the paper: AugMix of random flips with the Jensen-Shannon loss, epsilon 4 and 7 steps.
        Ours: L-inf and 255ths (it names neither norm nor scale; code of its first author's is L2),
        a step of a quarter of epsilon; the rest is that of the twins.
        """,
        "resnet18_augmix",
        ("training.method=robust_augmix", "training.inner_epsilon=4/255"),
    ),
}
