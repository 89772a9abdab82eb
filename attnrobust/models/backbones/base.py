"""What a backbone is, and what the families share: preprocessing, keras.applications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust.config import lookup
from attnrobust.errors import UserError

# Layer name and arrays, in the order of a weights file.
Stored = list[tuple[str, list[np.ndarray]]]


def _unchanged(stored: Stored) -> Stored:
    return stored


@dataclass(frozen=True)
class Backbone:
    """One row of BACKBONES.

    Attributes:
        build: f(images, width, weights) -> uncut network; `images` is a Keras input (B, H, W, 3),
            `weights` is None (random) or `imagenet` (download).
        size: Usual height and width of the images, in pixels.
        smallest: Least height and width that the network can take.
        taps: Layers worth looking into, from the image on; they exist under the cut `full`. Only
            names that do not change when a second model is built.
        cuts: Name -> f(uncut network) -> feature map (B, h, w, C) that the head receives.
        multiple: Height and width are divisible by it.
        translate: f(layers of a Keras file of this network) -> the same for ours, where they
            differ.
    """

    build: Callable[[tf.Tensor, float, str | None], keras.Model]
    size: int
    smallest: int
    taps: tuple[str, ...]
    cuts: Mapping[str, Callable[[keras.Model], tf.Tensor]]
    multiple: int = 1
    translate: Callable[[Stored], Stored] = _unchanged


@keras.saving.register_keras_serializable(package="attnrobust")
class Preprocessing(keras.layers.Layer):
    """Images in [0, 1] -> the range that a backbone's weights were trained on.

    Args:
        mode: `caffe` (0..255, BGR, ImageNet means subtracted) or `tf` ([-1, 1]): the same as
            `preprocess_input` of keras.applications on 255 times the image.

    Shapes: (B, H, W, 3) -> (B, H, W, 3), float32 under every precision policy.

    Raises:
        UserError: Unknown mode.
    """

    def __init__(self, mode: str, **kwargs: Any) -> None:
        # Half precision would round pixels to about 1/8 of a grey level before the network starts.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.mode = mode
        self._function = lookup("preprocessing", PREPROCESSING, mode)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self._function(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


def _caffe(images: tf.Tensor) -> tf.Tensor:
    means = tf.constant([103.939, 116.779, 123.68], images.dtype)  # blue, green, red
    return tf.reverse(images, axis=[-1]) * 255.0 - means


def _minus_one_to_one(images: tf.Tensor) -> tf.Tensor:
    return images * 2.0 - 1.0


PREPROCESSING = {"caffe": _caffe, "tf": _minus_one_to_one}


def refuse_width(name: str, width: float) -> None:
    """For a backbone of one width.

    Raises:
        UserError: Another width than 1.
    """
    if width != 1:
        raise UserError(
            f"model.width = {width}: {name} has one width, 1; mobilenet, resnet18 and "
            "inception_v4 have others"
        )


def at(layer: str) -> Callable[[keras.Model], tf.Tensor]:
    """A cut behind the layer called `layer`."""
    return lambda network: network.get_layer(layer).output


def application(
    constructor: Callable[..., keras.Model],
    mode: str,
    images: tf.Tensor,
    weights: str | None,
    **options: Any,
) -> keras.Model:
    """A network of keras.applications without its top, on preprocessed images.

    Built on the tensor, not called as a model: tools that look layers up by name, such as
    tf-keras-vis, fail on a model nested in another.

    Raises:
        UserError: The ImageNet weights could not be downloaded.
    """
    pixels = Preprocessing(mode, name="preprocessing")(images)
    return constructed(constructor, images, weights, input_tensor=pixels, **options)


def constructed(
    constructor: Callable[..., keras.Model],
    images: tf.Tensor,
    weights: str | None,
    **options: Any,
) -> keras.Model:
    """A network of keras.applications without its top, for images of this size.

    Raises:
        UserError: The ImageNet weights could not be downloaded.
    """
    shape = tuple(images.shape[1:])  # MobileNet has ImageNet weights for several sizes
    try:
        return constructor(include_top=False, weights=weights, input_shape=shape, **options)
    except Exception as error:
        # keras.utils.get_file raises a bare Exception, known by its text alone; it names the URL.
        if "URL fetch failure" not in str(error):
            raise
        raise UserError(
            f"model.weights = imagenet: download failed ({error}); fetch that file on another "
            "machine and give its path, --set model.weights=FILE.h5, or start without: "
            "--set model.weights=none"
        ) from error
