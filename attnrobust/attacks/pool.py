"""The pool: a batch of images, each with its own step count, filled up when one is done.

An image leaves as soon as it has fallen, at whatever iterate, and a waiting one takes its place;
the batch shrinks when none waits. So no gradient is spent on an image that has fallen. An image
that never falls makes the same steps as in Foolbox's loop and leaves with its last iterate; or with
the one that was wrong by most, where some were, but none by the slack of `border`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from attnrobust import keyed
from attnrobust.attacks import border, engine, losses
from attnrobust.attacks.border import SLACK
from attnrobust.attacks.packing import fitting
from attnrobust.models.replicas import Replicas
from attnrobust.training import ball


class Item(NamedTuple):
    """An image that waits: its position, pixels (H, W, 3), label and id."""

    position: int
    image: np.ndarray
    label: int | np.ndarray
    id: str


class Done(NamedTuple):
    """An image that has left: its item, the iterate (H, W, 3), gradient passes, whether it fell."""

    item: Item
    adversarial: np.ndarray
    passes: int
    fell: bool


class Pool:
    """One compiled step of projected gradient ascent for slots that know nothing of each other.

    Args:
        replicas: The model.
        norm: `linf` or `l2`: of the ball, and of the step's length.
        loss: Row of LOSSES.
        target: Class to reach; None: any but the label.
        momentum: Decay of the sum of gradients, each divided by its L1 norm; None without one.

    Raises:
        UserError: Too few classes for the loss.
    """

    def __init__(
        self,
        replicas: Replicas,
        *,
        norm: str = "linf",
        loss: str = "cross_entropy",
        target: int | None = None,
        momentum: float | None = None,
    ) -> None:
        self.model = replicas.model
        self.norm = norm
        self.loss = losses.of(loss, classes=replicas.model.output_shape[-1], target=target)
        self.target = target
        self.momentum = momentum
        self.count = replicas.count
        self.step = replicas.map(self._step)

    def _step(  # noqa: PLR0917  (a compiled function takes tensors by position)
        self,
        x: tf.Tensor,
        x0: tf.Tensor,
        labels: tf.Tensor,
        held: tf.Tensor,
        ahead: tf.Tensor,
        epsilon: tf.Tensor,
        stepsize: tf.Tensor,
        slack: tf.Tensor,
        *sums: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        """One step.

        Gives the next iterates (the same where fallen), whether each of `x` has fallen, the iterate
        that has been wrong by most, by how much (0: none has been), and the momentum sums.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = self.model(x, training=False)
            value = self.loss(logits, labels, self.target)
        gradient = tape.gradient(value, x, unconnected_gradients=losses.NONE_IS_ZERO)
        lead = losses.margin(logits, labels, self.target)
        fallen = border.beyond(lead, logits, slack)
        lead = tf.cast(lead, ahead.dtype)
        held = tf.where((lead > ahead)[:, None, None, None], x, held)
        ahead = tf.where(lead > ahead, lead, ahead)  # not their maximum: a NaN is no lead
        if self.momentum is not None:
            gradient = self.momentum * sums[0] + ball.unit(gradient, "l1")
            sums = (gradient,)
        moved = x + stepsize * ball.steepest(gradient, self.norm)
        moved = ball.project(moved, x0, epsilon, self.norm)
        return tf.where(fallen[:, None, None, None], x, moved), fallen, held, ahead, *sums

    def run(
        self,
        items: Iterable[Item],
        size: int,
        *,
        start: Callable[[Sequence[Item]], np.ndarray],
        epsilon: float,
        stepsize: float,
        steps: int,
        slack: float,
    ) -> Iterator[Done]:
        """Attack all items, at most `size` of them at a time; they leave in any order.

        Args:
            items: Read as places become free.
            size: Of the batch, a multiple of the number of replicas.
            start: Items to the images (n, H, W, 3) in [0, 1] that they set out from.
            epsilon: Radius.
            stepsize: In units of the norm.
            steps: At most so many.
            slack: How far beyond the boundary an image leaves, as a share of its largest logit.
        """
        waiting = iter(items)
        inside: list[Item] = []
        passes = np.zeros(0, int)
        rows: list[np.ndarray | tf.Tensor] = []
        numbers: list[tf.Tensor] = []
        while True:
            fresh = list(itertools.islice(waiting, size - len(inside)))
            if fresh:
                rows = self._joined(rows, len(inside), fresh, start(fresh))
                inside, passes = inside + fresh, np.append(passes, np.zeros(len(fresh), int))
                kind = rows[0].dtype
                numbers = [tf.constant(value, kind) for value in (epsilon, stepsize, slack)]
            if not inside:
                return
            batch = [self._filled(row, len(inside), size) for row in rows]
            moved, fallen, held, ahead, *sums = self.step(*batch[:5], *numbers, *batch[5:])
            passes += 1
            fell, narrow = fallen.numpy()[: len(inside)], ahead.numpy()[: len(inside)] > 0
            # A pass more for what was wrong by little: so its last iterate is seen as well.
            out = fell | (passes >= steps + narrow)
            if not out.any():
                rows = [moved, *batch[1:3], held, ahead, *sums]
                continue
            done = np.flatnonzero(out)
            best = tf.where((narrow & ~fell)[done, None, None, None], *_gathered(done, held, moved))
            for place, image in zip(done, best.numpy(), strict=True):
                yield Done(inside[place], image, int(passes[place]), bool(fell[place]))
            stay = np.flatnonzero(~out)
            inside, passes = [inside[place] for place in stay], passes[stay]
            rows = _gathered(stay, moved, *batch[1:3], held, ahead, *sums)

    def _joined(
        self,
        rows: Sequence[np.ndarray | tf.Tensor],
        number: int,
        fresh: Sequence[Item],
        begin: np.ndarray,
    ) -> list[np.ndarray | tf.Tensor]:
        """The first `number` rows, and then the fresh images'.

        These are x, x0, labels, the iterate that was wrong by most and by how much, momentum sums.
        """
        added = [
            begin,
            np.stack([item.image for item in fresh]),
            np.array([item.label for item in fresh]),
            begin,
            np.zeros(len(fresh), begin.dtype),
        ]
        if self.momentum is not None:
            added.append(np.zeros_like(begin))
        if not rows:
            return list(added)
        # Those of a batch that was filled up hold copies behind the `number` images.
        return [tf.concat([row[:number], new], 0) for row, new in zip(rows, added, strict=True)]

    def _filled(self, row: np.ndarray | tf.Tensor, number: int, size: int) -> Any:
        """The first `number` rows and copies of the first, in one of few batch sizes."""
        fit = fitting(number, size, self.count)
        if len(row) == fit:
            return row
        return tf.concat([row[:number], tf.repeat(row[:1], fit - number, axis=0)], axis=0)


def _gathered(places: np.ndarray, *rows: np.ndarray | tf.Tensor) -> list[np.ndarray | tf.Tensor]:
    return [tf.gather(row, places) for row in rows]


class Pooled:
    """An attack of the PGD family run by a pool: an `Attack` that can also take a stream.

    Args:
        pool: Its compiled step.
        name: What is said of its progress.
        attack: Whose random starts it takes; None: those of `name`.
        steps: Gradient steps.
        stepsize: Epsilon to the step's length.
        seed: Of the random starts; None starts at the image.
        slack: How far beyond the boundary an image leaves (see `Pool.run`).
        first: Cheaper attacks; only what survives them need meet this one.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        name: str,
        steps: int,
        stepsize: Callable[[float], float],
        seed: int | None,
        attack: str | None = None,
        slack: float = SLACK["float32"],
        first: Sequence[Pooled] = (),
    ) -> None:
        self.pool = pool
        self.name = name
        self.attack = name if attack is None else attack
        self.steps = steps
        self.stepsize = stepsize
        self.seed = seed
        self.slack = slack
        self.first = tuple(first)

    def stream(
        self, items: Iterable[Item], size: int, epsilon: float, restart: int
    ) -> Iterator[Done]:
        """Attack all items, `size` at a time; they leave in any order."""

        def start(fresh: Sequence[Item]) -> np.ndarray:
            images = np.stack([item.image for item in fresh])
            if self.seed is None:
                return images
            drawn = keyed.random_starts(
                [item.id for item in fresh],
                images.shape[1:],
                attack=self.attack,
                seed=self.seed,
                epsilon=epsilon,
                restart=restart,
                norm=self.pool.norm,
            )
            return np.clip(images + epsilon * drawn.astype(images.dtype), *engine.BOUNDS)

        return self.pool.run(
            items,
            size,
            start=start,
            epsilon=epsilon,
            stepsize=self.stepsize(epsilon),
            steps=self.steps,
            slack=self.slack,
        )

    def __call__(
        self, images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Adversarials in the images' order, and passes: gradients and the judge's forward."""
        rows = zip(np.asarray(images), np.asarray(labels), ids, strict=True)
        items = [Item(position, *row) for position, row in enumerate(rows)]
        found = sorted(
            self.stream(items, len(items), epsilon, restart), key=lambda d: d.item.position
        )
        adversarials = np.stack([done.adversarial for done in found])
        return adversarials, np.array([done.passes + 1 for done in found])
