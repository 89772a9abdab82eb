"""The ResNet-18 of resnet18_standard, trained on adversarials: L2 4, 7 steps.

Claim: its gradients show the lesion where those of its twin are noise, for less accuracy on clean
images (Margeloiu et al., figures 1 and 5: epsilon 4 and 7 show it best).
From the paper: L2, epsilon 4 at 224 px, 7 steps of a fifth of epsilon (together 1.4 times its
length), a random start, adversarials alone. Ours: the attack, and all that the twin says. The paper
would scale epsilon with the input size; with the side, the change a pixel stays, so for 64 px
    --set data.image_size=64 --set training.inner_epsilon=8/7
    --set attack.epsilons=0.5/7,1/7,2/7,4/7,8/7,12/7
Command: python -m experiments.ham10000_balanced.resnet18_adversarial all
"""

from attnrobust.config import Attack, Data, Experiment, Model, Training
from attnrobust.pipeline import main

EXPERIMENT = Experiment(
    name="resnet18_adversarial",
    data=Data(dataset="ham10000_balanced", image_size=224),
    model=Model(backbone="resnet18", head="gap", weights="none"),
    training=Training(
        epochs=25,
        batch_size=16,
        learning_rate=3e-4,
        adam_epsilon=1e-8,
        weight_decay=5e-4,
        schedule="step",
        decay_epochs=(15,),
        class_weights="none",
        patience=25,
        min_delta=0.0,
        method="adversarial",
        inner_norm="l2",
        inner_epsilon=4.0,
        inner_steps=7,
        inner_rel_stepsize=1 / 5,
    ),
    attack=Attack(
        name="l2_pgd", epsilons=(0.25, 0.5, 1.0, 2.0, 4.0, 6.0), steps=40, rel_stepsize=0.1
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
