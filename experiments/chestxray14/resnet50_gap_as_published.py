"""resnet50_gap through its softmax, ε in its first layer's numbers.

Claim: 0.805 is left at ε 0.32 (Wasserman, figure 5). What is left here is a reading of that number,
not the network's robustness, which the twin measures.
Command: python -m experiments.chestxray14.resnet50_gap_as_published all
"""

from attnrobust.run import main
from experiments import as_published
from experiments.chestxray14.resnet50_gap import EXPERIMENT as TWIN

EXPERIMENT = as_published(TWIN)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
