"""MobileNet 0.75 without attention, 128 px, sized for a CPU.

Claim: none of the paper's; a small network for subsets of HAM10000 and machines without a GPU.
Command: python -m experiments.ham10000.mobilenet_gap all
Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.run import main

EXPERIMENT = Experiment(
    name="mobilenet_gap",
    data=Data(dataset="ham10000", image_size=128),
    model=Model(backbone="mobilenet", head="gap", width=0.75),
    training=Training(
        epochs=20, batch_size=32, learning_rate=1e-4, adam_epsilon=1e-7, patience=20, min_delta=0.0
    ),
    attack=Attack(epsilons=(0.00005, 0.0001, 0.0002, 0.0004, 0.00125, 0.005)),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
