"""Wu, *Robust Training and Interpretability for Fundus Imaging*, Table 4: seven networks.

From the paper: network, 20 epochs, size, batch size, augmentation, no class weights, the best
epoch; ImageNet weights, but for ResNet-18. Ours: Adam with 1e-4, since it names neither optimizer
nor rate. Ours too: the best epoch by validation loss, on patients apart from the test split's (the
paper tests on the images it chooses by), no dropout before the last layer of EfficientNet and
InceptionV3, and a PGD with 40 steps up to the paper's epsilon of 2.5/255.
Records: python -m tfrecords.eyepacs --raw DIR --fit disc --filter graham
Command: python -m experiments eyepacs.NAME all
"""

import dataclasses

from attnrobust.config import Attack, Data, Experiment, Model
from experiments.eyepacs import balance
from experiments.variants import Variant

BASE = Experiment(
    name="grades",
    data=Data(dataset="eyepacs", image_size=256),
    model=Model(backbone="efficientnet_b0", head="gap"),
    training=dataclasses.replace(balance.BASE.training, batch_size=192),
    attack=Attack(epsilons=(0.5 / 255, 1 / 255, 1.5 / 255, 2 / 255, 2.5 / 255)),
)

VARIANTS = {
    "grades_efficientnet_b0": Variant(
        """EfficientNet-B0 on the five grades of EyePACS.

        Claim (Wu, Table 4): 81.5 % clean, 44.0 % balanced, kappa 0.696 at 256 px; 85.2 %, 58.6 %,
        0.805 at 512 px.
        At 512 px (records of --size 512): … all --set data.image_size=512
            --set training.batch_size=16 --set name=NAME_512
        """,
        BASE,
    ),
    "grades_efficientnet_b1": Variant(
        """EfficientNet-B1 on the five grades of EyePACS.

        Claim (Wu, Table 4): 81.7 % clean, 45.5 % balanced, kappa 0.706 at 256 px; 85.0 %, 58.7 %,
        0.805 at 512 px.
        At 512 px (records of --size 512): … all --set data.image_size=512
            --set training.batch_size=16 --set name=NAME_512
        """,
        BASE,
        ("model.backbone=efficientnet_b1",),
    ),
    "grades_efficientnet_b2": Variant(
        """EfficientNet-B2 on the five grades of EyePACS.

        Claim (Wu, Table 4): 82.3 % clean, 54.9 % balanced, kappa 0.739 at 256 px; 85.2 %, 61.0 %,
        0.811 at 512 px.
        At 512 px (records of --size 512): … all --set data.image_size=512
            --set training.batch_size=16 --set name=NAME_512
        """,
        BASE,
        (
            "model.backbone=efficientnet_b2",
            "training.batch_size=96",
        ),
    ),
    "grades_efficientnet_b3": Variant(
        """EfficientNet-B3 on the five grades of EyePACS.

        Claim (Wu, Table 4): 82.8 % clean, 53.9 % balanced, kappa 0.746 at 256 px; 85.1 %, 58.5 %,
        0.803 at 512 px.
        At 512 px (records of --size 512): … all --set data.image_size=512
            --set training.batch_size=24 --set name=NAME_512
        """,
        BASE,
        (
            "model.backbone=efficientnet_b3",
            "training.batch_size=96",
        ),
    ),
    "grades_inception_v3": Variant(
        """InceptionV3 on the five grades of EyePACS.

        Claim (Wu, Table 4): 81.6 % clean, 49.7 % balanced, kappa 0.706 at 299 px.
        Keras' network has no auxiliary classifier.
        """,
        BASE,
        (
            "data.image_size=299",
            "model.backbone=inception_v3",
            "training.batch_size=64",
        ),
    ),
    "grades_resnet18": Variant(
        """ResNet-18 on the five grades of EyePACS.

        Claim (Wu, Table 4): 81.2 % clean, 47.6 % balanced, kappa 0.701 at 256 px; 83.6 %, 52.1 %,
        0.760 at 512 px.
        Ours: random starting weights, since Keras has no ImageNet's for ResNet-18, and therefore
        Adam's usual 1e-3.
        At 512 px (records of --size 512): … all --set data.image_size=512
            --set training.batch_size=64 --set name=NAME_512
        """,
        BASE,
        (
            "model.backbone=resnet18",
            "model.weights=none",
            "training.batch_size=128",
            "training.learning_rate=1e-3",
        ),
    ),
    "grades_resnet50": Variant(
        """ResNet-50 on the five grades of EyePACS.

        Claim (Wu, Table 4): 81.9 % clean, 51.9 % balanced, kappa 0.725 at 256 px; 82.6 %, 46.7 %,
        0.725 at 512 px.
        At 512 px (records of --size 512): … all --set data.image_size=512
            --set training.batch_size=64 --set name=NAME_512
        """,
        BASE,
        (
            "model.backbone=resnet50",
            "training.batch_size=64",
        ),
    ),
}
