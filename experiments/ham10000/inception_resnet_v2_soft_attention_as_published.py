"""inception_resnet_v2_soft_attention through its softmax, ε in its first layer's numbers.

Claim: slightly ahead of its twin without attention (Wasserman, figure 6). What is left here is a
reading of that number, not the network's robustness, which the twin measures.
Command: python -m experiments.ham10000.inception_resnet_v2_soft_attention_as_published all
"""

from attnrobust.run import main
from experiments import as_published
from experiments.ham10000.inception_resnet_v2_soft_attention import EXPERIMENT as TWIN

EXPERIMENT = as_published(TWIN)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
