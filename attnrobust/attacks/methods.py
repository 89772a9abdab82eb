"""ATTACKS: the table of attacks; each row is one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from attnrobust import config
from attnrobust.attacks import engine
from attnrobust.models.replicas import Replicas

# (images, labels, ids, epsilon, restart) to adversarials of the images' shape
Attack = Callable[[tf.Tensor, tf.Tensor, Sequence[str], float, int], tf.Tensor]


def linf_pgd(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """L-inf projected gradient ascent on the cross-entropy (Madry et al. 2018), Foolbox's loop."""
    model = engine.foolbox_model(replicas)
    gradient = engine.cross_entropy_gradient(replicas)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tf.Tensor:
        start = None
        if setting.random_start:
            start = engine.random_starts(
                ids, images.shape[1:], seed=seed, epsilon=epsilon, restart=restart
            )
        pgd = engine.CompiledLinfPGD(
            gradient=gradient, start=start, steps=setting.steps, rel_stepsize=setting.rel_stepsize
        )
        _, clipped, _ = pgd(model, images, labels, epsilons=epsilon)
        return clipped

    return attack


ATTACKS: dict[str, Callable[[Replicas, config.Attack, int], Attack]] = {"linf_pgd": linf_pgd}
