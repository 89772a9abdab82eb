"""Small ResNet-18 without attention, 64 px, from random weights, for a CPU.

Claim: none of the paper's; what a model without ImageNet's help does on a subset of EyePACS.
Command: python -m experiments.eyepacs.resnet18_gap all
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="resnet18_gap",
    data=Data(dataset="eyepacs", task="binary", image_size=64),
    model=Model(backbone="resnet18", head="gap", weights="none", width=0.25),
    training=Training(
        epochs=30,
        batch_size=32,
        learning_rate=1e-3,
        adam_epsilon=1e-7,
        patience=30,
        min_delta=0.0,
    ),
    attack=Attack(epsilons=(0.0005, 0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04), batch_size=64),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
