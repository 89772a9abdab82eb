"""A network with a training step and a validation step of its own, and the losses these take."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.task import graph, name_of
from attnrobust.training import losses, mixing
from attnrobust.training.kappa import kappa

Parts = dict[str, tf.Tensor]


class Steps(keras.Model):
    """What the methods other than `standard` have in common.

    A method says which batches it wants (`prepare`), at which images a step takes its loss
    (`views`), and that loss (`outer`); further what training and validation measure (`said`,
    `judged`, `test_step`).
    """

    setting: config.Training
    meters: SimpleNamespace
    loss_of: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

    def configure(self, setting: config.Training) -> None:
        """Take the settings; to be called in the strategy's scope.

        Raises:
            UserError: No such operation or loss.
        """
        mixing.chosen(setting)
        self.setting = setting
        # In a plain object, lest Keras count them among the weights.
        self.meters = SimpleNamespace(
            **{name: keras.metrics.Mean(name) for name in dict.fromkeys((*self.said, *self.judged))}
        )
        self.meters.__dict__.update({each.name: each for each in agreement(self)})
        self.loss_of = losses.of(setting)

    @property
    def said(self) -> tuple[str, ...]:
        """What a training step measures."""
        return "loss", "accuracy"

    @property
    def judged(self) -> tuple[str, ...]:
        """What validation measures."""
        return "loss", "accuracy"

    @property
    def recorded(self) -> set[str]:
        """Which of Keras' numbers of an epoch mean something."""
        agreed = (each.name for each in agreement(self))
        return {*self.said, *(f"val_{name}" for name in (*self.judged, *agreed))}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras sets back at the start of an epoch and of a validation."""
        return list(vars(self.meters).values()) if hasattr(self, "meters") else []

    def prepare(self, batches: tf.data.Dataset, key: tuple[int, int]) -> tf.data.Dataset:
        """Training batches of (images, *rest) to (what `views` takes, *rest), the same for a key.

        Args:
            batches: Of float32 images (N, H, W, 3) in [0, 1], and what belongs to them.
            key: Seed and epoch.
        """
        raise NotImplementedError

    def views(self, given: Any, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The batches of images (N, H, W, 3) that `outer` takes."""
        raise NotImplementedError

    def outer(self, *views_and_labels: tf.Tensor) -> tuple[tf.Tensor, Parts]:
        """Loss of each image (N,), and logits by the name of their accuracy; in training mode."""
        raise NotImplementedError

    def train_step(self, data: Any) -> Parts:
        """Take the loss, descend; the loss is a mean over the batch of all replicas."""
        given, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        views = self.views(given, labels)
        with tf.GradientTape() as tape:
            each, logits = self.outer(*views, labels)
            each = each if weights is None else each * weights
            loss = tf.nn.compute_average_loss(each)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self.say(loss=each, **{name: right(value, labels) for name, value in logits.items()})

    def agree(self, logits: tf.Tensor, labels: tf.Tensor) -> None:
        """Count clean predictions of a validation batch towards the kappa."""
        if hasattr(self.meters, "kappa"):
            self.meters.kappa.update_state(labels, logits)

    def say(self, **values: tf.Tensor) -> Parts:
        """Means so far, over all replicas; a meter without values stays 0."""
        for name, value in values.items():
            getattr(self.meters, name).update_state(value)
        return {name: meter.result() for name, meter in vars(self.meters).items()}


def agreement(model: keras.Model) -> list[keras.metrics.Metric]:
    """A new quadratic weighted kappa (Cohen 1968), `kappa`; none for two classes.

    To be called in the strategy's scope. It means something where classes stand in an order.
    """
    classes = int(model.output_shape[-1])
    if classes < 3 or len(model.output_shape) > 2:
        return []
    return [kappa(classes)]


def overlap(model: keras.Model) -> list[keras.metrics.Metric]:
    """A new mean Dice of the images, `dice`; none where an image has one class.

    To be called in the strategy's scope.
    """
    if name_of(len(model.output_shape)) == "classify":
        return []

    def dice(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return graph.dice(logits, tf.cast(labels, tf.int64))  # Keras has made them float

    return [keras.metrics.MeanMetricWrapper(dice, name="dice")]


def divergence(clean: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """KL(softmax(clean) || softmax(found)) of each image, (N,), from logits (N, K)."""
    before, after = tf.nn.log_softmax(clean), tf.nn.log_softmax(found)
    return tf.reduce_sum(tf.exp(before) * (before - after), axis=1)


def parting(clean: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """What rises where `divergence` does, (N,), from logits (N, K): for an attack to ascend.

    Its gradient by `found` is the divergence's, softmax(found) - softmax(clean), times a positive
    number for each image; its value means nothing. Where both are sure of one class that difference
    rounds to 0. Here the class with the highest clean logit gets what the others' differences add
    up to, and those are taken as shares of the largest, reckoned in logarithms.
    """
    before, after = tf.nn.log_softmax(clean), tf.nn.log_softmax(tf.stop_gradient(found))
    size = tf.maximum(before, after) + tf.math.log(-tf.math.expm1(-tf.abs(after - before)))
    top = tf.one_hot(tf.argmax(clean, axis=1), clean.shape[1], on_value=True, off_value=False)
    size = tf.where(top, clean.dtype.min, size)
    largest = tf.maximum(tf.reduce_max(size, axis=1, keepdims=True), clean.dtype.min)
    pull = tf.where(top, 0.0, tf.sign(after - before) * tf.exp(size - largest))
    ahead = found - tf.reduce_sum(tf.where(top, found, 0.0), axis=1, keepdims=True)
    return tf.reduce_sum(tf.stop_gradient(pull) * ahead, axis=1)


def jensen_shannon(*logits: tf.Tensor) -> tf.Tensor:
    """Mean KL of each view's probabilities from their mean, of each image (N,); 0 to ln(views).

    Reckoned in logarithms, where a probability of 0 needs no clamp (the paper's code has one).

    Args:
        logits: float32 (N, K) for each view.
    """
    each = tf.nn.log_softmax(tf.stack(logits))
    mean = tf.reduce_logsumexp(each, axis=0) - math.log(len(logits))
    return tf.reduce_mean(tf.reduce_sum(tf.exp(each) * (each - mean), axis=-1), axis=0)


def right(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """1 for each image (N,) that is right, else 0; float32."""
    return tf.cast(~graph.of(logits).wrong(logits, labels), tf.float32)
