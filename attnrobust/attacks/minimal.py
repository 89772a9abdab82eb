"""Gradient attacks that look for the smallest perturbation: Foolbox's DeepFool and DDN.

Foolbox's loops run as they are, on a model that is compiled in both directions and remembers the
nearest adversarial it was ever shown. So nothing found is lost, whatever a loop returns at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
import tensorflow as tf

from attnrobust import config, keyed
from attnrobust.attacks import border, engine, losses
from attnrobust.attacks.row import Attack
from attnrobust.models.replicas import Replicas
from attnrobust.task import graph
from attnrobust.training import ball

Compiled = Callable[..., Any]
# Of Foolbox's DDN: in 100 steps of 5 % its radius can fall from 1 to this.
DDN_REACH = 0.95**100


def deepfool_l2(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """Walks to the nearest face of the linearised model, in L2 (Moosavi-Dezfooli et al. 2016)."""
    del seed
    attack = foolbox.attacks.L2DeepFoolAttack(steps=setting.steps, candidates=None)
    return _minimal(replicas, attack, until_fallen=True)


def deepfool_linf(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """Walks to the nearest face of the linearised model, in L-inf (same paper)."""
    del seed
    attack = foolbox.attacks.LinfDeepFoolAttack(steps=setting.steps, candidates=None)
    return _minimal(replicas, attack, norm="linf", until_fallen=True)


def ddn(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """L2 by steps along the gradient at a radius that shrinks and grows (Rony et al. 2019).

    The radius changes by Foolbox's 5 % a step at 100 steps, and by as much more or less at fewer or
    more that the smallest radius within reach stays the same.

    Foolbox normalises the gradient of the cross-entropy, and takes a random direction where it is
    zero in float32, as it is on images classified with great confidence. Here it is that of the log
    odds against the label: the same direction, never vanishing with confidence.
    """
    attack = foolbox.attacks.DDNAttack(
        steps=setting.steps, gamma=1 - DDN_REACH ** (1 / setting.steps)
    )
    return _minimal(
        replicas, attack, gradient=_confident_gradient(replicas), starts=(setting.name, seed)
    )


def _confident_gradient(replicas: Replicas) -> Compiled:
    """Compiled (images, labels, spare (N, H, W, 3)) to DDN's gradient; `spare` where it is 0."""

    def step(images: tf.Tensor, labels: tf.Tensor, spare: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = replicas.model(images, training=False)
            loss = graph.of(logits).against(logits, labels)
        gradient = tape.gradient(loss, images, unconnected_gradients=losses.NONE_IS_ZERO)
        gradient = ball.unit(gradient, "l2")  # however short: Foolbox's guard is absolute
        lost = tf.reduce_all(gradient == 0, axis=(1, 2, 3), keepdims=True)
        return tf.where(lost, spare, gradient)

    return replicas.map(step)


def compiled_look(replicas: Replicas, norm: str) -> Compiled:
    """Compiled (images, originals, labels, best, distance) to (logits, best, distance).

    `best` (N, H, W, 3) and `distance` (N,) are replaced where an image is a nearer adversarial.
    """

    def look(
        images: tf.Tensor,
        originals: tf.Tensor,
        labels: tf.Tensor,
        best: tf.Tensor,
        distance: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Foolbox's loops leave the box by rounding.
        images = tf.clip_by_value(images, 0.0, 1.0)
        logits = replicas.model(images, training=False)
        change = tf.reshape(images - originals, (tf.shape(images)[0], -1))
        size = tf.norm(change, ord={"l2": 2, "linf": np.inf}[norm], axis=1)
        nearer = graph.of(logits).wrong(logits, labels) & (size < distance)
        return (
            logits,
            tf.where(nearer[:, None, None, None], images, best),
            tf.where(nearer, size, distance),
        )

    made: Compiled = replicas.once(("look", norm), lambda: replicas.map(look))
    return made


def compiled_pull(replicas: Replicas) -> Compiled:
    """Compiled (images, weights of the logits (N, K)) to the gradient of their weighted sum."""

    def pull(images: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = replicas.model(images, training=False)
        return tape.gradient(
            logits, images, output_gradients=weights, unconnected_gradients=losses.NONE_IS_ZERO
        )

    made: Compiled = replicas.once(("pull",), lambda: replicas.map(pull))
    return made


@dataclass(eq=False)
class Witness(foolbox.models.Model):
    """One batch's model for Foolbox: remembers the nearest adversarial, counts the passes.

    Attributes:
        look: From `compiled_look`.
        pull: (images, weights of the logits) to the gradient; None for attacks without gradients.
        images: The originals (N, H, W, 3).
        labels: (N,).
        until_fallen: Count an image's passes only until its first adversarial; for attacks that
            leave it alone from there on.
        best: Nearest adversarial so far (N, H, W, 3), the original where none.
        distance: Its distance (N,), infinite where none; 0 where the original is wrong already.
        queries: Forward and gradient passes so far (N,).
    """

    look: Compiled
    pull: Compiled | None
    images: tf.Tensor
    labels: tf.Tensor
    until_fallen: bool = False

    def __post_init__(self) -> None:
        self.best = self.images
        self.distance = tf.fill([len(self.images)], np.float32(np.inf))
        self.queries = np.zeros(len(self.images), int)
        self._logits(self.images)

    @property
    def bounds(self) -> foolbox.types.Bounds:
        """The box of images."""
        return foolbox.types.Bounds(*engine.BOUNDS)

    def __call__(self, inputs: Any) -> Any:
        """Logits (N, K) of images; may be differentiated by them."""
        images, restore = ep.astensor_(inputs)
        return restore(ep.astensor(self._differentiable(images.raw)))

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        self._count()
        logits, self.best, self.distance = self.look(
            images, self.images, self.labels, self.best, self.distance
        )
        return logits

    def _differentiable(self, images: tf.Tensor) -> tf.Tensor:
        # Left to itself, TensorFlow would also compute the gradients of all weights.
        @tf.custom_gradient
        def logits(images: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
            def gradient(
                weights: tf.Tensor, variables: Sequence[tf.Variable] = ()
            ) -> tuple[tf.Tensor, list[None]]:
                assert self.pull is not None
                self._count()
                return self.pull(images, weights), [None] * len(variables)

            return self._logits(images), gradient

        return logits(images)

    def _count(self) -> None:
        self.queries += np.isinf(self.distance) if self.until_fallen else 1


def _minimal(
    replicas: Replicas,
    attack: foolbox.attacks.base.MinimizationAttack,
    *,
    norm: str = "l2",
    gradient: Compiled | None = None,
    starts: tuple[str, int] = ("", 0),
    until_fallen: bool = False,
) -> Attack:
    """The attack of the table around one of Foolbox's; `gradient` replaces the logits' own.

    It takes a random direction, too, by the name and seed in `starts`.
    """
    look, pull = compiled_look(replicas, norm), compiled_pull(replicas)

    def run(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[tf.Tensor, np.ndarray]:
        mine = pull
        if gradient is not None:
            spare = keyed.random_starts(
                ids,
                images.shape[1:],
                attack=starts[0],
                seed=starts[1],
                epsilon=epsilon,
                restart=restart,
            )
            mine = lambda points, _: gradient(points, labels, spare)  # noqa: E731
        witness = Witness(look, mine, images, labels, until_fallen)
        attack(witness, images, labels, epsilons=None)
        found, queries = border.drawn_in(replicas, images, witness.best, labels)
        return found, witness.queries + queries

    return run
