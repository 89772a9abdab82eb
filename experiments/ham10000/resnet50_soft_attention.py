"""ResNet-50 with a soft-attention head on conv5_block3_out.

Claim (Wasserman, section 4): 0.88 clean; better than chance at ε 0.01.
Command: python -m experiments.ham10000.resnet50_soft_attention all
Settings: section 3.3 of the paper; batch size, augmentation and PGD steps are not stated there:
16, rotation, zoom, shift and flips, and Foolbox's 40 steps are ours. The variant of the soft
attention is the formula of Datta et al.; --set model.variant=literal gives the circulating layer.
Result: needs the full data set and a GPU; not run here.
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="resnet50_soft_attention",
    data=Data(dataset="ham10000", image_size=224),
    model=Model(backbone="resnet50", head="soft_attention"),
    training=Training(batch_size=16, epoch_fraction=0.1),
    attack=Attack(epsilons=(0.00125, 0.0025, 0.005, 0.01)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT, about=__doc__))
