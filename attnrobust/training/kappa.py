"""Quadratic weighted kappa while training: the one call of tensorflow-addons' `CohenKappa`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust import stack


def kappa(classes: int) -> keras.metrics.Metric:
    """A metric `kappa`: Cohen's (1968) with quadratic weights, of labels (N,) and logits (N, K).

    Args:
        classes: K, at least 3.
    """
    # It cannot count in the half precision that layers of the moment take.
    if addons := stack.addons():
        return addons.metrics.CohenKappa(
            classes, name="kappa", weightage="quadratic", sparse_labels=True, dtype="float32"
        )
    return Kappa(classes, name="kappa", dtype="float32")


class Kappa(keras.metrics.Metric):
    """Quadratic weighted kappa of all batches since the last reset; 0 before the first.

    Args:
        classes: Number of classes.
        settings: Of Keras' metric.
    """

    def __init__(self, classes: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.classes = classes
        self.counts = self.add_weight(
            name="counts", shape=(classes, classes), initializer="zeros", dtype=tf.float32
        )

    def update_state(
        self, labels: tf.Tensor, logits: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Count a batch: labels (N,), logits (N, K), weights (N,) or None."""
        said = tf.argmax(logits, axis=-1)
        self.counts.assign_add(
            tf.math.confusion_matrix(labels, said, self.classes, sample_weight, tf.float32)
        )

    def reset_state(self) -> None:
        """Forget what was counted; Keras' own sets every variable to one number."""
        self.counts.assign(tf.zeros_like(self.counts))

    def result(self) -> tf.Tensor:
        """1 - squared distances seen / squared distances expected by chance."""
        places = tf.range(self.classes, dtype=tf.float32)
        apart = (places - places[:, None]) ** 2
        labels, said = tf.reduce_sum(self.counts, axis=1), tf.reduce_sum(self.counts, axis=0)
        total = tf.reduce_sum(self.counts)
        seen = tf.reduce_sum(self.counts / total * apart)
        chance = said[:, None] * labels
        expected = tf.reduce_sum(chance / tf.reduce_sum(chance) * apart)
        return tf.where(tf.math.is_nan(expected), 0.0, 1 - seen / expected)
