"""InceptionResNetV2 without attention: the paper's twin flattens where others average.

Claim (Wasserman, section 4): clean within 1 % of its twin with attention, slightly better under
attack.
Command: python -m experiments.eyepacs.inception_resnet_v2_gap all
Settings: section 3.3 of the paper; batch size, augmentation and PGD steps are not stated there:
16, rotation, zoom, shift and flips, and Foolbox's 40 steps are ours. The paper does not list its
epsilons: those here double from 0.00125, its smallest, to 0.32, its largest here.
Result: needs the full data set and a GPU; not run here.
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="inception_resnet_v2_gap",
    data=Data(dataset="eyepacs", task="binary", image_size=299),
    model=Model(backbone="inception_resnet_v2", head="flatten", cut="literal"),
    training=Training(batch_size=16),
    attack=Attack(epsilons=(0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT, about=__doc__))
