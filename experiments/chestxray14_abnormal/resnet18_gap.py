"""The small ResNet-18 of chestxray14.resnet18_gap, on any finding or none.

Claim: none of a paper's; the twin of resnet18_gap_adversarial, on classes of nearly equal size.
Command: python -m experiments.chestxray14_abnormal.resnet18_gap all
"""

import dataclasses

from attnrobust.run import main
from experiments.chestxray14.resnet18_gap import EXPERIMENT as OTHER

EXPERIMENT = dataclasses.replace(
    OTHER, data=dataclasses.replace(OTHER.data, dataset="chestxray14_abnormal")
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
