"""HEADS: feature map (B, h, w, C) -> logits (B, classes), with or without soft attention.

Soft attention has two readings, chosen by `model.variant`:

- `paper`: the formula of Datta et al. 2021. A 3x3 convolution over all channels gives K maps; each
  is rectified and softmax-normalised over the h*w positions; their sum multiplies the feature map,
  scaled by a learnable gamma.
- `literal`: the layer as found in circulating public code. It has as many convolution weights, but
  its axes are laid out so that the maps depend on channels 0, 1 and 2 alone, and it has no gamma.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError

# f(feature map, *, classes, model) -> logits
Head = Callable[..., tf.Tensor]


@keras.saving.register_keras_serializable(package="attnrobust")
class SoftAttention(keras.layers.Layer):
    """Weighs the positions of a feature map by K learned maps (Datta et al. 2021).

    Args:
        maps: Number K of maps.
        variant: `paper` or `literal`, see the module's text.
        gamma: Start of the learnable scale (`paper` only).

    Shapes: (B, H, W, C) -> [attended features (B, H, W, C), attention map (B, H, W)]. The map is
    float32, the sum of K softmaxes: it adds up to K over the positions, so the features are
    multiplied by K / (H * W) on average (and by gamma).

    Weights: `paper` kernel (3, 3, C, K), bias (K,), gamma (); `literal` kernel (C, 3, 3, 1, K),
    bias (K,), which are the shapes of the circulating layer and load into it unchanged.

    Raises:
        UserError: Unknown variant.
        ValueError: Height, width or channels of the input are not fixed.
    """

    def __init__(
        self, maps: int = 16, variant: str = "paper", gamma: float = 0.01, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if variant not in ("paper", "literal"):
            raise UserError(f"model.variant = {variant}: expected paper or literal")
        self.maps = maps
        self.variant = variant
        self.start = gamma

    def build(self, input_shape: tf.TensorShape) -> None:
        if None in input_shape[1:]:
            raise ValueError(f"soft attention needs fixed H, W, C, got {tuple(input_shape)}")
        channels = input_shape[-1]
        shape = (3, 3, channels) if self.variant == "paper" else (channels, 3, 3, 1)
        self.kernel = self.add_weight(
            name="kernel", shape=(*shape, self.maps), initializer="he_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(self.maps,), initializer="zeros")
        if self.variant == "paper":
            start = keras.initializers.Constant(self.start)
            self.gamma = self.add_weight(name="gamma", shape=(), initializer=start)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> list[tf.Tensor]:
        _, height, width, _ = inputs.shape
        if self.variant == "paper":
            scores = tf.nn.conv2d(inputs, self.kernel, strides=1, padding="SAME")
        else:
            kernel = literal_kernel(tf.convert_to_tensor(self.kernel), height)
            scores = tf.nn.conv2d(inputs[..., : kernel.shape[2]], kernel, 1, "SAME")
        scores = tf.nn.relu(scores + self.bias)
        # float32 under every policy: half precision loses positions in a softmax over hundreds.
        scores = tf.reshape(tf.cast(scores, tf.float32), (-1, height * width, self.maps))
        attention = tf.reduce_sum(tf.nn.softmax(scores, axis=1), axis=-1)
        attention = tf.reshape(attention, (-1, height, width))
        attended = inputs * tf.cast(attention[..., tf.newaxis], inputs.dtype)
        if self.variant == "paper":
            attended *= self.gamma
        return [attended, attention]

    def get_config(self) -> dict[str, Any]:
        own = {"maps": self.maps, "variant": self.variant, "gamma": self.start}
        return {**super().get_config(), **own}


def literal_kernel(kernel: tf.Tensor, height: int) -> tf.Tensor:
    """The 2-D kernel that does what the circulating 3-D convolution does, at far lower cost.

    That convolution runs over a volume (height, width, channels) with a kernel (C, 3, 3), stride C
    on the last axis and 'same' padding. So its C-long axis slides over the height, where only the
    2 * height - 1 rows around the middle ever meet a pixel, and its last axis takes one step, which
    covers channels 0, 1 and 2.

    Args:
        kernel: (C, 3, 3, 1, K).
        height: Of the feature map.

    Returns:
        (2 * height - 1, 3, min(C, 3), K), for a 2-D convolution with 'same' padding over the first
        min(C, 3) channels.
    """
    channels = kernel.shape[0]
    # 'Same' padding puts (C - 1) // 2 rows before the volume; row `middle` meets its own position.
    middle = (channels - 1) // 2
    first, end = middle - (height - 1), middle + height
    rows = kernel[max(first, 0) : min(end, channels)]
    missing = [max(-first, 0), max(end - channels, 0)]
    rows = tf.pad(rows, [missing, [0, 0], [0, 0], [0, 0], [0, 0]])
    # Fewer than three channels are padded likewise, so the kernel's first columns meet zeros.
    start = max(3 - channels, 0) // 2
    return rows[:, :, start : start + min(channels, 3), 0]


def _gap(features: tf.Tensor, *, classes: int, model: config.Model) -> tf.Tensor:
    """Global average pooling, dense: ResNet-50's own top."""
    x = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    return _logits(x, classes)


def _gap_dropout(features: tf.Tensor, *, classes: int, model: config.Model) -> tf.Tensor:
    """Global average pooling, dropout, dense: EfficientNet's own top."""
    x = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    x = keras.layers.Dropout(model.dropout, name="head_dropout")(x)
    return _logits(x, classes)


def _flatten(features: tf.Tensor, *, classes: int, model: config.Model) -> tf.Tensor:
    """ReLU, dropout, flatten, dense: the twin without attention of `soft_attention_flatten`."""
    x = keras.layers.Activation("relu", name="head_relu")(features)
    x = keras.layers.Dropout(model.dropout, name="head_dropout")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return _logits(x, classes)


def _soft_attention(
    features: tf.Tensor, *, classes: int, model: config.Model, flatten: bool = False
) -> tf.Tensor:
    """Attended and plain features side by side (Wasserman, section 3.3; Datta et al. 2021).

    Both are max-pooled 2x2, concatenated, rectified and dropped out; then averaged over the
    positions, which the paper says of its ResNet-50, or flattened: for its InceptionResNetV2 the
    paper names no step between ReLU and dense, circulating code has dropout and flattening.
    """
    attended, _ = SoftAttention(model.maps, model.variant, model.gamma, name="soft_attention")(
        features
    )
    pooled = [
        keras.layers.MaxPooling2D(2, padding="same", name=f"pool_{name}")(x)
        for name, x in (("attended", attended), ("plain", features))
    ]
    x = keras.layers.Concatenate(name="attended_and_plain")(pooled)
    x = keras.layers.Activation("relu", name="head_relu")(x)
    x = keras.layers.Dropout(model.dropout, name="head_dropout")(x)
    if flatten:
        x = keras.layers.Flatten(name="flatten")(x)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return _logits(x, classes)


def pixels(features: tf.Tensor, *, classes: int, model: config.Model) -> tf.Tensor:
    """The logits of every pixel (B, H, W, classes), for segmenters: a 1x1 convolution."""
    return keras.layers.Conv2D(classes, 1, dtype="float32", name="logits")(features)


def _logits(x: tf.Tensor, classes: int) -> tf.Tensor:
    # float32 under every policy: losses and attacks read differences of logits.
    return keras.layers.Dense(classes, dtype="float32", name="logits")(x)


HEADS: dict[str, Head] = {
    "gap": _gap,
    "gap_dropout": _gap_dropout,
    "flatten": _flatten,
    # Pooled as the paper's ResNet-50; the row below flattens, as its InceptionResNetV2.
    "soft_attention": _soft_attention,
    "soft_attention_flatten": functools.partial(_soft_attention, flatten=True),
}
