"""MobileNet (Howard et al. 2017), of any width."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError
from attnrobust.models.backbones.base import Backbone, application, at


def _mobilenet(images: tf.Tensor, width: float, weights: str | None) -> keras.Model:
    """MobileNet (Howard et al. 2017), Keras' own; `width` is its alpha."""
    if int(32 * width) < 1:  # 32 filters in the narrowest layer at width 1
        raise UserError(f"model.width = {width}: mobilenet needs at least 1/32")
    if weights and width not in (0.25, 0.5, 0.75, 1.0):
        raise UserError(
            f"model.width = {width}: ImageNet weights of mobilenet exist for 0.25, 0.5, 0.75, 1; "
            "take one of these or --set model.weights=none"
        )
    return application(keras.applications.MobileNet, "tf", images, weights, alpha=width)


ROWS = {
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
        cuts={"full": at("conv_pw_13_relu")},
    ),
}
