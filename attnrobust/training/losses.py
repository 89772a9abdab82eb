"""LOSSES and CLASS_WEIGHTS: what an image costs, and how much its class counts."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.task import graph

# (logits (N, K) or (N, H, W, K) float32, labels (N,) or (N, H, W), settings) to the loss of each
# place, of the labels' shape.
Place = Callable[[tf.Tensor, tf.Tensor, config.Training], tf.Tensor]
# The same and the weight of each class (K,), which counts for class maps alone, to the loss of each
# image (N,): of a class an image, weights are those of Keras' samples.
Loss = Callable[[tf.Tensor, tf.Tensor, config.Training, tf.Tensor | None], tf.Tensor]
# (training examples of each class (K,), settings) to the weight of each class (K,). Of class maps,
# instead of examples the pixels of the class in an image that shows it, on average.
Weights = Callable[[np.ndarray, config.Training], np.ndarray]


def _of_image(place: Place) -> Loss:
    """Of each image the loss, or the mean over its pixels, weighted by their classes."""

    @functools.wraps(place)
    def of_image(
        logits: tf.Tensor,
        labels: tf.Tensor,
        setting: config.Training,
        weights: tf.Tensor | None = None,
    ) -> tf.Tensor:
        each = place(logits, labels, setting)
        if each.shape.rank == 1:
            return each
        if weights is not None:
            each *= tf.gather(weights, labels)
        return tf.reduce_mean(each, axis=(1, 2))

    return of_image


def cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, setting: config.Training | None = None
) -> tf.Tensor:
    """-log of the label's probability, of each image or pixel."""
    del setting
    return graph.cross_entropy(logits, labels)


def cross_entropy_dice(
    logits: tf.Tensor,
    labels: tf.Tensor,
    setting: config.Training,
    weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """Weighted cross-entropy plus 1 - soft Dice, for class maps (Roy et al. 2017, section 2)."""
    return _of_image(cross_entropy)(logits, labels, setting, weights) + dice(logits, labels)


def dice(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """1 - the mean soft Dice of each image over the classes that its label shows, (N,).

    Soft Dice is 2 sum(p g) / (sum(p^2) + sum(g^2)) (Milletari et al. 2016), p being the class's
    probability at a pixel and g whether it is its label; the background counts as a class.
    """
    true = tf.one_hot(labels, logits.shape[-1])
    found = tf.nn.softmax(logits)
    shared = 2 * tf.reduce_sum(found * true, axis=(1, 2))
    size = tf.reduce_sum(true, axis=(1, 2))
    each = shared / (tf.reduce_sum(found**2, axis=(1, 2)) + size + 1e-7)
    there = tf.cast(size > 0, each.dtype)
    return 1 - tf.reduce_sum(each * there, axis=1) / tf.reduce_sum(there, axis=1)


def focal(logits: tf.Tensor, labels: tf.Tensor, setting: config.Training) -> tf.Tensor:
    """(1 - p)^gamma times the cross-entropy, p being the label's probability (Lin et al. 2018).

    Reckoned in logarithms, log(1 - p) from the other classes' logits: where p rounds to 0 or 1,
    value and gradient stay finite for every gamma of at least 0.
    """
    rest = graph.log_rest(logits, labels) - tf.reduce_logsumexp(logits, axis=-1)
    return tf.exp(setting.focal_gamma * rest) * cross_entropy(logits, labels)


def of(
    setting: config.Training, weights: np.ndarray | None = None
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The loss that the settings ask for: (logits, labels) to (N,).

    Args:
        setting: Of training.
        weights: Of each class (K,) in class maps; None: all 1.

    Raises:
        UserError: No such loss.
    """
    row = config.lookup("training.loss", LOSSES, setting.loss)
    return lambda logits, labels: row(logits, labels, setting, weights)


def require(setting: config.Training, kind: str) -> None:
    """Raise a UserError unless the loss is one for labels of this kind, a row of task.TASKS."""
    config.lookup("training.loss", LOSSES, setting.loss)
    if setting.loss in OF_MAPS and kind == "classify":
        raise UserError(
            f"training.loss = {setting.loss}: it compares class maps, and model.backbone gives a "
            "class an image"
        )


class KerasLoss(keras.losses.Loss):
    """The same as `compile` takes it: a mean over the batch of all replicas, under sample weights.

    Raises:
        UserError: No such loss.
    """

    def __init__(self, setting: config.Training, weights: np.ndarray | None = None) -> None:
        super().__init__(name=setting.loss)
        self._of = of(setting, weights)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Labels (N,) or (N, 1) or (N, H, W) and their logits to the loss of each image (N,)."""
        labels = tf.cast(y_true, tf.int64)
        return self._of(y_pred, labels if y_pred.shape.rank == 4 else tf.reshape(labels, [-1]))


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


def median_frequency(counts: np.ndarray, setting: config.Training) -> np.ndarray:
    """Median of the frequencies over the class's own (Eigen and Fergus 2015); 0 if it has none."""
    del setting
    counts = counts.astype(float)
    median = np.median(counts[counts > 0]) if counts.any() else 0.0
    return np.divide(median, counts, out=np.zeros_like(counts), where=counts > 0)


LOSSES: dict[str, Loss] = {
    "cross_entropy": _of_image(cross_entropy),
    "focal": _of_image(focal),
    "cross_entropy_dice": cross_entropy_dice,
}
OF_MAPS = {"cross_entropy_dice"}
CLASS_WEIGHTS: dict[str, Weights] = {
    "none": none,
    "inverse_frequency": inverse_frequency,
    "effective_number": effective_number,
    "median_frequency": median_frequency,
}
