"""InceptionV4 (Szegedy et al. 2016, https://arxiv.org/abs/1602.07261), of any width.

keras.applications has none. Blocks are called as in TF-Slim, where the network was published:
`mixed_5b` to `mixed_5e` are the paper's Inception-A, `mixed_6b` to `mixed_6h` its Inception-B,
`mixed_7b` to `mixed_7d` its Inception-C; `mixed_6a` and `mixed_7a` are its reductions.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError
from attnrobust.models.backbones.base import Backbone, Preprocessing, at

# A link of a chain: filters, height and width of a kernel; or one of these poolings; or a fork,
# links that all see what comes before.
Link = tuple[int, int, int]
MEAN, MAX = "mean", "max"
Chain = Sequence[Any]

FORK = ((256, 1, 3), (256, 3, 1))
# Figures 3 to 8 of the paper; k, l, m, n of figure 7 are 192, 224, 256, 384 (its table 1).
STEM_3A: Sequence[Chain] = [[MAX], [(96, 3, 3)]]
STEM_4A: Sequence[Chain] = [
    [(64, 1, 1), (96, 3, 3)],
    [(64, 1, 1), (64, 1, 7), (64, 7, 1), (96, 3, 3)],
]
STEM_5A: Sequence[Chain] = [[(192, 3, 3)], [MAX]]
INCEPTION_A: Sequence[Chain] = [
    [(96, 1, 1)],
    [(64, 1, 1), (96, 3, 3)],
    [(64, 1, 1), (96, 3, 3), (96, 3, 3)],
    [MEAN, (96, 1, 1)],
]
REDUCTION_A: Sequence[Chain] = [[(384, 3, 3)], [(192, 1, 1), (224, 3, 3), (256, 3, 3)], [MAX]]
INCEPTION_B: Sequence[Chain] = [
    [(384, 1, 1)],
    [(192, 1, 1), (224, 1, 7), (256, 7, 1)],
    [(192, 1, 1), (192, 7, 1), (224, 1, 7), (224, 7, 1), (256, 1, 7)],
    [MEAN, (128, 1, 1)],
]
REDUCTION_B: Sequence[Chain] = [
    [(192, 1, 1), (192, 3, 3)],
    [(256, 1, 1), (256, 1, 7), (320, 7, 1), (320, 3, 3)],
    [MAX],
]
INCEPTION_C: Sequence[Chain] = [
    [(256, 1, 1)],
    [(384, 1, 1), FORK],
    [(384, 1, 1), (448, 3, 1), (512, 1, 3), FORK],
    [MEAN, (256, 1, 1)],
]


def _inception_v4(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """InceptionV4 (Szegedy et al. 2016); `width` multiplies the filters."""
    if weights:
        raise UserError(
            f"model.weights = {weights}: there are none for inception_v4; use none or a file"
        )
    x = Preprocessing("tf", name="preprocessing")(images)
    x = _convolution(x, (32, 3, 3), width, "stem_1", stride=2, padding="valid")
    x = _convolution(x, (32, 3, 3), width, "stem_2", padding="valid")
    x = _convolution(x, (64, 3, 3), width, "stem_3")
    x = _block(x, STEM_3A, width, "mixed_3a", step=2)
    x = _block(x, STEM_4A, width, "mixed_4a", step=1)
    x = _block(x, STEM_5A, width, "mixed_5a", step=2)
    for letter in "bcde":
        x = _block(x, INCEPTION_A, width, f"mixed_5{letter}")
    x = _block(x, REDUCTION_A, width, "mixed_6a", step=2)
    for letter in "bcdefgh":
        x = _block(x, INCEPTION_B, width, f"mixed_6{letter}")
    x = _block(x, REDUCTION_B, width, "mixed_7a", step=2)
    for letter in "bcd":
        x = _block(x, INCEPTION_C, width, f"mixed_7{letter}")
    return keras.Model(images, x, name="inception_v4")


def _block(
    x: tf.Tensor, chains: Sequence[Chain], width: float, name: str, step: int = 0
) -> tf.Tensor:
    """Chains side by side, their ends concatenated.

    Args:
        x: Map (B, h, w, C).
        chains: In the order of the channels.
        width: Multiplies the filters.
        name: Of the concatenation, and what its layers' names begin with.
        step: Stride of each chain's last link, which then has no padding; 0: stride 1 and padding,
            as all other links have.
    """
    ends = []
    for number, chain in enumerate(chains):
        y = x
        for letter, link in zip(string.ascii_lowercase, chain, strict=False):
            own = f"{name}_{number}{letter}"
            if link == MEAN:
                # At the border the mean is of the pixels that there are.
                y = keras.layers.AveragePooling2D(3, strides=1, padding="same", name=own)(y)
            elif link == MAX:
                y = keras.layers.MaxPooling2D(3, strides=step, name=own)(y)
            elif link == FORK:
                ends += [_convolution(y, each, width, f"{own}{i}") for i, each in enumerate(FORK)]
            else:
                last = step if link is chain[-1] else 0
                padding = "valid" if last else "same"
                y = _convolution(y, link, width, own, stride=last or 1, padding=padding)
        if chain[-1] != FORK:
            ends.append(y)
    return keras.layers.Concatenate(name=name)(ends)


def _convolution(
    x: tf.Tensor,
    link: Link,
    width: float,
    name: str,
    *,
    stride: int = 1,
    padding: str = "same",
) -> tf.Tensor:
    filters, *kernel = link
    x = keras.layers.Conv2D(
        max(1, round(filters * width)),
        kernel,
        strides=stride,
        padding=padding,
        use_bias=False,  # the batch normalisation has one
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    # Without a scale, which a ReLU before the next convolution makes superfluous, as published.
    x = keras.layers.BatchNormalization(scale=False, epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


ROWS = {
    "inception_v4": Backbone(
        _inception_v4,
        size=299,
        smallest=75,
        taps=("mixed_3a", "mixed_5a", "mixed_5e", "mixed_6h", "mixed_7d"),
        cuts={"full": at("mixed_7d")},
    ),
}
