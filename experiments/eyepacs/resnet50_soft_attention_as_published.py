"""resnet50_soft_attention through its softmax, ε in its first layer's numbers.

Claim: 0.818 clean; at ε 0.32 over 20 times its twin's accuracy (Wasserman, figure 4). What is left
here is a reading of that number, not the network's robustness, which the twin measures.
Command: python -m experiments.eyepacs.resnet50_soft_attention_as_published all
"""

from attnrobust.run import main
from experiments import as_published
from experiments.eyepacs.resnet50_soft_attention import EXPERIMENT as TWIN

EXPERIMENT = as_published(TWIN)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
