"""InceptionResNetV2 without attention: the paper's twin flattens where others average.

Claim (Wasserman, section 4): clean within 1 % of its twin with attention, at most 6 % apart under
attack.
Command: python -m experiments.ham10000.inception_resnet_v2_gap all
Settings: section 3.3 of the paper; batch size, augmentation and PGD steps are not stated there:
16, rotation, zoom, shift and flips, and Foolbox's 40 steps are ours.
Result: needs the full data set and a GPU; not run here.
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="inception_resnet_v2_gap",
    data=Data(dataset="ham10000", image_size=299),
    model=Model(backbone="inception_resnet_v2", head="flatten", cut="literal"),
    training=Training(batch_size=16, epoch_fraction=0.1),
    attack=Attack(epsilons=(0.00125, 0.0025, 0.005, 0.01)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT, about=__doc__))
