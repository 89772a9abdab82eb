"""BACKBONES: feature extractors, with their preprocessing inside and named places to cut and tap.

Every backbone takes float32 RGB images in [0, 1], NHWC; what its weights expect instead (BGR minus
the ImageNet means, [-1, 1]) is a layer of the network, so attacks and heatmaps stay in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust.config import lookup
from attnrobust.errors import UserError


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
    """

    build: Callable[[tf.Tensor, float, str | None], keras.Model]
    size: int
    smallest: int
    taps: tuple[str, ...]
    cuts: Mapping[str, Callable[[keras.Model], tf.Tensor]]


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


def _resnet50(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    _refuse_width("resnet50", width)
    return _application(keras.applications.ResNet50, "caffe", images, weights)


def _inception_resnet_v2(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    _refuse_width("inception_resnet_v2", width)
    return _application(keras.applications.InceptionResNetV2, "tf", images, weights)


def _mobilenet(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    if int(32 * width) < 1:  # 32 filters in the narrowest layer at width 1
        raise UserError(f"model.width = {width}: mobilenet needs at least 1/32")
    if weights and width not in (0.25, 0.5, 0.75, 1.0):
        raise UserError(
            f"model.width = {width}: ImageNet weights of mobilenet exist for 0.25, 0.5, 0.75, 1; "
            "take one of these or --set model.weights=none"
        )
    return _application(keras.applications.MobileNet, "tf", images, weights, alpha=width)


def _refuse_width(name: str, width: float) -> None:
    if width != 1:
        raise UserError(
            f"model.width = {width}: {name} has one width, 1; mobilenet and resnet18 have others"
        )


def _application(
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
    shape = tuple(images.shape[1:])  # MobileNet has ImageNet weights for several sizes
    try:
        return constructor(
            include_top=False, weights=weights, input_tensor=pixels, input_shape=shape, **options
        )
    except Exception as error:
        # keras.utils.get_file raises a bare Exception, known by its text alone; it names the URL.
        if "URL fetch failure" not in str(error):
            raise
        raise UserError(
            f"model.weights = imagenet: download failed ({error}); fetch that file on another "
            "machine and give its path, --set model.weights=FILE.h5, or start without: "
            "--set model.weights=none"
        ) from error


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
        shortcut = _convolution(x, filters, kernel=1, strides=strides, name=f"{name}_0")
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


def _at(layer: str) -> Callable[[keras.Model], tf.Tensor]:
    """A cut behind the layer called `layer`."""
    return lambda network: network.get_layer(layer).output


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


BACKBONES: dict[str, Backbone] = {
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
        cuts={"full": _at("conv5_block3_out"), "literal": _at("conv5_block3_add")},
    ),
    "inception_resnet_v2": Backbone(
        _inception_resnet_v2,
        size=299,
        smallest=75,
        taps=("mixed_5b", "block35_10_ac", "mixed_6a", "block17_20_ac", "mixed_7a", "conv_7b_ac"),
        cuts={"full": _at("conv_7b_ac"), "literal": _side_branch},
    ),
    "mobilenet": Backbone(
        _mobilenet,
        size=224,
        smallest=32,
        taps=(
            "conv_pw_1_relu",
            "conv_pw_3_relu",
            "conv_pw_5_relu",
            "conv_pw_11_relu",
            "conv_pw_13_relu",
        ),
        cuts={"full": _at("conv_pw_13_relu")},
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
        cuts={"full": _at("conv5_block2_out")},
    ),
}
