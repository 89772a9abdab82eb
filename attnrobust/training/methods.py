"""METHODS: how a step finds its gradient; each row makes a built model one that trains that way.

The robust ones are the same network with another `train_step` and `test_step`, so that Keras' fit,
the optimizer (with loss scaling), class weights, strategies and weight files work as ever. A step
crafts adversarials in inference mode by default (`training.inner_batchnorm`), then takes its loss
in training mode: where clean and adversarial images both count, they go through the network one
after the other, each batch normalised by its own statistics, and both move the averages (as in
TRADES' own code). With adversarial images alone, the averages are those of adversarial images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.training import inner

# Step of `fast`, in epsilons (Wong et al. 2020).
FAST_STEP = 1.25
# `fast` has collapsed where PGD leaves less than this share of what the single step leaves, and of
# what PGD left before, and by more than a few images that fall by chance.
COLLAPSE_SHARE, COLLAPSE_GAP = 0.5, 0.1

Parts = dict[str, tf.Tensor]


class Adversarial(keras.Model):
    """Adversarial training (Madry et al. 2018): the loss at the worst point found in a ball.

    The loss is `clean_share` times that of the clean images plus the rest times that of the
    adversarial ones; with a clean share of 1 nothing is crafted: the step of standard training.

    Settings in papers: L-inf 2.5/255 with 5 steps (Wu et al., fundus images); L2 4 for 50,000
    pixels and in proportion to their number, 7 steps of epsilon / 5 (Margeloiu et al., HAM10000);
    L-inf 4/255 with 7 steps (Martinez et al., chest X-rays).

    Validation: `val_loss`, by which the best epoch is chosen and training stops, is the
    cross-entropy at adversarials of PGD with the inner settings (for `fast`, too), the same random
    starts in every epoch. `val_robust_accuracy` is the accuracy there, `val_clean_loss` and
    `val_accuracy` those of the clean images.
    """

    setting: config.Training
    meters: SimpleNamespace
    gaussian = False

    def configure(self, setting: config.Training) -> None:
        """Take the settings; to be called in the strategy's scope.

        Raises:
            UserError: One image on a device, which BatchNorm would normalise by itself.
        """
        devices = tf.distribute.get_strategy().num_replicas_in_sync
        if setting.batch_size // devices < 2 and list(inner.batchnorms(self)):
            raise UserError(
                f"training.batch_size = {setting.batch_size} on {devices} device(s): expected at "
                "least 2 images on each, since BatchNorm takes its statistics from them"
            )
        self.setting = setting
        # In a plain object, lest Keras count them among the weights.
        self.meters = SimpleNamespace(
            **{name: keras.metrics.Mean(name) for name in dict.fromkeys((*self.said, *self.judged))}
        )

    @property
    def said(self) -> tuple[str, ...]:
        """What a training step measures."""
        adversarial, clean = self.setting.clean_share < 1, self.setting.clean_share > 0
        return ("loss", *["accuracy"] * clean, *["robust_accuracy"] * adversarial)

    @property
    def passes(self) -> int:
        """How many sets of activations a training step keeps for its gradient: 1 or 2."""
        return len(self.said) - 1

    @property
    def judged(self) -> tuple[str, ...]:
        """What validation measures."""
        return "loss", "clean_loss", "accuracy", "robust_accuracy"

    @property
    def recorded(self) -> set[str]:
        """Which of Keras' numbers of an epoch mean something."""
        return {*self.said, *(f"val_{name}" for name in self.judged)}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What Keras sets back at the start of an epoch and of a validation."""
        return list(vars(self.meters).values()) if hasattr(self, "meters") else []

    def train_step(self, data: Any) -> Parts:
        """Craft, take the loss, descend; the loss is a mean over the batch of all replicas."""
        (images, start), labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        crafts = "robust_accuracy" in self.said
        crafted = self.craft(images, start, labels) if crafts else images
        with tf.GradientTape() as tape:
            each, logits = self.outer(images, crafted, labels)
            each = each if weights is None else each * weights
            loss = tf.nn.compute_average_loss(each)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self._say(
            loss=each, **{name: _right(value, labels) for name, value in logits.items()}
        )

    def test_step(self, data: Any) -> Parts:
        """Clean images, and PGD's, in inference mode."""
        (images, start), labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        crafted = self.pgd(self._label_loss(labels, training=False), images, start)
        clean, found = self(images, training=False), self(crafted, training=False)
        return self._say(
            loss=cross_entropy(found, labels), clean_loss=cross_entropy(clean, labels),
            accuracy=_right(clean, labels), robust_accuracy=_right(found, labels),
        )  # fmt: skip

    def craft(self, images: tf.Tensor, start: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Adversarials (N, H, W, 3) for a training step."""
        with inner.statistics_kept(self, self.setting) as training:
            return self.pgd(self._label_loss(labels, training=training), images, start)

    def outer(self, images: tf.Tensor, crafted: tf.Tensor, labels: tf.Tensor) -> tuple[Any, Parts]:
        """Loss of each image (N,), and logits by the name of their accuracy; in training mode."""
        share, each, logits = self.setting.clean_share, tf.zeros(tf.shape(labels)), {}
        for weight, name, x in (
            (share, "accuracy", images), (1 - share, "robust_accuracy", crafted)
        ):  # fmt: skip
            if weight > 0:
                logits[name] = self(x, training=True)
                each += weight * cross_entropy(logits[name], labels)
        return each, logits

    def pgd(
        self, objective: inner.Objective, images: tf.Tensor, start: tf.Tensor, **other: Any
    ) -> tf.Tensor:
        """The inner settings' attack, or one with `other` steps."""
        setting = self.setting
        how = {"stepsize": setting.inner_stepsize, "steps": setting.inner_steps, **other}
        scale = 1.0
        if isinstance(self.optimizer, keras.mixed_precision.LossScaleOptimizer):
            # As in the loss, which is a mean: it overflows as seldom here as there.
            scale = self.optimizer.loss_scale / setting.batch_size
        return inner.ascend(
            objective, images, start, norm=setting.inner_norm, epsilon=setting.inner_epsilon,
            scale=scale, **how,
        )  # fmt: skip

    def _label_loss(self, labels: tf.Tensor, *, training: bool) -> inner.Objective:
        return lambda x: cross_entropy(self(x, training=training), labels)

    def _say(self, **values: tf.Tensor) -> Parts:
        """Means so far, over all replicas; a meter without values stays 0."""
        for name, value in values.items():
            getattr(self.meters, name).update_state(value)
        return {name: meter.result() for name, meter in vars(self.meters).items()}


class Trades(Adversarial):
    """TRADES (Zhang et al. 2019): clean cross-entropy plus beta times how far an attack moves.

    That is, the KL divergence of the adversarial image's probabilities from the clean image's,
    which the inner attack ascends (labels play no part) from 0.001 times Gaussian noise, where the
    divergence has a gradient. In the outer loss the gradient goes through both, as in their code.
    """

    gaussian = True

    @property
    def said(self) -> tuple[str, ...]:
        """What a training step measures."""
        return "loss", "accuracy", "robust_accuracy"

    def craft(self, images: tf.Tensor, start: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Adversarials (N, H, W, 3) for a training step."""
        del labels
        with inner.statistics_kept(self, self.setting) as training:
            clean = tf.stop_gradient(self(images, training=training))
            return self.pgd(lambda x: divergence(clean, self(x, training=training)), images, start)

    def outer(self, images: tf.Tensor, crafted: tf.Tensor, labels: tf.Tensor) -> tuple[Any, Parts]:
        """Loss of each image (N,), and logits by the name of their accuracy; in training mode."""
        clean, found = self(images, training=True), self(crafted, training=True)
        each = cross_entropy(clean, labels) + self.setting.trades_beta * divergence(clean, found)
        return each, {"accuracy": clean, "robust_accuracy": found}


class Fast(Adversarial):
    """FGSM with a random start (Wong et al. 2020): one step of 1.25 epsilon, back into the ball.

    Such training can collapse within an epoch: the network learns to stand its own single step and
    nothing else, so that PGD, which validation goes on using, leaves (next to) nothing. `collapsed`
    says when; training then ends with the best weights from before.
    """

    @property
    def judged(self) -> tuple[str, ...]:
        """What validation measures: also the accuracy under the step that training takes."""
        return *super().judged, "one_step_accuracy"

    def craft(self, images: tf.Tensor, start: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Adversarials (N, H, W, 3) for a training step."""
        with inner.statistics_kept(self, self.setting) as training:
            return self._one_step(images, start, labels, training=training)

    def test_step(self, data: Any) -> Parts:
        """Clean images, PGD's and those of the single step, in inference mode."""
        (images, start), labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        crafted = self._one_step(images, start, labels, training=False)
        self._say(one_step_accuracy=_right(self(crafted, training=False), labels))
        return super().test_step(data)

    def _one_step(
        self, images: tf.Tensor, start: tf.Tensor, labels: tf.Tensor, *, training: bool
    ) -> tf.Tensor:
        objective = self._label_loss(labels, training=training)
        length = FAST_STEP * self.setting.inner_epsilon
        return self.pgd(objective, images, start, stepsize=length, steps=1)


def collapsed(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last row of a history shows catastrophic overfitting (Wong et al. 2020).

    PGD leaves less than half of the validation accuracy that the single step leaves, less than half
    of what it left in some epoch before, both by at least 0.1, and its loss is not the lowest. The
    first alone is also seen of a model that is not robust yet; the second alone of one that named
    one class for every image, which nothing can fool, and has begun to learn.
    """
    *before, last = history
    if not before or "val_one_step_accuracy" not in last:
        return False
    several, earlier = last["val_robust_accuracy"], max(r["val_robust_accuracy"] for r in before)
    fallen = all(
        several < COLLAPSE_SHARE * more and more - several >= COLLAPSE_GAP
        for more in (last["val_one_step_accuracy"], earlier)
    )
    return fallen and last["val_loss"] > min(row["val_loss"] for row in before)


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Of each image, (N,)."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def divergence(clean: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """KL(softmax(clean) || softmax(found)) of each image, (N,), from logits (N, K)."""
    before, after = tf.nn.log_softmax(clean), tf.nn.log_softmax(found)
    return tf.reduce_sum(tf.exp(before) * (before - after), axis=1)


def _right(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, tf.float32)


def standard(network: keras.Model, setting: config.Training) -> keras.Model:
    """The loss at the images as they are."""
    del setting
    return network


def _as(kind: type[Adversarial]) -> Method:
    def made(network: keras.Model, setting: config.Training) -> keras.Model:
        model = kind(network.input, network.output, name=network.name)
        model.configure(setting)
        return model

    return made


# (network, settings) to the same network with its steps; to be called in the strategy's scope.
Method = Callable[[keras.Model, config.Training], keras.Model]

METHODS: dict[str, Method] = {
    "standard": standard, "adversarial": _as(Adversarial), "trades": _as(Trades), "fast": _as(Fast),
}  # fmt: skip
