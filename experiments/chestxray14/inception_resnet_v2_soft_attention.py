"""InceptionResNetV2 with a soft-attention head on the paper's cut.

Claim (Wasserman, section 4): clean within 1 % of its twin without attention; worse than chance
beyond ε 0.00125.
Command: python -m experiments.chestxray14.inception_resnet_v2_soft_attention all
Settings: section 3.3 of the paper; batch size, augmentation and PGD steps are not stated there:
16, zoom and shift (a chest is not turned or mirrored: the heart has its side), and Foolbox's 40
steps are ours. The paper does not list its epsilons: those here double from 0.00125, its
smallest, to 0.32, its largest here. The variant of the soft attention is the formula of Datta et
al.; --set model.variant=literal gives the circulating layer.
Result: needs the full data set and a GPU; not run here.
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="inception_resnet_v2_soft_attention",
    data=Data(dataset="chestxray14", image_size=299),
    model=Model(backbone="inception_resnet_v2", head="soft_attention_flatten", cut="literal"),
    training=Training(batch_size=16, augmentation=("zoom", "shift")),
    attack=Attack(epsilons=(0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT, about=__doc__))
