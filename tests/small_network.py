"""A row of BACKBONES for tests: two convolutions, which build and compile ten times faster than a
ResNet-18. What a law says of training, attacks or stages does not depend on the network."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from attnrobust.models.backbones import BACKBONES
from attnrobust.models.backbones.base import Backbone, Preprocessing, at

NAME = "small"


def _small(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """Each convolution halves the image and is followed by BatchNorm and ReLU."""
    assert weights is None, "there are no ImageNet weights of it"
    x = Preprocessing("tf", name="preprocessing")(images)
    for number, filters in enumerate((16, 32), start=1):
        x = keras.layers.Conv2D(
            max(1, round(filters * width)),
            3,
            strides=2,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv{number}_conv",
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"conv{number}_bn")(x)
        x = keras.layers.Activation("relu", name=f"conv{number}_relu")(x)
    return keras.Model(images, x, name=NAME)


ROW = Backbone(
    _small,
    size=32,
    smallest=8,
    taps=("conv1_relu", "conv2_relu"),
    cuts={"full": at("conv2_relu")},
)


def add() -> None:
    """Have `model.backbone=small` in this process."""
    BACKBONES[NAME] = ROW
