"""Square attack, L-inf (Andriushchenko et al. 2020, 'Square Attack: a query-efficient black-box
adversarial attack via random search'): forward passes alone, no gradient that could be masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from attnrobust import config, keyed
from attnrobust.attacks import border, packing
from attnrobust.models.replicas import Replicas

FIRST_SHARE = 0.8
# Of 10,000 queries: after each of these, the share of pixels in the window is halved.
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
DRAWN_AT_ONCE = 100


def square(replicas: Replicas, setting: config.Attack, seed: int) -> packing.Stopping:
    """Random search: change a random square window by ±epsilon a channel, keep what lowers the
    label's margin; starts from vertical stripes.

    An image is done as soon as it falls, by the slack of `border`; without `attack.early_stop` all
    spend every query. Either way the point of smallest margin is given back.

    Args:
        replicas: The model.
        setting: `queries`: at most so many forward passes an image (5000 in the paper), the one on
            the unperturbed image not counted; the schedule of window sizes is stretched to it.
        seed: Of the windows and their signs.
    """
    full = not setting.early_stop
    step = replicas.once(("square",), lambda: replicas.map(_proposal(replicas)))

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        outcome = packing.Outcome(replicas, images, labels, ids, full=full)
        if not len(outcome.standing):
            return outcome.result()
        streams = [
            keyed.generator(f"{setting.name} square", seed, id_, epsilon, restart) for id_ in ids
        ]
        height, width = outcome.images.shape[1:3]
        stripes = np.stack([_signs(stream.random((1, width, 3))) for stream in streams])
        pack = outcome.packed(
            best=outcome.images + epsilon * stripes,
            margin=np.full(len(ids), np.inf, np.float32),
        )
        for query in range(setting.queries):
            turn = query % DRAWN_AT_ONCE
            if not turn:
                pack.rows["draws"] = _draws(streams, pack)
            # The first query judges the stripes: a window of no pixel.
            side = window(query, setting.queries, height, width) if query else 0
            _query(pack, outcome, step, turn=turn, side=side, epsilon=epsilon)
            if not pack.live.any():
                return outcome.result()
            pack = pack.shrunk()
        return outcome.result()

    return packing.Stopping(attack, 1 + setting.queries)


def window(query: int, queries: int, height: int, width: int) -> int:
    """Side of the window at a query (from 0), in pixels, at least 1."""
    halvings = sum(query / queries * 10000 > after for after in HALVED_AFTER)
    side = round(np.sqrt(FIRST_SHARE / 2**halvings * height * width))
    return int(min(max(side, 1), height, width))


def _query(
    pack: packing.Packed,
    outcome: packing.Outcome,
    step: Callable[..., tuple[tf.Tensor, ...]],
    *,
    turn: int,
    side: int,
    epsilon: float,
) -> None:
    """One forward pass for each live image, judged."""
    rows = pack.rows
    best, margin, seen = step(
        rows["origin"],
        rows["label"],
        rows["best"],
        rows["margin"],
        rows["draws"][:, turn],
        tf.constant(side),
        tf.constant(epsilon, tf.float32),
    )
    rows.update(best=best, margin=margin)
    outcome.judge(pack, best, seen.numpy())


def _proposal(replicas: Replicas) -> Callable[..., tuple[tf.Tensor, ...]]:
    """One query on rows of tensors, to be compiled: best point, its margin, what was seen of it.

    `draw` (n, 5) holds uniform numbers of [0, 1): row and column of the window, signs of R, G, B.
    """

    def step(  # noqa: PLR0917  (a compiled function takes tensors by position)
        origin: tf.Tensor,
        label: tf.Tensor,
        best: tf.Tensor,
        margin: tf.Tensor,
        draw: tf.Tensor,
        side: tf.Tensor,
        epsilon: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        inside = [
            _covered(draw[:, axis], side, length) for axis, length in enumerate(best.shape[1:3])
        ]
        mask = tf.cast(inside[0][:, :, None] & inside[1][:, None, :], tf.float32)[..., None]
        change = 2 * epsilon * mask * tf.where(draw[:, 2:] < 0.5, -1.0, 1.0)[:, None, None, :]
        tried = tf.clip_by_value(best + change, origin - epsilon, origin + epsilon)
        tried = tf.clip_by_value(tried, 0, 1)
        logits = replicas.model(tried, training=False)
        at = border.seen(logits, label)
        # Of two points at the border itself, one may be wrong.
        better = (-at.lead < margin) | (at.wrong & (-at.lead == margin))
        margin = tf.where(better, -at.lead, margin)
        # What was best before has been judged before.
        at = border.Seen(better & at.wrong, -margin, better & at.clear)
        return tf.where(better[:, None, None, None], tried, best), margin, at

    return step


def _covered(draw: tf.Tensor, side: tf.Tensor, length: int) -> tf.Tensor:
    """Which of `length` pixels lie in a span of `side` drawn by `draw` (n,): (n, length)."""
    first = tf.cast(draw * tf.cast(length - side + 1, tf.float32), tf.int32)[:, None]
    pixels = tf.range(length)[None]
    return (pixels >= first) & (pixels < first + side)


def _draws(streams: Sequence[np.random.Generator], pack: packing.Packed) -> np.ndarray:
    """The next uniform numbers of each live image (size, DRAWN_AT_ONCE, 5)."""
    draws = np.zeros((len(pack.live), DRAWN_AT_ONCE, 5), np.float32)
    for row in np.flatnonzero(pack.live):
        draws[row] = streams[pack.where[row]].random((DRAWN_AT_ONCE, 5), dtype=np.float32)
    return draws


def _signs(draws: np.ndarray) -> np.ndarray:
    return np.where(draws < 0.5, -1, 1).astype(np.float32)
