"""Small ResNet-18 without attention (global average pooling), on drawn lesions.

Claim: none about patients; the images are drawn. It shows the walk from records to report.
Command: make demo, or python -m experiments.demo.resnet18_gap all
"""

from attnrobust.config import Attack, Checks, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="resnet18_gap",
    data=Data(dataset="demo", image_size=64),
    model=Model(backbone="resnet18", head="gap", weights="none", width=0.25),
    training=Training(
        epochs=16, batch_size=32, learning_rate=1e-3, adam_epsilon=1e-7, patience=16, min_delta=0.0
    ),
    # Steps of a tenth of epsilon: at Foolbox's thirtieth this network's attack does not converge.
    attack=Attack(
        epsilons=tuple(k / 255 for k in (0.125, 0.25, 0.5, 1, 2, 4, 8)),
        rel_stepsize=0.1,
        batch_size=64,
    ),
    checks=Checks(samples=48, draws=5, queries=200),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT, about=__doc__))
