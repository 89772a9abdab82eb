"""Methods that train on adversarial images: `adversarial`, `trades` and `fast`.

They are the same network with another `train_step` and `test_step`, so that Keras' fit, the
optimizer (with loss scaling), class weights, strategies and weight files work as ever. A step
crafts adversarials in inference mode by default (`training.inner_batchnorm`), then takes its loss
in training mode: where clean and adversarial images both count, they go through the network one
after the other, each batch normalised by its own statistics, and both move the averages (as in
TRADES' own code). With adversarial images alone, the averages are those of adversarial images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust.task import graph
from attnrobust.training import batchnorm, inner
from attnrobust.training.steps import Parts, Steps, divergence, parting, right

# Step of `fast`, in epsilons (Wong et al. 2020).
FAST_STEP = 1.25
# Of Keras' optimizers in float16.
FIRST_LOSS_SCALE = 2.0**15
# `fast` has collapsed where PGD leaves less than this share of what the single step leaves, and of
# what PGD left before, and by more than a few images that fall by chance.
COLLAPSE_SHARE, COLLAPSE_GAP = 0.5, 0.1


class Adversarial(Steps):
    """Adversarial training (Madry et al. 2018): the loss at the worst point found in a ball.

    The loss is `clean_share` times that of the clean images plus the rest times that of the
    adversarial ones; with a clean share of 1 nothing is crafted: the step of standard training.

    Settings in papers: L-inf 2.5/255 with 5 steps (Wu et al., fundus images); L2 4 for 50,000
    pixels and in proportion to their number, 7 steps of epsilon / 5 (Margeloiu et al., HAM10000);
    epsilon 4 with 7 steps (Martinez-Martinez and Nabavi, chest X-rays, who name neither norm nor
    scale: taken for L-inf 4/255, while code of the first author's is L2, steps of 2.5/7 epsilon).

    Validation: `val_loss`, by which the best epoch is chosen and training stops, is the loss
    (`training.loss`) at adversarials of PGD with the inner settings (for `fast`, too), the same
    random starts in every epoch. `val_robust_accuracy` is the accuracy there, `val_clean_loss` and
    `val_accuracy` those of the clean images.
    """

    gaussian = False

    @property
    def said(self) -> tuple[str, ...]:
        """What a training step measures."""
        adversarial, clean = self.setting.clean_share < 1, self.setting.clean_share > 0
        return ("loss", *["accuracy"] * clean, *["robust_accuracy"] * adversarial)

    @property
    def judged(self) -> tuple[str, ...]:
        """What validation measures."""
        return "loss", "clean_loss", "accuracy", "robust_accuracy"

    @property
    def passes(self) -> int:
        """How many sets of activations a step keeps for its gradient."""
        return len(self.said) - 1

    def prepare(self, batches: tf.data.Dataset, key: tuple[int, int]) -> tf.data.Dataset:
        """Batches of (images, *rest) to ((images, random starts), *rest)."""
        setting = self.setting
        return inner.starts(
            batches, setting.inner_norm, setting.inner_epsilon, key, gaussian=self.gaussian
        )

    def views(self, given: Any, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Clean images and adversarials."""
        images, start = given
        crafts = "robust_accuracy" in self.said
        return images, self.craft(images, start, labels) if crafts else images

    def test_step(self, data: Any) -> Parts:
        """Clean images, and PGD's, in inference mode."""
        (images, start), labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        crafted = self.pgd(self._label_loss(labels, training=False), images, start)
        clean, found = self(images, training=False), self(crafted, training=False)
        self.agree(clean, labels)
        return self.say(
            loss=self.loss_of(found, labels),
            clean_loss=self.loss_of(clean, labels),
            accuracy=right(clean, labels),
            robust_accuracy=right(found, labels),
        )

    def craft(self, images: tf.Tensor, start: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Adversarials (N, H, W, 3) for a training step."""
        with batchnorm.kept(self, self.setting) as training:
            return self.pgd(self._label_loss(labels, training=training), images, start)

    def outer(self, images: tf.Tensor, crafted: tf.Tensor, labels: tf.Tensor) -> tuple[Any, Parts]:
        """Loss of each image (N,), and logits by the name of their accuracy; in training mode."""
        share, each, logits = self.setting.clean_share, tf.zeros(tf.shape(labels)), {}
        for weight, name, x in (
            (share, "accuracy", images),
            (1 - share, "robust_accuracy", crafted),
        ):
            if weight > 0:
                logits[name] = self(x, training=True)
                each += weight * self.loss_of(logits[name], labels)
        return each, logits

    def pgd(
        self, objective: inner.Objective, images: tf.Tensor, start: tf.Tensor, **other: Any
    ) -> tf.Tensor:
        """The inner settings' attack, or one with `other` steps."""
        setting = self.setting
        how = {"stepsize": setting.inner_stepsize, "steps": setting.inner_steps, **other}
        scale = 1.0
        if isinstance(self.optimizer, keras.mixed_precision.LossScaleOptimizer):
            # As in the loss, which is a mean: it overflows as seldom here as there. But no larger
            # than it begins: it grows as the loss fades, and what is ascended does not fade.
            scale = tf.minimum(self.optimizer.loss_scale, FIRST_LOSS_SCALE) / setting.batch_size
        return inner.ascend(
            objective,
            images,
            start,
            norm=setting.inner_norm,
            epsilon=setting.inner_epsilon,
            scale=scale,
            **how,
        )

    def _label_loss(self, labels: tf.Tensor, *, training: bool) -> inner.Objective:
        # Rises with the cross-entropy, and does not round to 0 where the network is sure.
        def objective(x: tf.Tensor) -> tf.Tensor:
            logits = self(x, training=training)
            return graph.of(logits).against(logits, labels)

        return objective


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
        with batchnorm.kept(self, self.setting) as training:
            clean = tf.stop_gradient(self(images, training=training))
            return self.pgd(lambda x: parting(clean, self(x, training=training)), images, start)

    def outer(self, images: tf.Tensor, crafted: tf.Tensor, labels: tf.Tensor) -> tuple[Any, Parts]:
        """Loss of each image (N,), and logits by the name of their accuracy; in training mode."""
        clean, found = self(images, training=True), self(crafted, training=True)
        each = self.loss_of(clean, labels) + self.setting.trades_beta * divergence(clean, found)
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
        with batchnorm.kept(self, self.setting) as training:
            return self._one_step(images, start, labels, training=training)

    def test_step(self, data: Any) -> Parts:
        """Clean images, PGD's and those of the single step, in inference mode."""
        (images, start), labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        crafted = self._one_step(images, start, labels, training=False)
        self.say(one_step_accuracy=right(self(crafted, training=False), labels))
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
    if not before or not one_step_alone(last):
        return False
    earlier = max(row["val_robust_accuracy"] for row in before)
    lower = last["val_loss"] <= min(row["val_loss"] for row in before)
    return _far_below(last["val_robust_accuracy"], earlier) and not lower


def one_step_alone(row: Mapping[str, Any]) -> bool:
    """Whether an epoch of `fast` ends with what its single step leaves, and PGD does not."""
    one_step = row.get("val_one_step_accuracy")
    return one_step is not None and _far_below(row["val_robust_accuracy"], one_step)


def _far_below(fewer: float, more: float) -> bool:
    return fewer < COLLAPSE_SHARE * more and more - fewer >= COLLAPSE_GAP
