"""Projected gradient ascent on losses of pixels, in the L-inf ball: PGD, SegPGD, CosPGD."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.attacks.losses import NONE_IS_ZERO
from attnrobust.attacks.row import Attack
from attnrobust.attacks.segmentation import losses
from attnrobust.attacks.segmentation.worst import Worst, compiled_score, spent, start
from attnrobust.models.replicas import Replicas
from attnrobust.task import graph
from attnrobust.training import ball


def pixel_pgd(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """PGD on the loss of pixels that `attack.loss` names."""
    return pgd(replicas, setting, seed, loss=setting.loss)


def seg_pgd(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """SegPGD: from right pixels alone to right and wrong ones alike (Gu et al. 2022)."""
    return pgd(replicas, setting, seed, loss="seg_pgd")


def cos_pgd(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """CosPGD: pixels weigh as their probabilities are like the label (Agnihotri et al. 2024)."""
    return pgd(replicas, setting, seed, loss="cos_pgd")


def pgd(replicas: Replicas, setting: config.Attack, seed: int, *, loss: str) -> Attack:
    """Signed steps from a random point of the ball; the iterate of least mean Dice is given back.

    Args:
        replicas: The model.
        setting: `steps`, step size, `random_start` (else from the image).
        seed: Of the random starts.
        loss: Row of PIXEL_LOSSES.
    """
    step = replicas.once(("pixels", loss), lambda: replicas.map(_step(replicas, loss)))
    score = compiled_score(replicas)
    name = setting.name if loss != setting.loss else f"{setting.name} {loss}"

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        images = x = tf.convert_to_tensor(images)
        if setting.random_start:
            x = start(images, ids, name=name, seed=seed, epsilon=epsilon, restart=restart)
        sizes = [tf.constant(size, images.dtype) for size in (epsilon, setting.stepsize(epsilon))]
        worst = Worst(images)
        for turn in range(setting.steps):
            share = tf.constant(turn / setting.steps, images.dtype)
            moved, dice = step(x, images, labels, share, *sizes)
            worst.keep(x, dice)
            x = moved
        worst.keep(x, score(x, labels))
        return worst.images.numpy(), spent(ids, setting.steps + 2)

    return attack


def _step(replicas: Replicas, loss: str) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """(x, images, labels, share, epsilon, step size) to the next iterates and the Dice of x."""
    function = losses.of(loss)

    def step(  # noqa: PLR0917  (a compiled function takes tensors by position)
        x: tf.Tensor,
        images: tf.Tensor,
        labels: tf.Tensor,
        share: tf.Tensor,
        epsilon: tf.Tensor,
        stepsize: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = replicas.model(x, training=False)
            value = function(logits, labels, share)
        gradient = tape.gradient(value, x, unconnected_gradients=NONE_IS_ZERO)
        moved = x + stepsize * ball.steepest(gradient, "linf")
        score = graph.of(logits).score(logits, labels)
        return ball.project(moved, images, epsilon, "linf"), score

    return step
