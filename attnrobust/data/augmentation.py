"""AUGMENTATION of training batches: random geometry and colours, the same for the same key.

Geometry rows give matrices, of which all together become one, so that pixels are resampled once;
colour rows come after it, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from attnrobust.data.warping import warped

# (key, number of images, side in pixels) to (N, 3, 3): from a pixel of the result (x, y from the
# centre) to where it is taken from.
Matrices = Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor]


@dataclass(frozen=True)
class Colour:
    """A row that changes colours: `change(images, key)` gives images in [0, 1]."""

    change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def augment(images: tf.Tensor, rows: Sequence[Matrices | Colour], key: tf.Tensor) -> tf.Tensor:
    """Every row's draw for each image; geometry first, resampled once, then colours.

    Args:
        images: float32 (B, H, W, 3) in [0, 1] with H = W.
        rows: Rows of AUGMENTATIONS.
        key: Two int64 that decide the draw.

    Returns:
        float32 (B, H, W, 3) in [0, 1], borders filled with the nearest pixel.
    """
    matrix = _geometry(rows, key, tf.shape(images)[0], images.shape[1])
    if matrix is not None:
        images = transformed(images, matrix)
    for row, own in zip(rows, _keys(key, len(rows)), strict=True):
        if isinstance(row, Colour):
            images = row.change(images, own)
    return images


def augment_maps(maps: tf.Tensor, rows: Sequence[Matrices | Colour], key: tf.Tensor) -> tf.Tensor:
    """Class maps (B, H, W), whole numbers, moved as `augment` moves their images."""
    matrix = _geometry(rows, key, tf.shape(maps)[0], maps.shape[1])
    if matrix is None:
        return maps
    return transformed(maps[..., tf.newaxis], matrix, interpolation="nearest")[..., 0]


def _keys(key: tf.Tensor, number: int) -> list[tf.Tensor]:
    return [key + tf.constant([0, (index + 1) * 1_000_003], tf.int64) for index in range(number)]


def _geometry(
    rows: Sequence[Matrices | Colour], key: tf.Tensor, number: tf.Tensor, size: int
) -> tf.Tensor | None:
    """The matrices of all rows that move pixels in one, (N, 3, 3); None where none does."""
    matrix = None
    for row, own in zip(rows, _keys(key, len(rows)), strict=True):
        if not isinstance(row, Colour):
            drawn = row(own, number, size)
            matrix = drawn if matrix is None else matrix @ drawn
    return matrix


def transformed(
    images: tf.Tensor, matrices: tf.Tensor, interpolation: str = "bilinear"
) -> tf.Tensor:
    """Images (N, H, W, 3) moved by matrices (N, 3, 3) about their centre; nearest fill.

    Each matrix leads from a pixel of the result to where it is taken from.
    """
    half = tf.fill([tf.shape(images)[0]], (images.shape[1] - 1) / 2)
    matrices = _translation(half, half) @ matrices @ _translation(-half, -half)
    flat = tf.reshape(matrices, (-1, 9))[:, :8]
    return warped(images, flat, fill="nearest", interpolation=interpolation)


def _uniform(key: tf.Tensor, number: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return tf.random.stateless_uniform([number], key, low, high)


def _matrix(rows: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor:
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)


def _translation(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    one, zero = tf.ones_like(x), tf.zeros_like(x)
    return _matrix([[one, zero, x], [zero, one, y], [zero, zero, one]])


def _scaling(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    one, zero = tf.ones_like(x), tf.zeros_like(x)
    return _matrix([[x, zero, zero], [zero, y, zero], [zero, zero, one]])


def _rotation(angle: tf.Tensor) -> tf.Tensor:
    """Counter-clockwise, in radians."""
    cos, sin = tf.cos(angle), tf.sin(angle)
    one, zero = tf.ones_like(angle), tf.zeros_like(angle)
    return _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])


def flip(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """Left-right and up-down, each with probability 1/2: (N, 3, 3) matrices."""
    del size
    signs = tf.sign(tf.random.stateless_uniform([2, number], key, -1.0, 1.0) + 1e-12)
    return _scaling(signs[0], signs[1])


def rotate(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """By any angle: (N, 3, 3) matrices."""
    del size
    return _rotation(_uniform(key, number, -math.pi, math.pi))


def zoom(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """By 90 % to 110 %: (N, 3, 3) matrices."""
    del size
    factor = _uniform(key, number, 0.9, 1.1)
    return _scaling(factor, factor)


def shift(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """By up to 10 % of the side in both directions: (N, 3, 3) matrices."""
    offset = tf.random.stateless_uniform([2, number], key, -0.1 * size, 0.1 * size)
    return _translation(offset[0], offset[1])


def _for_half(
    key: tf.Tensor, number: tf.Tensor, low: float, high: float, *, others: float
) -> tf.Tensor:
    """Uniform in [low, high) with probability 1/2 each, else `others`: (N,)."""
    coin, value = tf.unstack(tf.random.stateless_uniform([2, number], key))
    return tf.where(coin < 0.5, low + (high - low) * value, others)


def wu_flip(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """Left-right: (N, 3, 3) matrices."""
    del size
    sign = _for_half(key, number, -1.0, -1.0, others=1.0)
    return _scaling(sign, tf.ones_like(sign))


def wu_scale(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """To 90 % to 110 % of the size: (N, 3, 3) matrices."""
    del size
    factor = 1 / _for_half(key, number, 0.9, 1.1, others=1.0)
    return _scaling(factor, factor)


def wu_shift(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """By up to 5 % of the side in both directions: (N, 3, 3) matrices.

    The paper prints 0.05 %, an eighth of a pixel at its 256 px: taken for a share of 0.05.
    """
    coin, x, y = tf.unstack(tf.random.stateless_uniform([3, number], key))
    reach = tf.where(coin < 0.5, 0.1 * size, 0.0)
    return _translation(reach * (x - 0.5), reach * (y - 0.5))


def wu_rotate(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """By -30 to 10 degrees: (N, 3, 3) matrices.

    Positive is counter-clockwise; which way the paper counts is not stated.
    """
    del size
    return _rotation(math.pi / 180 * _for_half(key, number, -30.0, 10.0, others=0.0))


def wu_shear(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """Vertical lines tilted by -10 to 10 degrees: (N, 3, 3) matrices."""
    del size
    tilt = tf.tan(math.pi / 180 * _for_half(key, number, -10.0, 10.0, others=0.0))
    one, zero = tf.ones_like(tilt), tf.zeros_like(tilt)
    return _matrix([[one, tilt, zero], [zero, one, zero], [zero, zero, one]])


def margeloiu_rotate(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
    """By up to 10 degrees and then by up to 50: (N, 3, 3) matrices.

    The paper's "affine transformation of 10 degrees" is read as torchvision's RandomAffine(10),
    which does nothing but rotate.
    """
    del size
    first, second = tf.unstack(tf.random.stateless_uniform([2, number], key, -1.0, 1.0))
    return _rotation(math.pi / 180 * (10 * first + 50 * second))


def brightened(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Images (N, H, W, 3) in [0, 1] times factors (N,), clipped to [0, 1]."""
    return tf.clip_by_value(images * factors[:, None, None, None], 0.0, 1.0)


def contrasted(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Distances from the image's mean grey times factors (N,), clipped to [0, 1]."""
    grey = tf.reduce_mean(tf.image.rgb_to_grayscale(images), [1, 2, 3], keepdims=True)
    return tf.clip_by_value(grey + (images - grey) * factors[:, None, None, None], 0.0, 1.0)


def saturated(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Distances from each pixel's own grey times factors (N,), clipped to [0, 1]."""
    grey = tf.image.rgb_to_grayscale(images)
    return tf.clip_by_value(grey + (images - grey) * factors[:, None, None, None], 0.0, 1.0)


def wu_brightness(images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """To 85 % to 115 %."""
    return brightened(images, _for_half(key, tf.shape(images)[0], 0.85, 1.15, others=1.0))


def wu_contrast(images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """To 85 % to 115 %."""
    return contrasted(images, _for_half(key, tf.shape(images)[0], 0.85, 1.15, others=1.0))


def margeloiu_colour(images: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast and saturation, each to 80 % to 120 %, in this order."""
    factors = tf.random.stateless_uniform([3, tf.shape(images)[0]], key, 0.8, 1.2)
    for change, factor in zip(
        (brightened, contrasted, saturated), tf.unstack(factors), strict=True
    ):
        images = change(images, factor)
    return images


# flip, rotate, zoom, shift: the soft-attention code in circulation (Keras' ImageDataGenerator with
# rotation 180, zoom 0.1, shift 0.1, both flips, nearest fill). wu_: Wu, Robust Training and
# Interpretability for Fundus Imaging (2020), section 2.2, each with probability 1/2.
# margeloiu_: Margeloiu et al. (2020), appendix A, which has `flip` as well.
AUGMENTATIONS: dict[str, Matrices | Colour] = {
    "flip": flip,
    "rotate": rotate,
    "zoom": zoom,
    "shift": shift,
    "wu_flip": wu_flip,
    "wu_scale": wu_scale,
    "wu_shift": wu_shift,
    "wu_rotate": wu_rotate,
    "wu_shear": wu_shear,
    "wu_brightness": Colour(wu_brightness),
    "wu_contrast": Colour(wu_contrast),
    "margeloiu_rotate": margeloiu_rotate,
    "margeloiu_colour": Colour(margeloiu_colour),
}
