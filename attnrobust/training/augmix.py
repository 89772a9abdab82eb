"""Methods that mix chains of operations into an image: `augmix` and `robust_augmix`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust.training import mixing
from attnrobust.training.adversarial import Adversarial
from attnrobust.training.steps import Parts, Steps, jensen_shannon, right


class AugMix(Steps):
    """AugMix (Hendrycks et al. 2020): clean cross-entropy, and a class that mixing does not move.

    The loss is the cross-entropy of the clean image plus `jsd_weight` times the Jensen-Shannon
    divergence between the probabilities of three views: the image and two mixtures of it (see
    attnrobust/training/mixing.py). As in the paper's code, the views go through the network as one
    batch, which BatchNorm normalises by the statistics of all three.

    Validation is that of `standard`: the clean images.
    """

    passes = 3

    def prepare(self, batches: tf.data.Dataset, key: tuple[int, int]) -> tf.data.Dataset:
        """Batches of (images, *rest) to ((images, mixture, mixture), *rest)."""
        return mixing.with_mixed(batches, self.setting, key, mixed=2)

    def views(self, given: Any, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Clean images and both mixtures."""
        del labels
        return tuple(given)

    def outer(self, *views_and_labels: tf.Tensor) -> tuple[tf.Tensor, Parts]:
        """Loss of each image (N,), and the clean logits; in training mode."""
        *views, labels = views_and_labels
        clean, *mixed = tf.split(self(tf.concat(views, axis=0), training=True), len(views))
        apart = jensen_shannon(clean, *mixed)
        return self.loss_of(clean, labels) + self.setting.jsd_weight * apart, {"accuracy": clean}

    def test_step(self, data: Any) -> Parts:
        """Clean images, in inference mode."""
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        logits = self(images, training=False)
        self.agree(logits, labels)
        return self.say(loss=self.loss_of(logits, labels), accuracy=right(logits, labels))


class RobustAugMix(Adversarial):
    """RobustAugMix (Martinez-Martinez and Brown 2022): one view of AugMix is an adversarial image.

    The loss is the cross-entropy of the clean image plus `jsd_weight` times the Jensen-Shannon
    divergence between the probabilities of three views: the image, one mixture of it, and the point
    that PGD with the inner settings, which ascends the cross-entropy in inference mode from a
    random start, finds around it. The paper only names the parts; this is the objective of its
    first author's code (github.com/martinez-hub/robustaugmix), in which, too, the views go through
    the network one after the other. `clean_share` plays no part.

    Settings in papers: epsilon 4 (see `Adversarial`) with 7 steps, `flip` as the only operation,
    SGD at 0.01 for 41 epochs (Martinez-Martinez and Nabavi 2023, chest X-rays).

    Validation is that of `adversarial`.
    """

    said = ("loss", "accuracy", "robust_accuracy")
    passes = 3

    def prepare(self, batches: tf.data.Dataset, key: tuple[int, int]) -> tf.data.Dataset:
        """Batches of (images, *rest) to ((images, random starts, mixture), *rest)."""
        return mixing.with_mixed(super().prepare(batches, key), self.setting, key, mixed=1)

    def views(self, given: Any, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Clean images, mixtures and adversarials."""
        images, start, mixed = given
        return images, mixed, self.craft(images, start, labels)

    def outer(self, *views_and_labels: tf.Tensor) -> tuple[tf.Tensor, Parts]:
        """Loss of each image (N,), and logits by the name of their accuracy; in training mode."""
        *views, labels = views_and_labels
        clean, mixed, found = (self(x, training=True) for x in views)
        apart = jensen_shannon(clean, mixed, found)
        each = self.loss_of(clean, labels) + self.setting.jsd_weight * apart
        return each, {"accuracy": clean, "robust_accuracy": found}
