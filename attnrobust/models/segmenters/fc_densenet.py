"""FC-DenseNet, the One Hundred Layers Tiramisu (Jégou et al. 2017): long and short skips."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf
from tensorflow import keras

from attnrobust.models.backbones.base import Backbone, at
from attnrobust.models.segmenters.base import begin, filters

FIRST, DROPOUT = 48, 0.2


def _network(
    images: tf.Tensor,
    width: float,
    weights: str | None,
    *,
    name: str,
    layers: Sequence[int],
    growth: int,
) -> keras.Model:
    """Of dense blocks down, one at the bottom, the same ones up.

    Args:
        images: Keras input.
        width: Multiplies growth and the first convolution's filters.
        weights: None.
        name: Row of SEGMENTERS.
        layers: Of each block down, and of the bottom.
        growth: Filters of a layer at width 1.
    """
    growth = filters(growth, width)
    *down, bottom = layers
    x, skips = begin(name, images, weights), []
    x = keras.layers.Conv2D(
        filters(FIRST, width), 3, padding="same", kernel_initializer="he_uniform", name="first"
    )(x)
    for level, number in enumerate(down, start=1):
        new = _dense(x, number, growth, f"down{level}")
        x = keras.layers.Concatenate(name=f"down{level}")([x, new])
        skips.append(x)
        x = _layer(x, x.shape[-1], 1, f"down{level}_out")
        x = keras.layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    new = _dense(x, bottom, growth, "bottom")
    for level in range(len(down), 0, -1):
        # What the block below has added alone is enlarged, or the maps would grow too many.
        x = keras.layers.Conv2DTranspose(
            new.shape[-1],
            3,
            strides=2,
            padding="same",
            kernel_initializer="he_uniform",
            name=f"up{level}_grow",
        )(new)
        x = keras.layers.Concatenate(name=f"up{level}_skip")([x, skips[level - 1]])
        new = _dense(x, down[level - 1], growth, f"up{level}")
    x = keras.layers.Concatenate(name="dense")([x, new])
    return keras.Model(images, x, name=name)


def _dense(x: tf.Tensor, layers: int, growth: int, name: str) -> tf.Tensor:
    """What the layers of a dense block add, side by side; each sees all before it."""
    made: list[tf.Tensor] = []
    for number in range(1, layers + 1):
        new = _layer(x, growth, 3, f"{name}_{number}")
        made.append(new)
        if number < layers:
            x = keras.layers.Concatenate(name=f"{name}_{number}_join")([x, new])
    return keras.layers.Concatenate(name=f"{name}_new")(made) if layers > 1 else made[0]


def _layer(x: tf.Tensor, number: int, kernel: int, name: str) -> tf.Tensor:
    """BatchNorm, ReLU, convolution, dropout."""
    x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    x = keras.layers.Activation("relu", name=f"{name}_relu")(x)
    x = keras.layers.Conv2D(
        number, kernel, padding="same", kernel_initializer="he_uniform", name=f"{name}_conv"
    )(x)
    return keras.layers.Dropout(DROPOUT, name=f"{name}_dropout")(x)


def _fc_densenet(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """FC-DenseNet103, the Tiramisu (Jégou et al. 2017, table 2); long and short skips."""
    layers = (4, 5, 7, 10, 12, 15)
    return _network(images, width, weights, name="fc_densenet", layers=layers, growth=16)


def _fc_densenet56(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """FC-DenseNet56 (Jégou et al. 2017, section 4.1), 1.4 million weights; long and short skips."""
    return _network(images, width, weights, name="fc_densenet56", layers=(4,) * 6, growth=12)


def _row(build: Callable[[tf.Tensor, float, str | None], keras.Model]) -> Backbone:
    return Backbone(
        build,
        size=256,
        smallest=32,
        multiple=32,
        taps=(
            *(f"down{level}" for level in range(1, 6)),
            "bottom_new",
            *(f"up{level}_new" for level in range(5, 1, -1)),
            "dense",
        ),
        cuts={"full": at("dense")},
    )


ROWS = {"fc_densenet": _row(_fc_densenet), "fc_densenet56": _row(_fc_densenet56)}
