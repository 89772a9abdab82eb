"""The small ResNet-18 of chestxray14 on any finding or none.

Command: python -m experiments chestxray14_abnormal.NAME all
"""

from experiments.small import ADVERSARIAL, RESNET18
from experiments.variants import Variant

VARIANTS = {
    "resnet18_gap": Variant(
        """The small ResNet-18 of chestxray14.resnet18_gap, on any finding or none.

        Claim: none of a paper's; the twin of resnet18_gap_adversarial, on classes of nearly equal
        size.
        """,
        RESNET18,
        ("training.augmentation=zoom,shift",),
    ),
    "resnet18_gap_adversarial": Variant(
        """The small ResNet-18 of resnet18_gap, trained on adversarials: L-inf 2/255, 5 steps.

        Claim: stands larger perturbations than its twin resnet18_gap, for less accuracy on clean
        images (Martinez-Martinez and Nabavi, X-rays, with 4/255 and 7 steps). All other settings
        are the twin's.
        """,
        "resnet18_gap",
        ADVERSARIAL,
    ),
}
