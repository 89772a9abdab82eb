"""SegNet (Badrinarayanan et al. 2017): no skips but the places of the maxima."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from attnrobust.models.backbones.base import Backbone, at
from attnrobust.models.segmenters.base import begin, convolution, filters

# VGG-16's convolutions of each level, with half its filters, which `model.width=2` gives.
ENCODER = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256), (256, 256, 256))


def _windows(x: tf.Tensor) -> tf.Tensor:
    """Maps (B, H, W, C) to their 2x2 windows, (B, H/2, W/2, 4, C)."""
    _, height, width, channels = x.shape
    x = tf.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
    x = tf.transpose(x, (0, 1, 3, 2, 4, 5))
    return tf.reshape(x, (-1, height // 2, width // 2, 4, channels))


@keras.saving.register_keras_serializable(package="attnrobust")
class MaxPoolingWithPlaces(keras.layers.Layer):
    """2x2 max-pooling that also gives where in its window each maximum stood.

    Shapes: (B, H, W, C) -> [(B, H/2, W/2, C), places (B, H/2, W/2, 4, C)], the second 1 at the
    maximum, the first of several, else 0. The gradient goes to that one alone.
    """

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        windows = _windows(inputs)
        places = tf.one_hot(tf.argmax(windows, axis=3), 4, axis=3, dtype=inputs.dtype)
        return [tf.reduce_sum(windows * places, axis=3), places]


@keras.saving.register_keras_serializable(package="attnrobust")
class MaxUnpooling(keras.layers.Layer):
    """Each value goes where the maximum stood, zeros around it.

    Shapes: [(B, h, w, C), places (B, h, w, 4, C)] -> (B, 2h, 2w, C).
    """

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        values, places = inputs
        _, height, width, channels = values.shape
        windows = values[:, :, :, tf.newaxis] * places
        windows = tf.reshape(windows, (-1, height, width, 2, 2, channels))
        windows = tf.transpose(windows, (0, 1, 3, 2, 4, 5))
        return tf.reshape(windows, (-1, 2 * height, 2 * width, channels))


def _segnet(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """SegNet (Badrinarayanan et al. 2017), half as wide at width 1; unpools to the maxima's places.

    The last decoder keeps its filters, for the logits' own 1x1 convolution behind it.
    """
    x, kept = begin("segnet", images, weights), []
    for level, numbers in enumerate(ENCODER, start=1):
        for place, number in enumerate(numbers, start=1):
            name = f"down{level}" if place == len(numbers) else f"down{level}_{place}"
            x = convolution(x, filters(number, width), name)
        x, places = MaxPoolingWithPlaces(name=f"down{level}_pool")(x)
        kept.append(places)
    for level in range(len(ENCODER), 0, -1):
        x = MaxUnpooling(name=f"up{level}_unpool")([x, kept[level - 1]])
        # The encoder's level backwards: its last convolution leads to the filters of the one above.
        above = ENCODER[level - 2][-1] if level > 1 else ENCODER[0][0]
        numbers = (*ENCODER[level - 1][1:], above)
        for place, number in enumerate(numbers, start=1):
            name = f"up{level}" if place == len(numbers) else f"up{level}_{place}"
            x = convolution(x, filters(number, width), name)
    return keras.Model(images, x, name="segnet")


ROWS = {
    "segnet": Backbone(
        _segnet,
        size=256,
        smallest=32,
        multiple=2 ** len(ENCODER),
        taps=(
            *(f"down{level}" for level in range(1, 6)),
            *(f"up{level}" for level in range(5, 0, -1)),
        ),
        cuts={"full": at("up1")},
    ),
}
