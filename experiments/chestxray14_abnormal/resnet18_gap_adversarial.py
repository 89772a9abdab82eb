"""The small ResNet-18 of resnet18_gap, trained on adversarials: L-inf 2/255, 5 steps.

Claim: stands larger perturbations than its twin resnet18_gap, for less accuracy on clean images
(Martinez-Martinez and Nabavi, X-rays, with 4/255 and 7 steps); all other settings are the twin's.
Command: python -m experiments.chestxray14_abnormal.resnet18_gap_adversarial all
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.pipeline import main

EXPERIMENT = Experiment(
    name="resnet18_gap_adversarial",
    data=Data(dataset="chestxray14_abnormal", image_size=64),
    model=Model(backbone="resnet18", head="gap", weights="none", width=0.25),
    training=Training(
        epochs=30,
        batch_size=32,
        learning_rate=1e-3,
        adam_epsilon=1e-7,
        patience=30,
        min_delta=0.0,
        augmentation=("zoom", "shift"),
        method="adversarial",
        inner_norm="linf",
        inner_epsilon=2 / 255,
        inner_steps=5,
        inner_rel_stepsize=0.4,
    ),
    attack=Attack(epsilons=(0.0005, 0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04), batch_size=64),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
