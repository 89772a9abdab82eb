"""Wasserman's networks, attacked as the paper's own code may have done it.

What is left here is a reading of the paper's number, not the network's robustness, which the twin
measures.
Command: python -m experiments ham10000.NAME all
"""

from experiments.ham10000 import (
    inception_resnet_v2_gap,
    inception_resnet_v2_soft_attention,
    resnet50_gap,
    resnet50_soft_attention,
)
from experiments.variants import AS_PUBLISHED, Variant

VARIANTS = {
    "resnet50_gap_as_published": Variant(
        """resnet50_gap through its softmax, ε in its first layer's numbers.

        Claim: 0.905 clean; worse than chance at ε 0.005, 0 at ε 0.01 (Wasserman, figure 3).
        """,
        resnet50_gap.EXPERIMENT,
        AS_PUBLISHED,
    ),
    "resnet50_soft_attention_as_published": Variant(
        """resnet50_soft_attention through its softmax, ε in its first layer's numbers.

        Claim: 0.88 clean; better than chance at ε 0.01 (Wasserman, figure 3).
        """,
        resnet50_soft_attention.EXPERIMENT,
        AS_PUBLISHED,
    ),
    "inception_resnet_v2_gap_as_published": Variant(
        """inception_resnet_v2_gap through its softmax, ε in its first layer's numbers.

        Claim: at most 6 % from its twin with attention (Wasserman, figure 6).
        """,
        inception_resnet_v2_gap.EXPERIMENT,
        AS_PUBLISHED,
    ),
    "inception_resnet_v2_soft_attention_as_published": Variant(
        """inception_resnet_v2_soft_attention through its softmax, ε in its first layer's numbers.

        Claim: slightly ahead of its twin without attention (Wasserman, figure 6).
        """,
        inception_resnet_v2_soft_attention.EXPERIMENT,
        AS_PUBLISHED,
    ),
}
