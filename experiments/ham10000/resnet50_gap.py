"""ResNet-50 without attention: global average pooling on conv5_block3_out.

Claim (Wasserman, section 4): 0.905 clean; worse than chance at ε 0.005, 0 at ε 0.01.
Command: python -m experiments.ham10000.resnet50_gap all
Settings: section 3.3 of the paper; batch size, augmentation and PGD steps are not stated there:
16, rotation, zoom, shift and flips, and Foolbox's 40 steps are ours.
Result: needs the full data set and a GPU; not run here.
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="resnet50_gap",
    data=Data(dataset="ham10000", image_size=224),
    model=Model(backbone="resnet50", head="gap"),
    training=Training(batch_size=16, epoch_fraction=0.1),
    attack=Attack(epsilons=(0.00125, 0.0025, 0.005, 0.01)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT, about=__doc__))
