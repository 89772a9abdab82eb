"""Batches of images moved by matrices: the one call of tensorflow-addons' `image.transform`."""

from __future__ import annotations

import tensorflow as tf

from attnrobust import stack


def warped(
    images: tf.Tensor, rows: tf.Tensor, *, fill: str, interpolation: str = "bilinear"
) -> tf.Tensor:
    """Images whose pixel (x, y) is fetched from (a x + b y + c, d x + e y + f) / (g x + h y + 1).

    In pixels from the centre of the upper left one.

    Args:
        images: (N, H, W, C) of a float type.
        rows: a to h for each image, float32 (N, 8).
        interpolation: `bilinear` or `nearest`.
        fill: What lies outside: `constant` is 0, `nearest` the nearest pixel.
    """
    if addons := stack.addons():
        return addons.image.transform(images, rows, interpolation=interpolation, fill_mode=fill)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=rows,
        output_shape=tf.shape(images)[1:3],
        interpolation=interpolation.upper(),
        fill_mode=fill.upper(),
        fill_value=0.0,
    )
