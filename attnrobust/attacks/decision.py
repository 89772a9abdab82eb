"""Attacks that see only the predicted class: Foolbox's Boundary and HopSkipJump attacks, in L2.

Both start at an adversarial far away and walk towards the image. Where no start is found the image
itself is the result.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
import tensorflow as tf

from attnrobust import config, keyed, task
from attnrobust.attacks.border import HALVINGS, drawn_in
from attnrobust.attacks.minimal import Witness, compiled_look
from attnrobust.attacks.row import Attack
from attnrobust.models.replicas import Replicas

# Passes outside the walk: the image itself, the start and the result drawn in, and the start shown.
AROUND = 2 * (HALVINGS + 3) + 2
# Distance from the boundary at which HopSkipJump asks, as a share of that from the image.
PROBE = 0.01


class _Spent(Exception):
    """The queries are used up; the witness holds what was found."""


def boundary(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """Random walk along the boundary towards the image (Brendel et al. 2018).

    At most `setting.queries` passes, but for some 30 that even the smallest budget spends. The
    whole batch walks together. Foolbox draws one direction a step for all its images, from
    TensorFlow's global generator, which is seeded here from (seed, restart): the directions do not
    depend on the batch.
    """
    look = compiled_look(replicas, "l2")
    draws = _draws(setting)
    starts = functools.partial(_starts, replicas, attack=setting.name, seed=seed, draws=draws)
    # A tenth of the steps ask twice.
    steps = max((setting.queries - draws - AROUND) * 10 // 11, 1)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[tf.Tensor, np.ndarray]:
        start, has, queries = starts(images, labels, ids, restart=restart)
        if not has.any():
            return images, queries
        # Foolbox refuses a batch with an image that has no start: another one takes its place.
        rows = np.where(has, np.arange(len(has)), has.argmax())
        images_, labels_, start = (tf.gather(array, rows) for array in (images, labels, start))
        witness = Witness(look, None, images_, labels_)
        tf.random.set_seed(keyed.seed_of(seed, restart, factor=1_000_003) % 2**31)
        walk = foolbox.attacks.BoundaryAttack(steps=steps)
        walk.run(witness, images_, labels_, starting_points=start)
        found = tf.where(has[:, None, None, None], witness.best, images)
        found, last = drawn_in(replicas, images, found, labels)
        return found, queries + has * (witness.queries + last)

    return attack


def hopskipjump(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """Steps along a gradient estimated from decisions at the boundary (Chen et al. 2020).

    At most `setting.queries` passes, as above. One image at a time, since Foolbox's estimate is
    scaled by the whole batch; what an estimate asks is asked in batches. Foolbox's estimate is
    replaced by the same one drawn from the image's own generator. It asks at a hundredth of the
    distance from the image, as ART does: the paper's distance / (values of the image) is lost in
    float32 at the size of photographs.
    """
    look = compiled_look(replicas, "l2")
    draws = _draws(setting)
    starts = functools.partial(_starts, replicas, attack=setting.name, seed=seed, draws=draws)
    # Two passes show the image and its start to the witness.
    limit = setting.queries - draws - 2 * (HALVINGS + 3)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[tf.Tensor, np.ndarray]:
        start, has, queries = starts(images, labels, ids, restart=restart)
        seeds = keyed.random_starts(
            ids, (8,), attack=setting.name, seed=seed, epsilon=epsilon, restart=restart
        )
        done: dict[str, tuple[tf.Tensor, int]] = {}  # a batch is padded with copies
        for row in np.flatnonzero(has):
            if ids[row] not in done:
                # As many copies as there are replicas.
                image, label, begin = (
                    tf.repeat(array[row : row + 1], replicas.count, axis=0)
                    for array in (images, labels, start)
                )
                witness = _Limited(look, None, image, label, limit=max(limit, 2))
                _hop(replicas, witness, begin, len(images), seeds[row])
                done[ids[row]] = witness.best[0], int(witness.queries[0])
        none = [(image, 0) for image in images]
        results = [done.get(id_, other) for id_, other in zip(ids, none, strict=True)]
        found, last = drawn_in(replicas, images, tf.stack([image for image, _ in results]), labels)
        return found, queries + [spent + last * (spent > 0) for _, spent in results]

    return attack


def _hop(
    replicas: Replicas, witness: _Limited, start: tf.Tensor, chunk: int, seed: np.ndarray
) -> None:
    """One image's HopSkipJump; the witness is left with what was found."""
    jump = _HopSkipJump(
        replicas,
        witness,
        chunk,
        np.random.default_rng(seed.view(np.uint32)),
        steps=witness.limit,
        gamma=PROBE * int(np.prod(start.shape[1:])),
    )
    try:
        jump.run(witness, witness.images, witness.labels, starting_points=start)
    except (_Spent, AssertionError):
        # Foolbox asserts that what was adversarial is so when asked again; at the boundary rounding
        # may decide otherwise. What was found until then stands.
        return


class _HopSkipJump(foolbox.attacks.HopSkipJumpAttack):
    """Foolbox's, with its gradient estimated in batches of `chunk` from the generator given."""

    def __init__(
        self,
        replicas: Replicas,
        witness: _Limited,
        chunk: int,
        generator: np.random.Generator,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.replicas = replicas
        self.witness = witness
        self.chunk = chunk
        self.generator = generator

    def approximate_gradients(
        self, is_adversarial: Any, x_advs: ep.Tensor, steps: int, delta: ep.Tensor
    ) -> ep.Tensor:
        """Unit direction in which more of `steps` points around the adversarial are adversarial."""
        del is_adversarial
        image, label = x_advs.raw[0].numpy(), self.witness.labels[0].numpy()
        size = float(delta.raw[0])
        total, signed = np.zeros_like(image), np.zeros_like(image)
        balance = 0
        for first in range(0, steps, self.chunk):
            number = min(self.chunk, steps - first)
            self.witness.spend(number)
            noise = self.generator.standard_normal((number, *image.shape), dtype=np.float32)
            noise /= np.linalg.norm(noise.reshape(number, -1), axis=1)[:, None, None, None] + 1e-12
            points = np.clip(image + size * noise, 0, 1)
            logits = self.replicas.forward(self.replicas.padded(points, self.chunk)).numpy()
            sign = np.where(task.right(logits[:number], label), -1, 1)
            moved = (points - image) / (size + 1e-8)
            total += moved.sum(axis=0)
            signed += np.tensordot(sign.astype(np.float32), moved, axes=1)
            balance += int(sign.sum())
        # Less the mean answer, for a smaller variance; unless all answers are alike.
        mean = balance / steps
        direction = signed if abs(mean) == 1 else signed - np.float32(mean) * total
        direction /= float(np.linalg.norm(direction)) + 1e-12
        return ep.astensor(tf.repeat(direction[None], len(x_advs), axis=0))


@dataclass(eq=False, kw_only=True)
class _Limited(Witness):
    """A witness that ends the attack, by `_Spent`, before more than `limit` passes."""

    limit: int

    def spend(self, passes: int) -> None:
        """Count passes made elsewhere."""
        if self.queries[0] + passes > self.limit:
            raise _Spent
        self.queries += passes

    def _count(self) -> None:
        self.spend(1)


def _draws(setting: config.Attack) -> int:
    """Images tried as a start: a twentieth of the queries, as in Foolbox at 20 000."""
    return max(setting.queries // 20, 1)


def _starts(
    replicas: Replicas,
    images: tf.Tensor,
    labels: tf.Tensor,
    ids: Sequence[str],
    *,
    attack: str,
    seed: int,
    restart: int,
    draws: int,
) -> tuple[tf.Tensor, np.ndarray, np.ndarray]:
    """An adversarial near the boundary for each image, whether there is one, and the passes spent.

    Tried are images of uniform noise and, since a model may give all of those one class, images of
    one random colour, by turns; the first that is wrong is drawn towards the image.
    """
    found, has = images, np.zeros(len(images), bool)
    queries = np.zeros(len(images), int)
    for draw in range(draws):
        points = (
            keyed.random_starts(
                ids,
                images.shape[1:],
                attack=attack,
                seed=seed,
                epsilon=np.inf,
                restart=restart * draws + draw,
            )
            / 2
            + 0.5
        )
        if draw % 2:
            points = np.broadcast_to(points[:, :1, :1], points.shape)
        queries += ~has
        fell = ~task.right(replicas.forward(points).numpy(), np.asarray(labels))
        found = tf.where((fell & ~has)[:, None, None, None], points, found)
        has |= fell
        if has.all():
            break
    near, spent = drawn_in(replicas, images, found, labels)
    return near, has, queries + spent
