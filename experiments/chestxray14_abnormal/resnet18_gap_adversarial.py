"""The small ResNet-18 of resnet18_gap, trained on adversarials: L-inf 2/255, 5 steps.

Claim: stands larger perturbations than its twin resnet18_gap, for less accuracy on clean images
(Martinez-Martinez and Nabavi, X-rays, with 4/255 and 7 steps). All other settings are the twin's.
Command: python -m experiments.chestxray14_abnormal.resnet18_gap_adversarial all
"""

import dataclasses

from attnrobust.run import main
from experiments.chestxray14.resnet18_gap_adversarial import EXPERIMENT as OTHER

EXPERIMENT = dataclasses.replace(
    OTHER, data=dataclasses.replace(OTHER.data, dataset="chestxray14_abnormal")
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
