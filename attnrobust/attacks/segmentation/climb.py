"""APGD on losses of pixels, with radii that shrink, and SEA, the ensemble of three of them
(Croce et al. 2024, 'Towards reliable evaluation and fast training of robust semantic segmentation
models')."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.attacks import apgd, packing
from attnrobust.attacks.row import Attack
from attnrobust.attacks.segmentation import losses
from attnrobust.attacks.segmentation.worst import Worst, compiled_score, spent, start
from attnrobust.models.replicas import Replicas
from attnrobust.task import graph
from attnrobust.training import ball

# Radii in units of epsilon, and the share of the steps in each; only the last one's count.
RADII = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))
SEA = ("masked", "balanced", "jensen_shannon")


def pixel_apgd(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """APGD on the loss of pixels that `attack.loss` names, in the ball from the first step."""
    return climbed(replicas, setting, seed, loss=setting.loss, radii=((1.0, 1.0),))


def pixel_apgd_shrinking(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """APGD on `attack.loss` in balls of 2, 1.5 and 1 epsilon, one after the other."""
    return climbed(replicas, setting, seed, loss=setting.loss)


def sea(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """The worst, image by image, of APGD with shrinking radii on three losses.

    They are the masked and the balanced cross-entropy and the Jensen-Shannon divergence, each with
    `attack.steps` steps (300 in the paper).
    """
    members = [climbed(replicas, setting, seed, loss=loss) for loss in SEA]
    return ensemble(replicas, members)


def ensemble(replicas: Replicas, members: Sequence[Attack]) -> Attack:
    """Of each image the adversarial of least mean Dice that any of these attacks makes."""
    score = compiled_score(replicas)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        worst, passes = Worst(tf.convert_to_tensor(images)), spent(ids, 1)
        for member in members:
            made, cost = member(images, labels, ids, epsilon, restart)
            worst.keep(tf.convert_to_tensor(made), score(made, labels))
            passes += cost
        return worst.images.numpy(), passes

    return attack


def climbed(
    replicas: Replicas,
    setting: config.Attack,
    seed: int,
    *,
    loss: str,
    radii: Sequence[tuple[float, float]] = RADII,
) -> Attack:
    """APGD from a random point; the iterate of least mean Dice in the last ball is given back.

    Step size and best point are judged by the cross-entropy, as in the authors' code: a loss of
    right pixels alone falls where one of them turns. Each later ball is entered at the best point
    of the one before, drawn into it.

    Args:
        replicas: The model.
        setting: `steps` in all; `random_start` (else from the image).
        seed: Of the random starts.
        loss: Row of PIXEL_LOSSES.
        radii: Of the balls in units of epsilon, each with its share of the steps.
    """
    iterate = replicas.once(("pixel apgd", loss), lambda: replicas.map(_iteration(replicas, loss)))
    counts = _steps(setting.steps, [share for _, share in radii])

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        images = x = tf.convert_to_tensor(images)
        first = radii[0][0] * epsilon
        if setting.random_start:
            name = f"{setting.name} {loss}"
            x = start(images, ids, name=name, seed=seed, epsilon=first, restart=restart)
        for (factor, _), steps in zip(radii, counts, strict=True):
            worst = Worst(images)
            climb = _Climb(iterate, images, labels, factor * epsilon)
            x = climb(x, steps, worst)
        passes = setting.steps + len(radii) + 1
        return worst.images.numpy(), spent(ids, passes)

    return attack


def _steps(steps: int, shares: Sequence[float]) -> list[int]:
    """So many steps for each share, `steps` in all."""
    ends = [round(steps * sum(shares[: place + 1])) for place in range(len(shares))]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


class _Climb:
    """APGD in one ball, all images of a batch to the end."""

    def __init__(
        self,
        iterate: Callable[..., tuple[tf.Tensor, ...]],
        images: tf.Tensor,
        labels: tf.Tensor,
        epsilon: float,
    ) -> None:
        self.iterate = iterate
        self.images = images
        self.labels = labels
        self.epsilon = epsilon

    def __call__(self, x: tf.Tensor, steps: int, worst: Worst) -> tf.Tensor:
        """Ascend from `x`, put into the ball; the best points (N, H, W, 3)."""
        x = ball.project(x, self.images, self.epsilon, "linf")
        rows = apgd.fresh(x)
        # A first step of size 0: loss and gradient of the start, to which nothing has risen.
        self._advance(rows, 1.0, worst)
        rows["rises"] = np.zeros(len(x), int)
        rows["size"] = np.full(len(x), 2 * self.epsilon, np.float32)
        before, judged = 0, apgd.checkpoints(steps)
        for iteration in range(1, steps + 1):
            self._advance(rows, apgd.MOMENTUM if iteration > 1 else 1.0, worst)
            if iteration in judged:
                apgd.halve(rows, iteration - before)
                before = iteration
        return rows["best"]

    def _advance(self, rows: packing.Rows, share: float, worst: Worst) -> None:
        """One iteration; what it gives is kept where it is worse."""
        names = ("x", "before", "slope", "best", "best_slope", "best_loss", "size")
        scalars = (tf.constant(share, tf.float32), tf.constant(self.epsilon, tf.float32))
        places = (self.images, self.labels, self.labels)
        score = apgd.take(rows, self.iterate(*places, *(rows[name] for name in names), *scalars))
        worst.keep(rows["x"], score)


def _iteration(replicas: Replicas, loss: str) -> Callable[..., tuple[tf.Tensor, ...]]:
    """An iteration of APGD, which also tells the mean Dice of its images."""
    no_steps = 0.0  # of the losses of APGD none changes with the steps

    def ascended(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return losses.of(loss)(logits, labels, tf.constant(no_steps, logits.dtype))

    def tracked(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return losses.cross_entropy(logits, labels, tf.constant(no_steps, logits.dtype))

    def seen(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return graph.of(logits).score(logits, labels)

    return apgd.iteration(replicas, ascended, "linf", seen=seen, tracked=tracked)
