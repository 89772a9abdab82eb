"""Wasserman's networks, attacked as the paper's own code may have done it.

What is left here is a reading of the paper's number, not the network's robustness, which the twin
measures.
Command: python -m experiments eyepacs.NAME all
"""

from experiments.eyepacs import (
    inception_resnet_v2_gap,
    inception_resnet_v2_soft_attention,
    resnet50_gap,
    resnet50_soft_attention,
)
from experiments.variants import AS_PUBLISHED, Variant

VARIANTS = {
    "resnet50_gap_as_published": Variant(
        """resnet50_gap through its softmax, ε in its first layer's numbers.

        Claim: 0.832 clean, 3 % less from ε 0.01 on (Wasserman, figure 4).
        """,
        resnet50_gap.EXPERIMENT,
        AS_PUBLISHED,
    ),
    "resnet50_soft_attention_as_published": Variant(
        """resnet50_soft_attention through its softmax, ε in its first layer's numbers.

        Claim: 0.818 clean; at ε 0.32 over 20 times its twin's accuracy (Wasserman, figure 4).
        """,
        resnet50_soft_attention.EXPERIMENT,
        AS_PUBLISHED,
    ),
    "inception_resnet_v2_gap_as_published": Variant(
        """inception_resnet_v2_gap through its softmax, ε in its first layer's numbers.

        Claim: slightly ahead of its twin with attention (Wasserman, figure 7).
        """,
        inception_resnet_v2_gap.EXPERIMENT,
        AS_PUBLISHED,
    ),
    "inception_resnet_v2_soft_attention_as_published": Variant(
        """inception_resnet_v2_soft_attention through its softmax, ε in its first layer's numbers.

        Claim: near-identical to its twin (Wasserman, figure 7).
        """,
        inception_resnet_v2_soft_attention.EXPERIMENT,
        AS_PUBLISHED,
    ),
}
