"""The compiled engine: Foolbox's attack loop, with the gradient as one compiled step.

Foolbox keeps its loop, projection, clipping and criterion; only three hooks are filled: the
gradient (compiled, spread over replicas), the loss it belongs to, and the random start (stateless,
so that a result does not depend on batches, replicas or a resume).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
import tensorflow as tf

from attnrobust.models.replicas import Replicas

BOUNDS = (0.0, 1.0)
Gradient = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def foolbox_model(replicas: Replicas) -> foolbox.models.TensorFlowModel:
    """The model as Foolbox sees it: images in [0, 1] to logits, compiled."""
    return foolbox.models.TensorFlowModel(replicas.forward, bounds=BOUNDS, device="/CPU:0")


def cross_entropy_gradient(replicas: Replicas) -> Gradient:
    """Compiled `(images, labels) -> (loss (N,), gradient (N, H, W, 3))` of the cross-entropy.

    Losses are summed, not averaged, as in Foolbox, so that an image's gradient does not depend on
    its batch.
    """

    def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = replicas.model(images, training=False)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return loss, tape.gradient(loss, images)

    return replicas.map(step)


class CompiledLinfPGD(foolbox.attacks.LinfPGD):
    """Foolbox's L-inf PGD (Madry et al. 2018) on a compiled gradient.

    Args:
        gradient: From `cross_entropy_gradient`.
        start: Random start in [-1, 1], in units of epsilon (N, H, W, 3); None starts at the image.
        steps: Gradient steps.
        rel_stepsize: Step size as a share of epsilon.
    """

    def __init__(
        self, *, gradient: Gradient, start: np.ndarray | None, steps: int, rel_stepsize: float
    ) -> None:
        super().__init__(rel_stepsize=rel_stepsize, steps=steps, random_start=start is not None)
        self.gradient = gradient
        self.start = start

    def get_loss_fn(self, model: Any, labels: ep.Tensor) -> Any:
        """The labels: the compiled gradient holds the loss."""
        del model
        return labels

    def value_and_grad(self, loss_fn: Any, x: ep.Tensor) -> tuple[ep.Tensor, ep.Tensor]:
        """Loss and gradient by the compiled step."""
        loss, gradient = self.gradient(x.raw, loss_fn.raw)
        return ep.astensor(tf.reduce_sum(loss)), ep.astensor(gradient)

    def get_random_start(self, x0: ep.Tensor, epsilon: float) -> ep.Tensor:
        """The start given, at this epsilon."""
        return x0 + epsilon * ep.astensor(tf.constant(self.start, x0.raw.dtype))


def random_starts(
    ids: Sequence[str], shape: Sequence[int], *, seed: int, epsilon: float, restart: int
) -> np.ndarray:
    """A uniform point of [-1, 1] for each pixel, float32 (N, *shape), from a stateless generator.

    The key is (seed, image id, epsilon, restart) and nothing else.
    """

    def draw(id_: str) -> np.ndarray:
        text = f"{seed}|{id_}|{epsilon!r}|{restart}"
        key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
        rng = np.random.Generator(np.random.Philox(key=key))
        return rng.random(tuple(shape), dtype=np.float32) * 2 - 1

    return np.stack([draw(id_) for id_ in ids])
