"""ResNet-50 of keras.applications and a ResNet-18 of any width (He et al. 2016)."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError
from attnrobust.models.backbones.base import (
    Backbone,
    Preprocessing,
    application,
    at,
    refuse_width,
)

# TensorFlow 2.15's oneDNN writes outside its memory in the gradient for the weights of a 1x1
# convolution with stride 2 from fewer channels, for odd batches and some sizes of the map: the
# process dies without a word. Leaving out every second pixel before it is the same function.
NARROW = 16


def _resnet50(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """ResNet-50 (He et al. 2016), Keras' own."""
    refuse_width("resnet50", width)
    return application(keras.applications.ResNet50, "caffe", images, weights)


def _resnet18(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """ResNet-18 (He et al. 2016, table 1) with Keras' ResNet layer names.

    The stem follows the image size, so that the last feature map is at least 4x4 from 32 px on:
    under 64 px 3x3 stride 1 without max-pooling (maps at 1/8 of the image), under 128 px 3x3
    stride 2 without (1/16), from there on the paper's 7x7 stride 2 with max-pooling (1/32).
    """
    if weights:
        raise UserError(
            f"model.weights = {weights}: there are none for resnet18; use none or a file"
        )
    size = images.shape[1]
    x = Preprocessing("tf", name="preprocessing")(images)
    x = _convolution(
        x,
        _filters(64, width),
        kernel=7 if size >= 128 else 3,
        strides=1 if size < 64 else 2,
        name="conv1",
    )
    x = keras.layers.Activation("relu", name="conv1_relu")(x)
    if size >= 128:
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool1_pool")(x)
    for stage, filters in enumerate((64, 128, 256, 512), start=2):
        for block in (1, 2):
            strides = 2 if block == 1 and stage > 2 else 1
            x = _basic_block(x, _filters(filters, width), strides, f"conv{stage}_block{block}")
    return keras.Model(images, x, name="resnet18")


def _filters(base: int, width: float) -> int:
    return max(1, round(base * width))


def _basic_block(x: tf.Tensor, filters: int, strides: int, name: str) -> tf.Tensor:
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        step = strides
        if strides != 1 and x.shape[-1] < NARROW:
            shortcut = keras.layers.MaxPooling2D(1, strides=strides, name=f"{name}_0_pool")(x)
            step = 1
        shortcut = _convolution(shortcut, filters, kernel=1, strides=step, name=f"{name}_0")
    x = _convolution(x, filters, kernel=3, strides=strides, name=f"{name}_1")
    x = keras.layers.Activation("relu", name=f"{name}_1_relu")(x)
    x = _convolution(x, filters, kernel=3, strides=1, name=f"{name}_2")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.Activation("relu", name=f"{name}_out")(x)


def _convolution(x: tf.Tensor, filters: int, *, kernel: int, strides: int, name: str) -> tf.Tensor:
    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same",
        use_bias=False,  # the batch normalisation has one
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    # Keras' momentum of 0.99 needs hundreds of steps until inference works; small sets have few.
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1.001e-5, name=f"{name}_bn")(x)


ROWS = {
    "resnet50": Backbone(
        _resnet50,
        size=224,
        smallest=32,
        taps=(
            "conv1_relu",
            "conv2_block3_out",
            "conv3_block4_out",
            "conv4_block6_out",
            "conv5_block3_out",
        ),
        # "The final three layers of the network were removed" (Wasserman, section 3.3) ends, read
        # literally, before the last ReLU; circulating soft-attention code keeps its output.
        cuts={"full": at("conv5_block3_out"), "literal": at("conv5_block3_add")},
    ),
    "resnet18": Backbone(
        _resnet18,
        size=224,
        smallest=8,
        taps=(
            "conv1_relu",
            "conv2_block2_out",
            "conv3_block2_out",
            "conv4_block2_out",
            "conv5_block2_out",
        ),
        cuts={"full": at("conv5_block2_out")},
    ),
}
