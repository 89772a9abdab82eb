"""Wasserman's networks, attacked as the paper's own code may have done it.

What is left here is a reading of the paper's number, not the network's robustness, which the twin
measures.
Command: python -m experiments chestxray14.NAME all
"""

from experiments.chestxray14 import (
    inception_resnet_v2_gap,
    inception_resnet_v2_soft_attention,
    resnet50_gap,
    resnet50_soft_attention,
)
from experiments.variants import AS_PUBLISHED, Variant

VARIANTS = {
    "resnet50_gap_as_published": Variant(
        """resnet50_gap through its softmax, ε in its first layer's numbers.

        Claim: 0.805 is left at ε 0.32 (Wasserman, figure 5).
        """,
        resnet50_gap.EXPERIMENT,
        AS_PUBLISHED,
    ),
    "resnet50_soft_attention_as_published": Variant(
        """resnet50_soft_attention through its softmax, ε in its first layer's numbers.

        Claim: 0.805 is left at ε 0.32 (Wasserman, figure 5).
        """,
        resnet50_soft_attention.EXPERIMENT,
        AS_PUBLISHED,
    ),
    "inception_resnet_v2_gap_as_published": Variant(
        """inception_resnet_v2_gap through its softmax, ε in its first layer's numbers.

        Claim: remains usable up to ε 0.005 (Wasserman, figure 8).
        """,
        inception_resnet_v2_gap.EXPERIMENT,
        AS_PUBLISHED,
    ),
    "inception_resnet_v2_soft_attention_as_published": Variant(
        """inception_resnet_v2_soft_attention through its softmax, ε in its first layer's numbers.

        Claim: worse than chance beyond ε 0.00125 (Wasserman, figure 8).
        """,
        inception_resnet_v2_soft_attention.EXPERIMENT,
        AS_PUBLISHED,
    ),
}
