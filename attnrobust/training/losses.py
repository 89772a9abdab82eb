"""LOSSES and CLASS_WEIGHTS: what an image costs, and how much its class counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.task import graph

# (logits (N, K) float32, labels (N,), settings) to the loss of each image (N,).
Loss = Callable[[tf.Tensor, tf.Tensor, config.Training], tf.Tensor]
# (training examples of each class (K,), settings) to the weight of each class (K,).
Weights = Callable[[np.ndarray, config.Training], np.ndarray]


def cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, setting: config.Training | None = None
) -> tf.Tensor:
    """Of each image, (N,)."""
    del setting
    return graph.of(logits).loss(logits, labels)


def focal(logits: tf.Tensor, labels: tf.Tensor, setting: config.Training) -> tf.Tensor:
    """(1 - p)^gamma times the cross-entropy, p being the label's probability (Lin et al. 2018).

    Reckoned in logarithms, log(1 - p) from the other classes' logits: where p rounds to 0 or 1,
    value and gradient stay finite for every gamma of at least 0.
    """
    rest = graph.log_rest(logits, labels) - tf.reduce_logsumexp(logits, axis=1)
    return tf.exp(setting.focal_gamma * rest) * cross_entropy(logits, labels)


def of(setting: config.Training) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The loss that the settings ask for: (logits, labels) to (N,).

    Raises:
        UserError: No such loss.
    """
    row = config.lookup("training.loss", LOSSES, setting.loss)
    return lambda logits, labels: row(logits, labels, setting)


class KerasLoss(keras.losses.Loss):
    """The same as `compile` takes it: a mean over the batch of all replicas, under sample weights.

    Raises:
        UserError: No such loss.
    """

    def __init__(self, setting: config.Training) -> None:
        super().__init__(name=setting.loss)
        self._of = of(setting)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Labels (N,) or (N, 1) and logits (N, K) to the loss of each image (N,)."""
        return self._of(y_pred, tf.reshape(tf.cast(y_true, tf.int64), [-1]))


def none(counts: np.ndarray, setting: config.Training) -> np.ndarray:
    """1 for each class."""
    del setting
    return np.ones(len(counts))


def inverse_frequency(counts: np.ndarray, setting: config.Training) -> np.ndarray:
    """n / (classes present * n_k), 0 for a class without examples; mean over the examples 1."""
    del setting
    share = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts, share, 0)


def effective_number(counts: np.ndarray, setting: config.Training) -> np.ndarray:
    """1 / E_k with E_k = (1 - beta^n_k) / (1 - beta) (Cui et al. 2019).

    Scaled so that they add up to the number of classes present, as Cui et al. do; Wu, who takes
    over their loss, names no scale.
    """
    beta = setting.class_balanced_beta
    each = np.where(counts, (1 - beta) / (1 - beta ** np.maximum(counts, 1.0)), 0)
    return each * np.count_nonzero(counts) / each.sum()


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "focal": focal}
CLASS_WEIGHTS: dict[str, Weights] = {
    "none": none,
    "inverse_frequency": inverse_frequency,
    "effective_number": effective_number,
}
