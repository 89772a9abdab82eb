"""Margeloiu et al., *Improving Interpretability in Medical Imaging Diagnosis using Adversarial
Training*: do the gradients of a robust network show the lesion?

From the paper (settings in its appendix A): network, 224 px, 25 epochs, batches of 16, learning
rate 3e-4 (found by five-fold cross-validation over 1e-3, 3e-4, 1e-4 and batches of 8, 16, 32: see
the second command) and a tenth of it after 15, weight decay 5e-4, Adam as PyTorch has it, no class
weights, flips, rotation by up to 10 and then by up to 50 degrees, brightness, contrast and
saturation changed by up to 0.2, the centre square of each image (the records' default). Ours:
random starting weights where it starts from ImageNet's and trains the last layer alone for ten
epochs (with such weights: --set training.head_epochs=10 --set training.epochs=35 --set
training.decay_epochs=25; it does so in batches of 32); an eighth of its 2,400 training images for
validation, and folds cut from the others alone; pixels in [-1, 1] where it has ImageNet's mean and
deviation; the decay is decoupled; the epoch of the best validation loss; the attack; Grad-CAM.
For sizes other than 224 px the paper scales epsilon in proportion to pixels, 4 for 50,000 of them,
which resnet18_small_adversarial does; resnet18_small_adversarial_by_side scales it with the side.
Command: python -m experiments ham10000_balanced.NAME all
Command: python -m experiments ham10000_balanced.resnet18_standard search --folds 5
    --grid training.learning_rate=1e-3,3e-4,1e-4 --grid training.batch_size=8,16,32
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from experiments.variants import Variant

BASE = Experiment(
    name="resnet18",
    data=Data(dataset="ham10000_balanced", image_size=224),
    model=Model(backbone="resnet18", head="gap", weights="none"),
    training=Training(
        epochs=25,
        batch_size=16,
        learning_rate=3e-4,
        adam_epsilon=1e-8,
        weight_decay=5e-4,
        schedule="step",
        decay_epochs=(15,),
        class_weights="none",
        patience=25,
        min_delta=0.0,
        augmentation=("flip", "margeloiu_rotate", "margeloiu_colour"),
    ),
    attack=Attack(
        name="l2_pgd", epsilons=(0.25, 0.5, 1.0, 2.0, 4.0, 6.0), steps=40, rel_stepsize=0.1
    ),
)
ADVERSARIAL = (
    "training.method=adversarial",
    "training.inner_norm=l2",
    "training.inner_rel_stepsize=1/5",
)
# 4 for 50,000 pixels, in proportion to pixels: 0.328. With the side it would be 4 * 64 / 224 = 8/7.
EPSILON = 4 * 64**2 / 50_000
# Of figures 5, 7 and 11, beside the 4 of resnet18_adversarial; a dot is no part of a name.
RADII = {"0_5": 0.5, "1": 1.0, "2": 2.0, "3": 3.0, "6": 6.0, "8": 8.0}


def _radius(name: str, radius: float) -> dict[str, Variant]:
    """The networks of resnet18_adversarial and of the small one, trained at another radius."""
    text = """{0} trained at an L2 radius of {1:g}{2}.

    Claim: with the radius the gradients show the lesion better, up to about 4 or 7, and noise
    comes back from 8 or 9 on; which is best differs from image to image (figures 5 and 11).
    """
    small = radius / 4 * EPSILON
    return {
        f"resnet18_adversarial_{name}": Variant(
            text.format("resnet18_adversarial", radius, ""),
            "resnet18_adversarial",
            (f"training.inner_epsilon={radius}",),
        ),
        f"resnet18_small_adversarial_{name}": Variant(
            text.format("resnet18_small_adversarial", small, f", the paper's {radius:g} at 64 px"),
            "resnet18_small_adversarial",
            (f"training.inner_epsilon={small}",),
        ),
    }


VARIANTS = {
    "resnet18_standard": Variant(
        """ResNet-18 on nv, bkl and mel, equally many of each, trained on the images as they are.

        Claim: more accurate on clean images than its twin resnet18_adversarial, with gradients that
        are noise (figures 1, 5 and 13).
        """,
        BASE,
    ),
    "resnet18_adversarial": Variant(
        """The ResNet-18 of resnet18_standard, trained on adversarials: L2 4, 7 steps.

        Claim: its gradients show the lesion where those of its twin are noise, for less accuracy on
        clean images (figures 1 and 5: epsilon 4 and 7 show it best).
        From the paper: L2, epsilon 4 at 224 px, 7 steps of a fifth of epsilon (together 1.4 times
        its length), a random start, adversarials alone. Ours: the attack, and all that the twin
        says.
        """,
        "resnet18_standard",
        (*ADVERSARIAL, "training.inner_epsilon=4"),
    ),
    "resnet18_small_standard": Variant(
        """The network of resnet18_standard with a quarter of the filters, 64 px, for a CPU.

        Claim: that of its twin resnet18_standard. Ours: size, width and learning rate 1e-3; the
        radii of the attack are those of both readings of the paper's epsilon at 64 px (see
        resnet18_small_adversarial).
        """,
        "resnet18_standard",
        (
            "data.image_size=64",
            "model.width=0.25",
            "training.learning_rate=1e-3",
            f"attack.epsilons={EPSILON / 4},{EPSILON / 2},{EPSILON},4/7,8/7",
        ),
    ),
    "resnet18_small_adversarial": Variant(
        """The network of resnet18_small_standard, trained on adversarials: L2 0.328, 7 steps.

        Claim: that of resnet18_adversarial. The epsilon is the paper's as it states it, 4 for
        50,000 pixels in proportion to pixels: 0.328 for the 4,096 here, at which the change a pixel
        is 3.5 times smaller than at 224 px. resnet18_small_adversarial_by_side keeps the change a
        pixel instead.
        """,
        "resnet18_small_standard",
        (*ADVERSARIAL, f"training.inner_epsilon={EPSILON}"),
    ),
    "resnet18_small_adversarial_by_side": Variant(
        """resnet18_small_adversarial with its epsilon scaled by the side: L2 8/7 instead of 0.328.

        Claim: that of resnet18_adversarial. Not what the paper states: the change a pixel is that
        of its 4 at 224 px.
        """,
        "resnet18_small_adversarial",
        ("training.inner_epsilon=8/7",),
    ),
    **{name: row for radius in RADII.items() for name, row in _radius(*radius).items()},
}
