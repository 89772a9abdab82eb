"""PIXEL_LOSSES: what an attack on a segmenter ascends, on logits; each row is one function.

Each gives one number an image, a mean over its pixels, so that no image's gradient depends on its
batch. Which pixels are still right, and every other weight of a pixel, is no part of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from attnrobust import config
from attnrobust.task import graph

# (logits (N, H, W, K), labels (N, H, W), share of the steps that are done, a scalar in [0, 1)) to
# what is ascended (N,).
PixelLoss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def of(name: str) -> PixelLoss:
    """The loss called `name`.

    Raises:
        UserError: No such loss.
    """
    return config.lookup("attack.loss", PIXEL_LOSSES, name)


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Cross-entropy: what is wrong already pulls hardest, since its gradient is the largest."""
    return _mean(graph.cross_entropy(logits, labels))


def masked(logits: tf.Tensor, labels: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the pixels that are still right (Croce et al. 2024)."""
    return _mean(graph.cross_entropy(logits, labels), _right(logits, labels))


def balanced(logits: tf.Tensor, labels: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """The masked cross-entropy in which each class of the label weighs the same (same paper)."""
    pixels = tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    weight = tf.math.divide_no_nan(pixels, tf.reduce_sum(pixels, (1, 2), keepdims=True))
    even = _right(logits, labels) * tf.reduce_sum(weight, axis=-1)
    there = tf.reduce_sum(tf.cast(tf.reduce_any(pixels > 0, (1, 2)), logits.dtype), axis=-1)
    return tf.reduce_sum(even * graph.cross_entropy(logits, labels), axis=(1, 2)) / there


def jensen_shannon(logits: tf.Tensor, labels: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Jensen-Shannon divergence of probabilities and label (same paper), at most log 2.

    With p the label's probability: (log 2 (1 - p) + p log(2 p / (1 + p)) - log((1 + p) / 2)) / 2.
    Its gradient vanishes for pixels that are surely right and for those that are surely wrong.
    """
    sure = graph.chosen(tf.nn.softmax(logits), labels)
    rest = tf.math.log(tf.constant(2, logits.dtype)) * (1 - sure)
    own = tf.math.xlogy(sure, 2 * sure / (1 + sure))
    return _mean((rest + own - tf.math.log((1 + sure) / 2)) / 2)


def log_odds(logits: tf.Tensor, labels: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Log odds against the labels of the pixels that are still right.

    As `masked`, but as strong for pixels of which the model is sure: the gradient of a
    cross-entropy rounds to 0 in float32 from a logit gap of about 17.
    """
    return _mean(graph.log_odds_against(logits, labels), _right(logits, labels))


def seg_pgd(logits: tf.Tensor, labels: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """SegPGD (Gu et al. 2022, equation 4): right pixels weigh 1 - t, wrong ones t.

    t = (step - 1) / (2 steps) goes from 0 to nearly 1/2.
    """
    wrong = tf.cast(share / 2, logits.dtype)
    right = _right(logits, labels)
    weight = right * (1 - wrong) + (1 - right) * wrong
    return _mean(graph.cross_entropy(logits, labels), weight)


def cos_pgd(logits: tf.Tensor, labels: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """CosPGD (Agnihotri et al. 2024): a pixel weighs as its probabilities are like its label.

    The weight is the cosine of the angle between the softmax and the label's unit vector.
    """
    probability = tf.nn.softmax(logits)
    cosine = graph.chosen(probability, labels) / tf.norm(probability, axis=-1)
    return _mean(graph.cross_entropy(logits, labels), tf.stop_gradient(cosine))


def _right(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """1 where the model has the pixel right, 0 elsewhere (N, H, W)."""
    return tf.cast(~graph.wrong(logits, labels), logits.dtype)


def _mean(each: tf.Tensor, weight: tf.Tensor | float = 1.0) -> tf.Tensor:
    return tf.reduce_mean(each * weight, axis=(1, 2))


PIXEL_LOSSES: dict[str, PixelLoss] = {
    "cross_entropy": cross_entropy,
    "masked": masked,
    "balanced": balanced,
    "jensen_shannon": jensen_shannon,
    "log_odds": log_odds,
    "seg_pgd": seg_pgd,
    "cos_pgd": cos_pgd,
}
