"""The three segmenters of Paschali et al., in full size and small enough for a CPU."""

from __future__ import annotations

from attnrobust.config import Attack, Data, Experiment, Model, Training
from experiments.variants import Variant

FULL = Experiment(
    name="unet",
    data=Data(dataset="any", image_size=256),
    model=Model(backbone="unet", head="", weights="none"),
    training=Training(
        epochs=100,
        batch_size=8,
        learning_rate=1e-3,
        adam_epsilon=1e-7,
        loss="cross_entropy_dice",
        class_weights="median_frequency",
        patience=20,
        min_delta=0.0,
        augmentation=(),
    ),
    attack=Attack(name="sea", epsilons=(0.5 / 255, 1 / 255, 2 / 255, 4 / 255), batch_size=16),
)
SMALL = (
    "data.image_size=64",
    "model.width=0.25",
    "training.batch_size=16",
    "training.epochs=30",
    "attack.steps=50",
)
# What it is, the paper's numbers, and the layer at its bottom: Grad-CAM there shows what the rest
# of the image tells of a class; at the last map before the logits it would show these alone.
SKIPS = {
    "segnet": ("SegNet, which has no skip connections", "37.17", "0.842", "0.470", "down5"),
    "unet": ("U-Net, which has long skip connections", "40.92", "0.862", "0.453", "bottom"),
    "fc_densenet": (
        "The Tiramisu (FC-DenseNet103), which has long and short skip connections",
        "19.53",
        "0.861",
        "0.667",
        "bottom_new",
    ),
}


def segmenters(dataset: str) -> dict[str, Variant]:
    """All three on a data set, called so, each also small.

    Args:
        dataset: What its images are called in a sentence.
    """
    made = {}
    for name, (what, drop, clean, attacked, bottom) in SKIPS.items():
        made[name] = Variant(
            f"""{what}, on {dataset}, 256 px.

        Claim: on OASIS brains, Dice {clean} on clean images and {attacked} as the mean over
        adversarials that DAG makes of the three, a drop of {drop} % as printed (table 1); DenseNet
        loses the least.
        """,
            FULL,
            (f"model.backbone={name}", f"explanation.layer={bottom}"),
        )
        made[f"{name}_small"] = Variant(
            f"""The network of {name}, a quarter as wide, on {dataset}, 64 px, for a CPU.

        Claim: none of the paper's; the same comparison where there is no GPU. All other settings
        but batch, epochs and steps of the attack are the twin's.
        """,
            name,
            SMALL,
        )
    return made
