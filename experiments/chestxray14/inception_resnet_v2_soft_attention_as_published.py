"""inception_resnet_v2_soft_attention through its softmax, ε in its first layer's numbers.

Claim: worse than chance beyond ε 0.00125 (Wasserman, figure 8). What is left here is a reading of
that number, not the network's robustness, which the twin measures.
Command: python -m experiments.chestxray14.inception_resnet_v2_soft_attention_as_published all
"""

from attnrobust.run import main
from experiments import as_published
from experiments.chestxray14.inception_resnet_v2_soft_attention import EXPERIMENT as TWIN

EXPERIMENT = as_published(TWIN)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
