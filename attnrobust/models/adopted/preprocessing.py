"""PREPROCESSING: what a model trained elsewhere was fed, made of [0, 1] pixels by a layer in front.

The layer is called `preprocessing`, as in the project's own networks, so that the pixel contract
holds: images are float32 RGB in [0, 1] whatever the model takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError

# ITU-R BT.601, as Pillow, OpenCV and tf.image.rgb_to_grayscale have it.
LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Row:
    """One way to feed a model.

    Attributes:
        scale: What a channel is multiplied by, in the order red, green, blue.
        offset: What is added afterwards, in that order.
        bgr: The channels are then turned round.
        what: Who feeds a model so.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    bgr: bool
    what: str


@keras.saving.register_keras_serializable(package="attnrobust")
class Feeding(keras.layers.Layer):
    """RGB images in [0, 1] -> what a model was trained on.

    Args:
        scale: One or three factors, for red, green, blue.
        offset: One or three, added afterwards.
        bgr: Turn the channels round, after that.
        channels: 3, or 1: the luminance of the image (ITU-R BT.601).

    Shapes: (B, H, W, 3) -> (B, H, W, channels), float32 under every precision policy.
    """

    def __init__(
        self,
        scale: Sequence[float] = (1.0,),
        offset: Sequence[float] = (0.0,),
        bgr: bool = False,
        channels: int = 3,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.scale, self.offset = tuple(scale), tuple(offset)
        self.bgr, self.channels = bgr, channels

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        images = inputs
        if self.channels == 1:
            weights = tf.constant(LUMINANCE, images.dtype)
            images = tf.reduce_sum(images * weights, axis=-1, keepdims=True)
        # Nothing is done that changes nothing: unit pixels reach the model to the last bit.
        if self.scale != (1.0,):
            images *= tf.constant(self.scale, images.dtype)
        if self.offset != (0.0,):
            images += tf.constant(self.offset, images.dtype)
        return tf.reverse(images, axis=[-1]) if self.bgr else images

    def get_config(self) -> dict[str, Any]:
        own = {"scale": self.scale, "offset": self.offset}
        return {**super().get_config(), **own, "bgr": self.bgr, "channels": self.channels}


def layer(preprocess: str, *, bgr: bool, channels: int) -> Feeding:
    """The layer in front.

    Args:
        preprocess: Row of PREPROCESSING, or numbers, mean/standard deviation.
        bgr: The model takes blue, green, red; a row that turns them round is not turned back.
        channels: That the model takes, 3 or 1.

    Raises:
        UserError: No such row, numbers that cannot be read, or three of them for a grey model.
    """
    row = row_of(preprocess)
    if channels == 1 and max(len(row.scale), len(row.offset)) > 1:
        raise UserError(
            f"adopted.preprocess = {preprocess}: it has a number for each of three channels, but "
            "the model takes grey images; expected one mean and one deviation, such as 0.5/0.25, "
            "or a row that feeds all channels alike, such as minus_one_one"
        )
    turned = (row.bgr or bgr) and channels == 3
    return Feeding(row.scale, row.offset, turned, channels, name="preprocessing")


def row_of(preprocess: str) -> Row:
    """The row of that name, or one made of the numbers.

    Raises:
        UserError: Neither.
    """
    if preprocess in PREPROCESSING:
        return PREPROCESSING[preprocess]
    try:
        mean, deviation = (
            [float(number) for number in part.split(",")] for part in preprocess.split("/")
        )
        if not {len(mean), len(deviation)} <= {1, 3} or not all(each > 0 for each in deviation):
            raise ValueError
    except ValueError:
        raise UserError(
            f"adopted.preprocess = {preprocess}: expected {', '.join(PREPROCESSING)}, or mean/"
            "standard deviation in [0, 1] pixels, one or three each, such as 0.5/0.25"
        ) from None
    return _standardised(mean, deviation, "mean and standard deviation as given")


def _standardised(mean: Sequence[float], deviation: Sequence[float], what: str) -> Row:
    """(image - mean) / deviation."""
    number = max(len(mean), len(deviation))
    means, deviations = ([*each] * (number // len(each)) for each in (mean, deviation))
    scale = tuple(1 / each for each in deviations)
    offset = tuple(-m / d for m, d in zip(means, deviations, strict=True))
    return Row(scale, offset, False, what)


PREPROCESSING: dict[str, Row] = {
    "unit": Row((1.0,), (0.0,), False, "image / 255: Rescaling(1/255) outside of the model"),
    "minus_one_one": Row(
        (2.0,), (-1.0,), False, "image / 127.5 - 1: Inception, MobileNet, Xception, ResNetV2"
    ),
    "caffe": Row(
        (255.0,),
        (-123.68, -116.779, -103.939),
        True,
        "0 to 255, ImageNet's mean subtracted, blue first: Keras' ResNet, VGG, older networks",
    ),
    "torch": _standardised(
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        "(image / 255 - mean) / deviation of ImageNet: DenseNet, torchvision, timm",
    ),
    "0_255": Row((255.0,), (0.0,), False, "pixels as the file has them, 0 to 255"),
    "inside": Row(
        (255.0,),
        (0.0,),
        False,
        "0 to 255, and the model scales them itself: EfficientNet, ConvNeXt, Rescaling in it",
    ),
}
