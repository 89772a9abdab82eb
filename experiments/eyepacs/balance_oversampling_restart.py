"""A few epochs of oversampling from the weights of balance_cross_entropy.

Claim: the most balanced of all (0.630 against 0.586) at the cost of the commonest grade: accuracy
0.760 (Wu, Table 5, five epochs; its text says that one is best).
Ours: MobileNet 0.75 at 128 px where it has EfficientNet-B0 at 512 px; settings of mobilenet_gap.
Command: python -m experiments.eyepacs.balance_oversampling_restart all
First: python -m experiments.eyepacs.balance_cross_entropy all, with the same seed.
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.pipeline import main

EXPERIMENT = Experiment(
    name="balance_oversampling_restart",
    data=Data(dataset="eyepacs", image_size=128),
    model=Model(backbone="mobilenet", head="gap", width=0.75),
    training=Training(
        epochs=5,
        batch_size=32,
        learning_rate=1e-4,
        adam_epsilon=1e-7,
        patience=20,
        min_delta=0.0,
        class_weights="none",
        sampling="oversample",
        start="balance_cross_entropy",
    ),
    attack=Attack(epsilons=(0.0001, 0.0004, 0.00125, 0.0025, 0.005, 0.01)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
