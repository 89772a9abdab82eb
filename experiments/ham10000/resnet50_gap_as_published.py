"""resnet50_gap through its softmax, ε in its first layer's numbers.

Claim: 0.905 clean; worse than chance at ε 0.005, 0 at ε 0.01 (Wasserman, figure 3). What is left
here is a reading of that number, not the network's robustness, which the twin measures.
Command: python -m experiments.ham10000.resnet50_gap_as_published all
"""

from attnrobust.run import main
from experiments import as_published
from experiments.ham10000.resnet50_gap import EXPERIMENT as TWIN

EXPERIMENT = as_published(TWIN)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
