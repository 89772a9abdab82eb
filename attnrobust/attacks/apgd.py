"""Auto-PGD (Croce and Hein 2020, 'Reliable evaluation of adversarial robustness with an ensemble
of diverse parameter-free attacks'): gradient ascent that sets its own step size."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from attnrobust import config, keyed
from attnrobust.attacks import border, losses, packing
from attnrobust.models.replicas import Replicas
from attnrobust.task import graph
from attnrobust.training import ball

log = logging.getLogger("attnrobust")

MOMENTUM = 0.75
Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def apgd_ce(
    replicas: Replicas, setting: config.Attack, seed: int, norm: str = "linf"
) -> packing.Stopping:
    """APGD on the cross-entropy: `attack.steps` iterations (100 in the paper).

    Ascended are the log odds against the label, which rise where the cross-entropy does, so that
    the schedule, which only compares values, is the paper's; but they do not round to 0 on
    confident models, where neither value nor gradient of the cross-entropy changes any more.

    Each starts at a random point of the ball's surface, as in its authors' code, or at the image
    without `attack.random_start`. An image is done as soon as it falls, by the slack of `border`;
    without `attack.early_stop` all make every step. Either way the point of largest margin is given
    back.

    Args:
        replicas: The model.
        setting: `steps`, `random_start`, `early_stop`; step sizes are the attack's own.
        seed: Of the random starts.
        norm: Of the ball: `linf` or `l2`.
    """
    climb = _Climb(replicas, against_label, setting, seed, norm)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        outcome = packing.Outcome(replicas, images, labels, ids, full=not setting.early_stop)
        climb(outcome, outcome.labels, ids, epsilon, restart)
        return outcome.result()

    return packing.Stopping(attack, 1 + climb.whole)


def apgd_t(
    replicas: Replicas, setting: config.Attack, seed: int, norm: str = "linf"
) -> packing.Stopping:
    """APGD toward each of the other classes, at most 9, by descending logit.

    The loss is the targeted difference of logits ratio. That needs four classes (published
    AutoAttack fails below), so with two or three it is the difference of the two logits: the same
    without the denominator, which only makes it blind to the scale of the logits, and the sign of
    a gradient is so anyway. `attack.steps` iterations for each class; the rest as in `apgd_ce`.
    """
    if replicas.model.output_shape[-1] < 4:
        log.info(
            "targeted DLR needs 4 classes; with %d, the margin toward each other class",
            replicas.model.output_shape[-1],
        )
    climb = _Climb(replicas, losses.targeted_dlr, setting, seed, norm)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        outcome = packing.Outcome(replicas, images, labels, ids, full=not setting.early_stop)
        for turn, target in enumerate(packing.targets(outcome.logits, outcome.labels).T):
            climb(outcome, target, [f"{id_}|target {turn}" for id_ in ids], epsilon, restart)
        return outcome.result()

    return packing.Stopping(attack, 1 + packing.aims(replicas.model.output_shape[-1]) * climb.whole)


def against_label(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Log odds against the labels (N,)."""
    del targets
    return graph.of(logits).against(logits, labels)


def checkpoints(steps: int) -> list[int]:
    """Iterations after which the step size is judged, the last one at most `steps`.

    The first window is 22 % of the steps, each later one 3 % shorter, none below 6 %; in whole
    iterations, as in its authors' code (at 100 steps the paper's formula gives the same).
    """
    window, shorter, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    found = []
    at = window
    while at <= steps:
        found.append(at)
        window = max(window - shorter, least)
        at += window
    return found


class _Climb:
    """One run of APGD on what stands of a batch, its iteration compiled."""

    def __init__(
        self, replicas: Replicas, loss: Loss, setting: config.Attack, seed: int, norm: str
    ) -> None:
        self.name = f"{setting.name} {loss.__name__}"
        self.step = replicas.once(
            ("apgd", loss.__name__, norm), lambda: replicas.map(iteration(replicas, loss, norm))
        )
        self.setting = setting
        self.seed = seed
        self.norm = norm
        self.whole = setting.steps + 1

    def __call__(
        self,
        outcome: packing.Outcome,
        targets: np.ndarray,
        ids: Sequence[str],
        epsilon: float,
        restart: int,
    ) -> None:
        """Ascend from a start, put the best of every image into the outcome."""
        if not len(outcome.standing):
            return
        x = self._start(outcome.images, ids, epsilon, restart)
        pack = outcome.packed(target=targets, **fresh(x))
        # A first step of size 0: loss and gradient of the start, to which nothing has risen.
        self._advance(pack, outcome, 1.0, epsilon)
        pack.rows["rises"] = np.zeros(len(pack.live), int)
        pack.rows["size"] = np.full(len(pack.live), 2 * epsilon, np.float32)
        before, judged = 0, checkpoints(self.setting.steps)
        for iteration in range(1, self.setting.steps + 1):
            pack = pack.shrunk()
            if not pack.live.any():
                return
            self._advance(pack, outcome, MOMENTUM if iteration > 1 else 1.0, epsilon)
            if iteration in judged:
                halve(pack.rows, iteration - before)
                before = iteration

    def _start(
        self, images: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tf.Tensor:
        """A random point of the ball's surface, put into the box, for each image."""
        if not self.setting.random_start:
            return images
        drawn = keyed.random_starts(
            ids,
            images.shape[1:],
            attack=self.name,
            seed=self.seed,
            epsilon=epsilon,
            restart=restart,
            norm=self.norm,
        )
        surface = ball.unit(tf.constant(drawn), self.norm)
        return ball.project(images + epsilon * surface, images, epsilon, self.norm)

    def _advance(
        self, pack: packing.Packed, outcome: packing.Outcome, share: float, epsilon: float
    ) -> None:
        """One iteration, judged."""
        rows = pack.rows
        names = (
            "origin",
            "label",
            "target",
            "x",
            "before",
            "slope",
            "best",
            "best_slope",
            "best_loss",
            "size",
        )
        scalars = (tf.constant(share, tf.float32), tf.constant(epsilon, tf.float32))
        seen = take(rows, self.step(*(rows[name] for name in names), *scalars))
        outcome.judge(pack, rows["x"], seen.numpy())


def fresh(x: tf.Tensor) -> packing.Rows:
    """The rows of an ascent that sets out from `x` (N, H, W, 3)."""
    zeros, number = tf.zeros_like(x), len(x)
    return {
        "x": x,
        "before": x,
        "slope": zeros,
        "best": x,
        "best_slope": zeros,
        "loss": np.full(number, -np.inf, np.float32),
        "best_loss": np.full(number, -np.inf, np.float32),
        "size": np.zeros(number, np.float32),
        "rises": np.zeros(number, int),
        "halved": np.ones(number, bool),
        "best_then": np.full(number, -np.inf, np.float32),
    }


def take(rows: packing.Rows, given: tuple[Any, ...]) -> Any:
    """Put into the rows what an iteration has given; what the model sees is handed back."""
    moved, slope, loss, best, best_slope, best_loss, seen = given
    rows.update(
        before=rows["x"],
        x=moved,
        slope=slope,
        best=best,
        best_slope=best_slope,
        best_loss=best_loss.numpy(),
    )
    rows["rises"] = rows["rises"] + (loss.numpy() > rows["loss"])
    rows["loss"] = loss.numpy()
    return seen


def halve(rows: packing.Rows, window: int) -> None:
    """Halve the step size where the loss rose too seldom in this window, or no longer at all.

    Those images go on from their best point.
    """
    seldom = rows["rises"] <= 0.75 * window
    stuck = ~rows["halved"] & (rows["best_then"] >= rows["best_loss"])
    halve = seldom | stuck
    rows["halved"], rows["best_then"] = halve, rows["best_loss"]
    rows["rises"] = np.zeros_like(rows["rises"])
    rows["size"] = np.where(halve, rows["size"] / 2, rows["size"]).astype(np.float32)
    back = halve[:, None, None, None]
    rows["x"] = tf.where(back, rows["best"], rows["x"])
    rows["slope"] = tf.where(back, rows["best_slope"], rows["slope"])


def iteration(
    replicas: Replicas,
    loss: Loss,
    norm: str,
    *,
    seen: Callable[[tf.Tensor, tf.Tensor], Any] = border.seen,
    tracked: Loss | None = None,
) -> Callable[..., tuple[Any, ...]]:
    """An iteration of APGD on rows of tensors, to be compiled; the argument names are the rows'.

    Args:
        replicas: The model.
        loss: What is ascended.
        norm: Of the ball.
        tracked: What the best point and the step size are judged by; the loss itself if None.
        seen: Logits and labels to what the attack asks of the iterates, given back last.
    """

    def step(  # noqa: PLR0917  (a compiled function takes tensors by position)
        origin: tf.Tensor,
        label: tf.Tensor,
        target: tf.Tensor,
        x: tf.Tensor,
        before: tf.Tensor,
        slope: tf.Tensor,
        best: tf.Tensor,
        best_slope: tf.Tensor,
        best_loss: tf.Tensor,
        size: tf.Tensor,
        share: tf.Tensor,
        epsilon: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        way = ball.steepest(slope, norm)
        ahead = ball.project(x + size[:, None, None, None] * way, origin, epsilon, norm)
        moved = x + share * (ahead - x) + (1 - share) * (x - before)
        moved = ball.project(moved, origin, epsilon, norm)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(moved)
            logits = replicas.model(moved, training=False)
            value = loss(logits, label, target)
        told = value if tracked is None else tracked(logits, label, target)
        new_slope = tape.gradient(value, moved, unconnected_gradients=losses.NONE_IS_ZERO)
        better = told > best_loss
        where = better[:, None, None, None]
        return (
            moved,
            new_slope,
            told,
            tf.where(where, moved, best),
            tf.where(where, new_slope, best_slope),
            tf.where(better, told, best_loss),
            seen(logits, label),
        )

    return step
