"""GRAPHS: the rows of TASKS inside a TensorFlow graph, and the functions of logits they are of.

Classes are the last axis of the logits; where labels have more axes than the batch's, functions of
logits give a number for each place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from attnrobust.task import RIGHT_DICE, name_of


@dataclass(frozen=True)
class Graph:
    """A row of GRAPHS.

    Attributes:
        features: Of a record, what the label is decoded from.
        decode: The features of a record, the map of its labels (empty: as stored) and the height
            and width that the model sees to the label, int64.
        loss: Logits and labels to the loss of each example (N,).
        against: What an attack ascends in place of the loss: in the same direction, but it does not
            round away (N,).
        margin: Above 0 exactly where an example is wrong (N,).
        wrong: Whether each example is wrong (N,) bool.
        score: How good each example is, (N,) float32 in [0, 1]; it has no gradient.
    """

    features: Mapping[str, tf.io.FixedLenFeature]
    decode: Callable[[Mapping[str, tf.Tensor], Sequence[int], int], tf.Tensor]
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    against: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    margin: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    wrong: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    score: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def of(logits: tf.Tensor) -> Graph:
    """The task that these logits are of. Raises ValueError where there is none."""
    return GRAPHS[name_of(len(logits.shape))]


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """-log of the label's probability."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def log_odds_against(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """log((1 - p) / p), p being the label's probability: what attacks ascend, not -log p.

    It rises with the cross-entropy, log(1 + exp(this)), and so has a gradient of the same
    direction. That of the cross-entropy holds p - 1, which in float32 rounds to 0 from a logit gap
    of about 17; this one is about as long for every confidence.
    """
    return log_rest(logits, labels) - chosen(logits, labels)


def log_rest(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Log of the sum of the exponentials of the other classes' logits."""
    return tf.reduce_logsumexp(_others(logits, labels), axis=-1)


def margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Best other logit minus the label's (Carlini and Wagner 2017, loss f6)."""
    return tf.reduce_max(_others(logits, labels), axis=-1) - chosen(logits, labels)


def chosen(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """The logit of each class asked for."""
    return tf.gather(logits, classes, batch_dims=len(classes.shape))


def wrong(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Whether the highest logit is another's than the label's, or one is not finite."""
    other = tf.argmax(logits, axis=-1, output_type=labels.dtype) != labels
    return other | ~tf.reduce_all(tf.math.is_finite(logits), axis=-1)


def _others(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """The logits, but the smallest number there is for the label's own."""
    own = tf.one_hot(labels, tf.shape(logits)[-1], on_value=True, off_value=False, dtype=tf.bool)
    return tf.where(own, logits.dtype.min, logits)


def dice(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean Dice of each image over the structures that its label has, as `overlap.dice`, (N,).

    Args:
        logits: (N, H, W, K).
        labels: (N, H, W).
    """
    classes = logits.shape[-1]
    found = tf.one_hot(tf.argmax(logits, axis=-1), classes)
    true = tf.one_hot(labels, classes)
    shared, size = tf.reduce_sum(found * true, (1, 2)), tf.reduce_sum(true, (1, 2))
    each = tf.math.divide_no_nan(2 * shared, size + tf.reduce_sum(found, (1, 2)))
    there = tf.cast(size[:, 1:] > 0, each.dtype)
    number = tf.reduce_sum(there, axis=1)
    mean = tf.math.divide_no_nan(tf.reduce_sum(each[:, 1:] * there, axis=1), number)
    return tf.where(number > 0, mean, each[:, 0])


def _class(features: Mapping[str, tf.Tensor], label_map: Sequence[int], size: int) -> tf.Tensor:
    label = features["label"]
    return tf.gather(tf.constant(label_map, tf.int64), label) if label_map else label


def _map(features: Mapping[str, tf.Tensor], label_map: Sequence[int], size: int) -> tf.Tensor:
    """The class map (size, size), as stored for 0; a pixel takes the class of the nearest one."""
    label = tf.io.decode_png(features["label_map"], channels=1)
    if size:
        label = tf.image.resize(label, (size, size), method="nearest")
        label = tf.ensure_shape(label, (size, size, 1))
    label = tf.cast(label[..., 0], tf.int64)
    return tf.gather(tf.constant(label_map, tf.int64), label) if label_map else label


def _mean(
    of_place: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """What a function of logits gives for each place, as a mean over the places of an image."""
    return lambda logits, labels: tf.reduce_mean(of_place(logits, labels), axis=(1, 2))


GRAPHS: dict[str, Graph] = {
    "classify": Graph(
        features={"label": tf.io.FixedLenFeature([], tf.int64)},
        decode=_class,
        loss=cross_entropy,
        against=log_odds_against,
        margin=margin,
        wrong=wrong,
        score=lambda logits, labels: tf.cast(~wrong(logits, labels), tf.float32),
    ),
    "segment": Graph(
        features={"label_map": tf.io.FixedLenFeature([], tf.string)},
        decode=_map,
        loss=_mean(cross_entropy),
        # The cross-entropy itself, by way of the log-odds: so its gradient does not round away.
        against=_mean(lambda logits, labels: tf.nn.softplus(log_odds_against(logits, labels))),
        # Of a verdict on a whole image: it has no gradient.
        margin=lambda logits, labels: RIGHT_DICE - dice(logits, labels),
        wrong=lambda logits, labels: dice(logits, labels) < RIGHT_DICE,
        score=dice,
    ),
}
