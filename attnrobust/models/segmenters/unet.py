"""U-Net (Ronneberger et al. 2015): long skips from each level down to its level up."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from attnrobust.models.backbones.base import Backbone, at
from attnrobust.models.segmenters.base import begin, convolution, filters

# Half the published width, which `model.width=2` gives.
BASE, LEVELS = 32, 4


def _unet(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """U-Net (Ronneberger et al. 2015), half as wide at width 1; long skips.

    Padded, so that a map has the size of its image, and with BatchNorm, which was not yet there.
    """
    x, skips = begin("unet", images, weights), []
    for level in range(1, LEVELS + 1):
        x = _double(x, filters(BASE * 2 ** (level - 1), width), f"down{level}")
        skips.append(x)
        x = keras.layers.MaxPooling2D(2, name=f"down{level}_pool")(x)
    x = _double(x, filters(BASE * 2**LEVELS, width), "bottom")
    for level in range(LEVELS, 0, -1):
        number = filters(BASE * 2 ** (level - 1), width)
        x = keras.layers.Conv2DTranspose(
            number, 2, strides=2, kernel_initializer="he_normal", name=f"up{level}_grow"
        )(x)
        x = keras.layers.Concatenate(name=f"up{level}_skip")([skips[level - 1], x])
        x = _double(x, number, f"up{level}")
    return keras.Model(images, x, name="unet")


def _double(x: tf.Tensor, number: int, name: str) -> tf.Tensor:
    return convolution(convolution(x, number, f"{name}_first"), number, name)


ROWS = {
    "unet": Backbone(
        _unet,
        size=256,
        smallest=16,
        multiple=2**LEVELS,
        taps=("down1", "down2", "down3", "down4", "bottom", "up4", "up3", "up2", "up1"),
        cuts={"full": at("up1")},
    ),
}
