"""Small networks for subsets of any data set and machines without a GPU."""

from __future__ import annotations

from attnrobust.config import Attack, Data, Experiment, Model, Training
from experiments.variants import Variant

MOBILENET = Experiment(
    name="mobilenet",
    data=Data(dataset="any", image_size=128),
    model=Model(backbone="mobilenet", head="gap", width=0.75),
    training=Training(
        epochs=20, batch_size=32, learning_rate=1e-4, adam_epsilon=1e-7, patience=20, min_delta=0.0
    ),
    attack=Attack(epsilons=(0.0001, 0.0004, 0.00125, 0.0025, 0.005, 0.01)),
)
RESNET18 = Experiment(
    name="resnet18",
    data=Data(dataset="any", image_size=64),
    model=Model(backbone="resnet18", head="gap", weights="none", width=0.25),
    training=Training(
        epochs=30, batch_size=32, learning_rate=1e-3, adam_epsilon=1e-7, patience=30, min_delta=0.0
    ),
    attack=Attack(epsilons=(0.0005, 0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04), batch_size=64),
)
ATTENTION = ("model.head=soft_attention",)
ADVERSARIAL = (
    "training.method=adversarial",
    "training.inner_norm=linf",
    "training.inner_epsilon=2/255",
    "training.inner_steps=5",
    "training.inner_rel_stepsize=0.4",
)


def mobilenets(dataset: str, *settings: str) -> dict[str, Variant]:
    """MobileNet with and without attention on a data set, called so, with these settings."""
    claim = f"""

        Claim: none of the paper's; a small network for subsets of {dataset} and machines without a
        GPU.
        Offline: add --set model.weights=FILE, MobileNet 0.75 without its top as Keras names it.
        """
    return {
        "mobilenet_gap": Variant(
            f"""MobileNet 0.75 without attention, 128 px, sized for a CPU.{claim}""",
            MOBILENET,
            settings,
        ),
        "mobilenet_soft_attention": Variant(
            "MobileNet 0.75 with a soft-attention head (paper variant), 128 px, sized for a CPU."
            f"{claim}",
            "mobilenet_gap",
            ATTENTION,
        ),
    }


def resnets(dataset: str, *settings: str) -> dict[str, Variant]:
    """The small ResNet-18 three times on a data set, called so, with these settings."""
    claim = f"""

        Claim: none of the paper's; what a model without ImageNet's help does on a subset of
        {dataset}.
        """
    return {
        "resnet18_gap": Variant(
            f"Small ResNet-18 without attention, 64 px, from random weights, for a CPU.{claim}",
            RESNET18,
            settings,
        ),
        "resnet18_soft_attention": Variant(
            "Small ResNet-18 with soft attention (paper variant), 64 px, from random weights, for "
            f"a CPU.{claim}",
            "resnet18_gap",
            ATTENTION,
        ),
        "resnet18_gap_adversarial": Variant(
            """The small ResNet-18 of resnet18_gap, trained on adversarials: L-inf 2/255, 5 steps.

            Claim: stands larger perturbations than its twin resnet18_gap, for less accuracy on
            clean images (Wu, fundus images, with 2.5/255 and 5 steps, half of the loss on clean
            images; here adversarials alone). All other settings are the twin's.
            """,
            "resnet18_gap",
            ADVERSARIAL,
        ),
    }
