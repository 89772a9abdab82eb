"""BALL: lengths, unit vectors and projections, for every attack that moves images in a ball.

Each image of a batch (N, H, W, 3) is measured in units of its own largest value, so that squares
neither vanish nor overflow: no gradient is too short or too long to be followed.
"""

from __future__ import annotations

import tensorflow as tf

AXES = (1, 2, 3)


def length(change: tf.Tensor, norm: str) -> tf.Tensor:
    """Length (N, 1, 1, 1) of each change (N, H, W, 3) in the norm `l1`, `l2` or `linf`."""
    shape, largest = _shape(change)
    return largest * _moderate(shape, norm)


def unit(change: tf.Tensor, norm: str) -> tf.Tensor:
    """Each change (N, H, W, 3) divided by its length in the norm; 0 where it is 0.

    Values that are not finite count as 0.
    """
    shape, _ = _shape(change)
    return tf.math.divide_no_nan(shape, _moderate(shape, norm))


def steepest(gradient: tf.Tensor, norm: str) -> tf.Tensor:
    """The step (N, H, W, 3) of length 1 along which a gradient rises most, in `l2` or `linf`.

    Its unit vector, or its sign; 0 where it is 0 or not finite.
    """
    return tf.sign(_finite(gradient)) if norm == "linf" else unit(gradient, norm)


def project(x: tf.Tensor, images: tf.Tensor, epsilon: tf.Tensor | float, norm: str) -> tf.Tensor:
    """`x` put into the ball around the images (N, H, W, 3), `l2` or `linf`, then into [0, 1].

    Clipping to [0, 1] only brings a point nearer to an image that lies in it, so both hold.
    """
    change, epsilon = x - images, tf.convert_to_tensor(epsilon, images.dtype)
    if norm == "linf":
        change = tf.clip_by_value(change, -epsilon, epsilon)
    else:
        share = tf.math.divide_no_nan(epsilon, length(change, norm))
        change *= tf.minimum(tf.ones((), images.dtype), share)
    return tf.clip_by_value(images + change, 0.0, 1.0)


def _shape(change: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Each change in units of its largest absolute value, and that value (N, 1, 1, 1)."""
    change = _finite(change)
    largest = tf.reduce_max(tf.abs(change), axis=AXES, keepdims=True)
    return tf.math.divide_no_nan(change, largest), largest


def _moderate(shape: tf.Tensor, norm: str) -> tf.Tensor:
    """Length (N, 1, 1, 1) of changes whose largest value is 1, or which are 0."""
    if norm == "linf":
        return tf.reduce_max(tf.abs(shape), axis=AXES, keepdims=True)
    if norm == "l1":
        return tf.reduce_sum(tf.abs(shape), axis=AXES, keepdims=True)
    return tf.sqrt(tf.reduce_sum(tf.square(shape), axis=AXES, keepdims=True))


def _finite(values: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.math.is_finite(values), values, tf.zeros_like(values))
