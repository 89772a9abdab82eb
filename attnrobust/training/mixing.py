"""OPERATIONS: what AugMix's chains are made of, and how the chains are mixed, inside tf.data.

Hendrycks et al. 2020. A row takes float32 images (N, H, W, 3) in [0, 1], N possibly 0, and a level
for each, (N,), from 0.1 to `training.augmix_severity` with a random sign, and gives images of the
same shape. As in the paper's code, angles, offsets, bits and thresholds are cut to whole numbers,
tone is reckoned in 8 bits, and what comes in from outside is black. None of them is a corruption of
the evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from attnrobust import config
from attnrobust.data.warping import warped
from attnrobust.keyed import batches as keys

Operation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

# A chain's length, where the setting leaves it to chance: 1 to this.
DEEPEST = 3


class Draw(NamedTuple):
    """All that chance decides for a batch of N images.

    Attributes:
        operations: int32 (width, depth, N), indices of rows; their number where a chain is over.
        levels: float32 (width, depth, N), with sign.
        weights: float32 (width, N) of the chains, from Dirichlet(alpha, ..., alpha).
        share: float32 (N,) of the chains in the mixed image, from Beta(alpha, alpha).
    """

    operations: tf.Tensor
    levels: tf.Tensor
    weights: tf.Tensor
    share: tf.Tensor


def with_mixed(
    batches: tf.data.Dataset, setting: config.Training, key: tuple[int, int], *, mixed: int
) -> tf.data.Dataset:
    """Batches of (x, *rest) to ((*x, m1, ..., mn), *rest): so many mixtures of each image.

    Drawn for the whole batch: the same for the same key, on however many devices the batch is
    spread, and after a resume.

    Args:
        batches: x is float32 images (N, H, W, 3) in [0, 1], or a tuple of which they are the first.
        setting: Operations, severity, width, depth, alpha.
        key: Seed and epoch.
        mixed: Number n of mixtures, float32 (N, H, W, 3) in [0, 1].

    Raises:
        UserError: No such operation.
    """
    rows = chosen(setting)

    @tf.autograph.experimental.do_not_convert  # no branch on a tensor: sooner traced
    def add(index: tf.Tensor, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        first, *rest = batch
        parts = tf.nest.flatten(first)
        words = keys.key(*key, index, keys.MIXTURES)
        of_each = (keys.later(words, number * keys.MIXTURE) for number in range(mixed))
        made = (mix(parts[0], rows, draw(setting, tf.shape(parts[0])[0], each)) for each in of_each)
        return (*parts, *made), *rest

    added = batches.enumerate().map(add, num_parallel_calls=tf.data.AUTOTUNE)
    return added.prefetch(tf.data.AUTOTUNE)


def chosen(setting: config.Training) -> list[Operation]:
    """The rows that `training.augmix_operations` names. Raises UserError for one there is not."""
    return [
        config.lookup("operation of training.augmix_operations", OPERATIONS, name)
        for name in setting.augmix_operations
    ]


def draw(setting: config.Training, number: tf.Tensor | int, key: tf.Tensor) -> Draw:
    """Chains and weights of so many images, the same for the same key (two int64)."""
    each = [keys.later(key, index * keys.DRAW) for index in range(6)]
    width, deepest = setting.augmix_width, setting.augmix_depth or DEEPEST
    shape, names = [width, deepest, number], len(setting.augmix_operations)
    operations = tf.random.stateless_uniform(shape, each[0], 0, names, tf.int32)
    if setting.augmix_depth is None:
        depth = tf.random.stateless_uniform([width, 1, number], each[1], 1, DEEPEST + 1, tf.int32)
        over = tf.range(deepest)[None, :, None] >= depth
        operations = tf.where(over, names, operations)
    size = tf.random.stateless_uniform(shape, each[2], 0.1, setting.augmix_severity)
    sign = tf.sign(tf.random.stateless_uniform(shape, each[3]) - 0.5 + 1e-12)
    weights = _gamma([width, number], each[4], setting.augmix_alpha)
    two = _gamma([2, number], each[5], setting.augmix_alpha)
    return Draw(operations, sign * size, weights, two[0])


def mix(images: tf.Tensor, rows: Sequence[Operation], how: Draw) -> tf.Tensor:
    """One mixture of each image: (1 - share) * image + share * (weighted mean of its chains).

    Args:
        images: float32 (N, H, W, 3) in [0, 1].
        rows: What `how.operations` counts.
        how: What `draw` gave for N images.

    Returns:
        float32 (N, H, W, 3) in [0, 1].
    """

    def link(x: tf.Tensor, step: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return _apply(rows, x, *step)

    def chain(total: tf.Tensor, this: tuple[tf.Tensor, ...]) -> tf.Tensor:
        operations, levels, weight = this
        return total + _each(weight) * tf.foldl(link, (operations, levels), images)

    # Loops of the graph: each row is traced once, however wide and deep the mixture is.
    chains = tf.foldl(chain, how[:3], tf.zeros_like(images))
    share = _each(how.share)
    return tf.clip_by_value((1 - share) * images + share * chains, 0.0, 1.0)


def _apply(
    rows: Sequence[Operation], images: tf.Tensor, which: tf.Tensor, levels: tf.Tensor
) -> tf.Tensor:
    """Each image through its own row, or none: every row works on its own images alone."""
    number = len(rows) + 1
    places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), which, number)
    parts = tf.dynamic_partition(images, which, number)
    how = tf.dynamic_partition(levels, which, number)
    done = [row(part, level) for row, part, level in zip(rows, parts, how, strict=False)]
    return tf.ensure_shape(tf.dynamic_stitch(places, [*done, parts[-1]]), images.shape)


def _gamma(shape: list, key: tf.Tensor, alpha: float) -> tf.Tensor:
    """Gamma(alpha) over their sum along the first axis, which is Dirichlet; of two, Beta."""
    # A small alpha can leave nothing but zeros.
    found = tf.random.stateless_gamma(shape, key, alpha) + 1e-30
    return found / tf.reduce_sum(found, axis=0)


def _each(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None, None]


def _whole(levels: tf.Tensor, most: float) -> tf.Tensor:
    """Levels of 10 as `most`, cut to whole numbers, as the paper's code does; float32."""
    return tf.cast(tf.cast(levels * most / 10, tf.int32), tf.float32)


def _bytes(images: tf.Tensor) -> tf.Tensor:
    """Whole numbers 0 to 255, float32."""
    return tf.round(images * 255)


def autocontrast(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Each channel stretched to reach from 0 to 1; one that is flat stays as it is."""
    del levels
    x = _bytes(images)
    low, high = (f(x, axis=(1, 2), keepdims=True) for f in (tf.reduce_min, tf.reduce_max))
    flat = high == low
    return (x - tf.where(flat, 0.0, low)) / tf.where(flat, 255.0, high - low)


def equalize(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Each channel's histogram flattened, in 8 bits, as Pillow does it."""
    del levels
    shape = tf.shape(images)
    flat = tf.reshape(tf.transpose(_bytes(images), (0, 3, 1, 2)), (-1, shape[1] * shape[2]))
    values = tf.cast(flat, tf.int32)
    counts = tf.cast(
        tf.raw_ops.DenseBincount(
            input=values, size=256, weights=tf.zeros([0]), binary_output=False
        ),
        tf.int32,
    )
    step = (shape[1] * shape[2] - _last(counts)) // 255
    before = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.minimum((before + step // 2) // tf.maximum(step, 1), 255)
    # A channel of one value, or with nearly all pixels at its highest: left alone.
    table = tf.where(step > 0, table, tf.range(256))
    found = tf.cast(tf.gather(table, values, batch_dims=1), tf.float32) / 255
    found = tf.reshape(found, tf.stack([shape[0], 3, shape[1], shape[2]]))
    return tf.transpose(found, (0, 2, 3, 1))


def _last(counts: tf.Tensor) -> tf.Tensor:
    """Pixels (M, 1) at each row's highest value that has any; counts (M, 256)."""
    seen = tf.where(counts > 0, tf.range(256), -1)
    return tf.reduce_sum(
        tf.where(seen == tf.reduce_max(seen, axis=1, keepdims=True), counts, 0),
        axis=1,
        keepdims=True,
    )


def posterize(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """The highest bits of each channel alone: 4 of 8, fewer at higher levels."""
    step = _each(2.0 ** (8 - 4 + _whole(tf.abs(levels), 4)))
    return tf.floor(_bytes(images) / step) * step / 255


def solarize(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Values from a threshold on turned into their negative."""
    threshold = _each(256 - _whole(tf.abs(levels), 256))
    return tf.where(_bytes(images) < threshold, images, 1 - images)


def rotate(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """About the centre, by up to 30 degrees at level 10; a positive level turns to the left."""
    angle = _whole(levels, 30) * (math.pi / 180)
    cos, sin, middle = tf.cos(angle), tf.sin(angle), (_size(images) - 1) / 2
    return _warp(images, cos, -sin, middle * (1 - cos + sin), sin, cos, middle * (1 - cos - sin))


def shear_x(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Rows moved sideways, by up to 0.3 of their distance from the upper edge at level 10."""
    slope = levels * 0.03
    return _warp(images, 1, slope, slope / 2, 0, 1, 0)


def shear_y(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Columns moved up or down, by up to 0.3 of their distance from the left edge at level 10."""
    slope = levels * 0.03
    return _warp(images, 1, 0, 0, slope, 1, slope / 2)


def translate_x(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Sideways, by up to a third of the width at level 10, in whole pixels."""
    return _warp(images, 1, 0, _whole(levels * _size(images), 1 / 3), 0, 1, 0)


def translate_y(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Up or down, by up to a third of the height at level 10, in whole pixels."""
    return _warp(images, 1, 0, 0, 0, 1, _whole(levels * _size(images), 1 / 3))


def flip(images: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Left-right where the level is positive, else up-down; not one of the paper's."""
    sideways, shape = levels > 0, tf.shape(images)
    turned = tf.reverse_sequence(images, tf.where(sideways, shape[2], 0), seq_axis=2, batch_axis=0)
    return tf.reverse_sequence(turned, tf.where(sideways, 0, shape[1]), seq_axis=1, batch_axis=0)


def _size(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(images)[1], tf.float32)


def _warp(images: tf.Tensor, *row: tf.Tensor | float) -> tf.Tensor:
    """What lies at (x, y) is fetched from (a x + b y + c, d x + e y + f); each entry (N,) or one.

    Bilinear, in pixels from the centre of the upper left one; black outside.
    """
    number = tf.shape(images)[0]
    flat = [tf.broadcast_to(tf.cast(value, tf.float32), [number]) for value in (*row, 0, 0)]
    return warped(images, tf.stack(flat, axis=1), fill="constant")


# The paper's nine, and the one that Martinez-Martinez and Nabavi 2023 use instead.
OPERATIONS: dict[str, Operation] = {
    "autocontrast": autocontrast,
    "equalize": equalize,
    "posterize": posterize,
    "rotate": rotate,
    "solarize": solarize,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "flip": flip,
}
