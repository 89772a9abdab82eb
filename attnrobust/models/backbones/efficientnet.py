"""EfficientNet B0 to B3 (Tan and Le 2019) of keras.applications, its normalisation made one layer.

Keras puts three layers before the stem: a division by 255, a `Normalization` (nothing without
ImageNet weights) and, with ImageNet weights only, a second scaling. That file holds the standard
deviations of the pixels where the layer looks for variances, and the second scaling mends it:
random, downloaded and locally stored weights would see three kinds of pixels. The `Normalization`
also forgets its numbers when a model is cloned, and rounds pixels under half precision. Here one
layer of float32 does what all three do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust.models.backbones.base import (
    Backbone,
    Stored,
    at,
    constructed,
    refuse_width,
)

# Of ImageNet's pixels in [0, 1]: red, green, blue.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


@keras.saving.register_keras_serializable(package="attnrobust")
class Standardization(keras.layers.Layer):
    """Images in [0, 1] -> (image - mean) / deviation by channel, ImageNet's unless loaded.

    Shapes: (B, H, W, 3) -> (B, H, W, 3), float32 under every precision policy.

    Weights, which do not learn: mean (3,), deviation (3,).
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")  # as Preprocessing
        super().__init__(**kwargs)

    def build(self, input_shape: tf.TensorShape) -> None:
        for name, start in (("mean", MEAN), ("deviation", DEVIATION)):
            constant = keras.initializers.Constant(start)
            setattr(self, name, self.add_weight(name, (3,), initializer=constant, trainable=False))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return (inputs - self.mean) / self.deviation


def _efficientnet(
    images: tf.Tensor,
    width: float,
    weights: str | None,
    *,
    name: str,
    constructor: Callable[..., keras.Model],
) -> keras.Model:
    """EfficientNet (Tan and Le 2019) on standardised images, with Keras' own weights."""
    refuse_width(name, width)
    # The second scaling is a layer in Keras 2.15 and an operation in tf-keras 2.21: the network is
    # that without ImageNet weights, which has none, and the other one gives its numbers alone.
    original = constructed(constructor, images, None)
    network = keras.models.clone_model(original, images, clone_function=_standardized)
    donor = constructed(constructor, images, weights) if weights else original
    mean, variance, _, *rest = donor.get_weights()
    # The random network's `Normalization` changes nothing; ours begins with ImageNet's numbers.
    first = _statistics(mean, variance) if weights else network.get_weights()[:2]
    network.set_weights([*first, *rest])
    return network


def _standardized(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of a layer of Keras' network, or what stands in its place here."""
    if isinstance(layer, keras.layers.Normalization):
        return Standardization(name="preprocessing")
    if isinstance(layer, keras.layers.Rescaling):
        # Keras' running numbers would change with every model built.
        return keras.layers.Activation("linear", name="scaling", dtype="float32")
    return type(layer).from_config(layer.get_config())


def _statistics(mean: np.ndarray, variance: np.ndarray) -> list[np.ndarray]:
    """Mean and deviation that a `Normalization` stands for.

    ImageNet's file has its deviations for variances (tensorflow/tensorflow issue 49930).
    """
    mistaken = variance.shape == (3,) and np.allclose(variance, DEVIATION, atol=1e-3)
    return [mean, variance if mistaken else np.sqrt(variance)]


def _translate(stored: Stored) -> Stored:
    """Layers of a Keras file with its `Normalization` in the form of `Standardization`."""
    return [
        (name, _statistics(*arrays[:2]) if name.startswith("normalization") else arrays)
        for name, arrays in stored
    ]


def _row(name: str, constructor: Callable[..., keras.Model], size: int) -> Backbone:
    return Backbone(
        functools.partial(_efficientnet, name=name, constructor=constructor),
        size=size,
        smallest=32,
        # Before each halving of the map: at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image.
        taps=(
            "block2a_expand_activation",
            "block3a_expand_activation",
            "block4a_expand_activation",
            "block6a_expand_activation",
            "top_activation",
        ),
        cuts={"full": at("top_activation")},
        translate=_translate,
    )


ROWS = {
    "efficientnet_b0": _row("efficientnet_b0", keras.applications.EfficientNetB0, 224),
    "efficientnet_b1": _row("efficientnet_b1", keras.applications.EfficientNetB1, 240),
    "efficientnet_b2": _row("efficientnet_b2", keras.applications.EfficientNetB2, 260),
    "efficientnet_b3": _row("efficientnet_b3", keras.applications.EfficientNetB3, 300),
}
