"""inception_resnet_v2_gap through its softmax, ε in its first layer's numbers.

Claim: at most 6 % from its twin with attention (Wasserman, figure 6). What is left here is a
reading of that number, not the network's robustness, which the twin measures.
Command: python -m experiments.ham10000.inception_resnet_v2_gap_as_published all
"""

from attnrobust.run import main
from experiments import as_published
from experiments.ham10000.inception_resnet_v2_gap import EXPERIMENT as TWIN

EXPERIMENT = as_published(TWIN)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
