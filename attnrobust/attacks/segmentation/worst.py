"""The worst iterate of every image: the one whose mean Dice is least.

What an attack ascends is not what it is judged by: the loss may rise while the Dice does, too. So
of all iterates the worst by Dice is given back, and no attack ends weaker than it once was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from attnrobust import keyed
from attnrobust.models.replicas import Replicas
from attnrobust.task import graph
from attnrobust.training import ball


class Worst:
    """What is kept of the iterates of a batch.

    Attributes:
        images: (N, H, W, 3); nothing before the first iterate.
        score: Their mean Dice (N,); above 1 before the first iterate.
    """

    def __init__(self, images: tf.Tensor) -> None:
        self.images = images
        self.score = tf.fill(images.shape[:1], tf.constant(2.0))

    def keep(self, images: tf.Tensor, score: tf.Tensor) -> None:
        """Take these iterates (N, H, W, 3) of these scores (N,) where they are worse."""
        worse = score < self.score
        self.images = tf.where(worse[:, None, None, None], images, self.images)
        self.score = tf.minimum(score, self.score)


def compiled_score(replicas: Replicas) -> Callable[..., tf.Tensor]:
    """Compiled (images, labels) to the mean Dice of each image (N,)."""

    def score(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = replicas.model(images, training=False)
        return graph.of(logits).score(logits, labels)

    made: Callable[..., tf.Tensor] = replicas.once(("score",), lambda: replicas.map(score))
    return made


def start(
    images: tf.Tensor, ids: Sequence[str], *, name: str, seed: int, epsilon: float, restart: int
) -> tf.Tensor:
    """A uniform point of the L-inf ball, put into the box, for each image."""
    drawn = keyed.random_starts(
        ids, images.shape[1:], attack=name, seed=seed, epsilon=epsilon, restart=restart
    )
    moved = images + epsilon * tf.constant(drawn.astype(images.dtype.as_numpy_dtype))
    return ball.project(moved, images, epsilon, "linf")


def spent(ids: Sequence[str], passes: int) -> np.ndarray:
    """The same passes for every image (N,)."""
    return np.full(len(ids), passes)
