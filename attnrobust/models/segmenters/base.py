"""What the segmenters share: filters by width, a convolution with BatchNorm, the first layers."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError
from attnrobust.models.backbones.base import Preprocessing


def begin(name: str, images: tf.Tensor, weights: str | None) -> tf.Tensor:
    """The images as the network sees them, in [-1, 1].

    Raises:
        UserError: ImageNet weights are asked for; there are none.
    """
    if weights:
        raise UserError(f"model.weights = {weights}: there are none for {name}; use none or a file")
    return Preprocessing("tf", name="preprocessing")(images)


def filters(number: int, width: float) -> int:
    """That many at width 1."""
    return max(1, round(number * width))


def convolution(x: tf.Tensor, number: int, name: str) -> tf.Tensor:
    """3x3 convolution, BatchNorm and ReLU, which bears the name."""
    x = keras.layers.Conv2D(
        number,
        3,
        padding="same",
        use_bias=False,  # the batch normalisation has one
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    # Keras' momentum of 0.99 needs hundreds of steps until inference works; small sets have few.
    x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return keras.layers.Activation("relu", name=name)(x)
