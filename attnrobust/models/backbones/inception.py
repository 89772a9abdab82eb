"""InceptionV3 (Szegedy et al. 2015) and InceptionResNetV2 (Szegedy et al. 2016)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from attnrobust.models.backbones.base import Backbone, application, at, refuse_width


def _inception_v3(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """InceptionV3 (Szegedy et al. 2015), Keras' own."""
    refuse_width("inception_v3", width)
    return application(keras.applications.InceptionV3, "tf", images, weights)


def _inception_resnet_v2(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """InceptionResNetV2 (Szegedy et al. 2016), Keras' own."""
    refuse_width("inception_resnet_v2", width)
    return application(keras.applications.InceptionResNetV2, "tf", images, weights)


def _side_branch(network: keras.Model) -> tf.Tensor:
    """The 1x1 branch of InceptionResNetV2's block8_9, before its ReLU: (B, 8, 8, 192) at 299 px.

    Circulating soft-attention code takes `layers[-28]` of the network with its top, which is this
    layer: the block's other branch, its sum and everything behind it go unused. The layer's own
    name is a running number that changes with every model built, so it is found as the input of
    the activation that feeds `block8_9_mixed` with 192 channels.
    """
    branches = network.get_layer("block8_9_mixed").input
    branch = next(tensor for tensor in branches if tensor.shape[-1] == 192)
    return next(layer.input for layer in network.layers if layer.output is branch)


ROWS = {
    "inception_v3": Backbone(
        _inception_v3,
        size=299,
        smallest=75,
        taps=("mixed2", "mixed3", "mixed7", "mixed8", "mixed10"),
        cuts={"full": at("mixed10")},
    ),
    "inception_resnet_v2": Backbone(
        _inception_resnet_v2,
        size=299,
        smallest=75,
        taps=("mixed_5b", "block35_10_ac", "mixed_6a", "block17_20_ac", "mixed_7a", "conv_7b_ac"),
        cuts={"full": at("conv_7b_ac"), "literal": _side_branch},
    ),
}
