"""ATTACKS: the table of attacks; each row is one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.attacks import engine
from attnrobust.models.replicas import Replicas

# (images, labels, ids, epsilon, restart) to adversarials of the images' shape and the forward and
# gradient passes that each cost (N,); epsilon is infinite for attacks of the kind `minimal`.
Attack = Callable[
    [tf.Tensor, tf.Tensor, Sequence[str], float, int], tuple[tf.Tensor | np.ndarray, np.ndarray]
]


@dataclass(frozen=True)
class Row:
    """An attack of the table.

    Attributes:
        make: (replicas, settings, seed) to the attack.
        norm: Of its ball: `linf`, `l2` or `l0` (changed pixels, any channel counting once).
        kind: `fixed`: looks inside the ball of a given epsilon. `minimal`: looks for the smallest
            perturbation, whatever epsilon is; runs once and is judged at each by its distance.
        steps: Whether it goes by `attack.steps` and a step size, so that steps times step size
            must reach the edge of the ball.
    """

    make: Callable[[Replicas, config.Attack, int], Attack]
    norm: str = "linf"
    kind: str = "fixed"
    steps: bool = False


def linf_pgd(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """L-inf projected gradient ascent on the cross-entropy (Madry et al. 2018), Foolbox's loop."""
    model = engine.foolbox_model(replicas)
    gradient = engine.cross_entropy_gradient(replicas)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[tf.Tensor, np.ndarray]:
        start = None
        if setting.random_start:
            start = engine.random_starts(
                ids, images.shape[1:], seed=seed, epsilon=epsilon, restart=restart
            )
        pgd = engine.CompiledLinfPGD(
            gradient=gradient, start=start, steps=setting.steps, rel_stepsize=setting.rel_stepsize
        )
        _, clipped, _ = pgd(model, images, labels, epsilons=epsilon)
        return clipped, np.full(len(ids), setting.steps + 1)

    return attack


ATTACKS: dict[str, Row] = {"linf_pgd": Row(linf_pgd, steps=True)}
