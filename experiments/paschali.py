"""The three networks of Paschali et al., of any data set."""

from __future__ import annotations

from attnrobust.config import Attack, Data, Experiment, Model, Training
from experiments.variants import Variant

BASE = Experiment(
    name="paschali",
    data=Data(dataset="any", image_size=299),
    model=Model(backbone="inception_v3", head="gap_dropout", dropout=0.8),
    training=Training(
        epochs=200,
        batch_size=32,
        optimizer="sgd",
        learning_rate=0.01,
        schedule="plateau",
        plateau_epochs=5,
        patience=15,
        min_delta=0.0,
        augmentation=("flip", "rotate", "zoom", "shift", "wu_shear"),
    ),
    # Of the paper's SSIM, 0.97 to 0.99, on skin lesions.
    attack=Attack(name="fgsm", epsilons=(1.5 / 255,)),
)


def networks(*settings: str) -> dict[str, Variant]:
    """InceptionV3, InceptionV4 and MobileNet with these settings, called `paschali_…`."""
    return {
        "paschali_inception_v3": Variant(
            """InceptionV3 at 299 px, trained as Paschali et al. train.

            Claim: the lowest accuracy of three on clean images, 0.710, loses least: 0.693 under
            noise, 0.641 as the mean over FGSM, DeepFool and the saliency map attack of all three
            (table 1).
            """,
            BASE,
            settings,
        ),
        "paschali_inception_v4": Variant(
            """InceptionV4 at 299 px, trained as Paschali et al. train, but from random weights.

            Claim: 0.810 on clean images, 0.761 under noise, 0.633 as the mean over the attacks of
            all three (table 1): as good as MobileNet where nothing attacks, better under attack.
            """,
            "paschali_inception_v3",
            ("model.backbone=inception_v4", "model.weights=none"),
        ),
        "paschali_mobilenet": Variant(
            """MobileNet at 224 px, trained as Paschali et al. train.

            Claim: 0.800 on clean images, 0.647 under noise, 0.564 as the mean over the attacks of
            all three (table 1): a small network loses most.
            """,
            "paschali_inception_v3",
            ("model.backbone=mobilenet", "data.image_size=224"),
        ),
    }
