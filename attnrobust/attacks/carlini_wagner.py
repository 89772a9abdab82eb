"""The attack of Carlini and Wagner in L2 (2017, 'Towards evaluating the robustness of neural
networks'): Adam on distance plus a margin, whose weight is searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.attacks import border, losses, packing
from attnrobust.attacks.row import Attack
from attnrobust.models.replicas import Replicas

# As published: the step of Adam, the weights tried and the first of them.
RATE, WEIGHTS, FIRST = 0.01, 9, 1e-3
# Of the loss a tenth of the steps before: above it there has been no progress.
PROGRESS = 0.9999
# Pixels at the edge of the box are finite in the space of the search.
INSIDE = 0.999999
DECAYS = (0.9, 0.999)

Step = Callable[..., "tuple[tf.Tensor, ...]"]


def cw(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """Each weight of the margin gets `attack.steps` steps of Adam of 0.01, in tanh space.

    As published (and in Foolbox, whose numbers these are), a weight is given up where its loss has
    not fallen over a tenth of the steps; but not over the first tenth, where near images would lose
    theirs to the overshoot. Foolbox asks that of the whole batch; here each image is asked alone,
    so that its result does not depend on its neighbours. The nearest adversarial of all iterates is
    drawn in to the border, since Adam's steps can be coarse for its distance.
    """
    del seed
    step = replicas.once(("cw",), lambda: replicas.map(_step(replicas)))

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        del epsilon, restart
        outcome = packing.Outcome(replicas, images, labels, ids)
        number = len(ids)
        nearest = np.full(number, np.inf, np.float32)
        weight, low, high = np.full(number, FIRST), np.zeros(number), np.full(number, np.inf)
        for _ in range(WEIGHTS):
            found = _descend(step, outcome, weight, nearest, setting.steps)
            low, high = np.where(found, low, weight), np.where(found, weight, high)
            weight = np.where(np.isinf(high), 10 * weight, (low + high) / 2)
        made, passes = border.drawn_in(
            replicas, outcome.images, tf.constant(outcome.adversarials), tf.constant(outcome.labels)
        )
        outcome.adversarials = made.numpy()
        outcome.queries += passes
        return outcome.result()

    return attack


def _descend(
    step: Step, outcome: packing.Outcome, weight: np.ndarray, nearest: np.ndarray, steps: int
) -> np.ndarray:
    """Adam at one weight (N,) an image: where it found an adversarial (N,).

    Keeps in the outcome what is nearer than `nearest` (N,), which is brought up to date.
    """
    found = np.zeros(len(weight), bool)
    if not len(outcome.standing):
        return found
    zeros = tf.zeros_like(outcome.images)
    pack = outcome.packed(
        weight=weight.astype(np.float32),
        shift=zeros,
        mean=zeros,
        square=zeros,
        loss=np.full(len(weight), np.inf, np.float32),
    )
    for turn in range(steps):
        rows = pack.rows
        names = ("origin", "label", "weight", "shift", "mean", "square")
        points, rows["shift"], rows["mean"], rows["square"], *judged = step(
            *(rows[name] for name in names), tf.constant(turn + 1, tf.float32)
        )
        loss, wrong, distance = (part.numpy() for part in judged)
        outcome.queries[pack.where[pack.live]] += 2
        wrong &= pack.live
        found[pack.where[wrong]] = True
        nearer = wrong & (distance < nearest[pack.where])
        nearest[pack.where[nearer]] = distance[nearer]
        outcome.store(pack, nearer, points)
        # Not against the start, at no distance: steps of the same length overshoot at first.
        if turn and turn % -(-steps // 10) == 0:
            pack.live &= loss <= PROGRESS * rows["loss"]
            rows["loss"] = loss
            if not pack.live.any():
                break
            pack = pack.shrunk()
    return found


def _step(replicas: Replicas) -> Step:
    """A step of Adam on rows of tensors, to be compiled.

    Gives the points looked at, the shift to go on from, Adam's two means, and of the points their
    loss, whether they are wrong and their L2 distance.
    """

    def step(  # noqa: PLR0917  (a compiled function takes tensors by position)
        origin: tf.Tensor,
        label: tf.Tensor,
        weight: tf.Tensor,
        shift: tf.Tensor,
        mean: tf.Tensor,
        square: tf.Tensor,
        turn: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        start = tf.atanh(INSIDE * (2 * origin - 1))
        base = (tf.tanh(start) + 1) / 2
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(shift)
            points = (tf.tanh(start + shift) + 1) / 2
            logits = replicas.model(points, training=False)
            at = border.seen(logits, label)
            loss = tf.reduce_sum((points - base) ** 2, axis=(1, 2, 3))
            loss += weight * tf.maximum(-at.lead, 0)
        slope = tape.gradient(loss, shift, unconnected_gradients=losses.NONE_IS_ZERO)
        mean = DECAYS[0] * mean + (1 - DECAYS[0]) * slope
        square = DECAYS[1] * square + (1 - DECAYS[1]) * slope**2
        size = tf.sqrt(square / (1 - DECAYS[1] ** turn)) + 1e-8
        moved = shift - RATE * mean / (1 - DECAYS[0] ** turn) / size
        distance = tf.norm(tf.reshape(points - origin, (tf.shape(origin)[0], -1)), axis=1)
        return points, moved, mean, square, loss, at.wrong, distance

    return step
