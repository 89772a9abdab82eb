"""Square attack, L2 (Andriushchenko et al. 2020, algorithm 3): forward passes, no gradient."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from attnrobust import config, keyed
from attnrobust.attacks import border, packing
from attnrobust.attacks.square import HALVED_AFTER
from attnrobust.models.replicas import Replicas

FIRST_SHARE = 0.1


def square_l2(replicas: Replicas, setting: config.Attack, seed: int) -> packing.Stopping:
    """Random search: move perturbation from one square window into another, keep what lowers the
    label's margin; starts from a grid of bumps.

    An image is done as soon as it falls, by the slack of `border`; without `attack.early_stop` all
    spend every query. Either way the point of smallest margin is given back.

    Args:
        replicas: The model.
        setting: `queries`: at most so many forward passes an image, the one on the unperturbed
            image not counted; the schedule of window sizes is stretched to it.
        seed: Of windows and signs.
    """

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        outcome = packing.Outcome(replicas, images, labels, ids, full=not setting.early_stop)
        origin = outcome.images.numpy()
        best, margin = origin.copy(), np.full(len(ids), np.inf)
        rngs = [keyed.generator(setting.name, seed, id_, epsilon, restart) for id_ in ids]
        for query in range(setting.queries):
            live = outcome.standing
            if not len(live):
                break
            side = window(query, setting.queries, *origin.shape[1:3])
            tried = np.stack(
                [
                    _moved(rngs[row], best[row] - origin[row], side, epsilon)
                    if query
                    else _grid(rngs[row], origin.shape[1:])
                    for row in live
                ]
            )
            tried = np.clip(origin[live] + _scaled(tried, epsilon), 0, 1).astype(np.float32)
            size = packing.fitting(len(live), len(ids), replicas.count)
            logits = replicas.forward(replicas.padded(tried, size))[: len(live)]
            seen = border.seen(logits, outcome.labels[live]).numpy()
            better = -seen.lead < margin[live]
            best[live[better]], margin[live[better]] = tried[better], -seen.lead[better]
            kept = outcome.keep(live, seen)
            outcome.adversarials[live[kept]] = tried[kept]
            outcome.queries[live] += 1
        return outcome.result()

    return packing.Stopping(attack, 1 + setting.queries)


def window(query: int, queries: int, height: int, width: int) -> int:
    """Side of the window at a query (from 0), in pixels, odd and at least 3 where it fits."""
    halvings = sum(query / queries * 10000 > after for after in HALVED_AFTER)
    side = max(round(np.sqrt(FIRST_SHARE / 2**halvings * height * width)), 3)
    return int(min(side + (side % 2 == 0), height, width))


def _moved(rng: np.random.Generator, change: np.ndarray, side: int, epsilon: float) -> np.ndarray:
    """The perturbation (H, W, 3) with what a second window held put into a first one."""
    first, second = (_span(rng, change.shape, side) for _ in range(2))
    both = np.zeros(change.shape[:2], bool)
    both[first] = both[second] = True
    held = (change[both] ** 2).sum(axis=0)
    unused = max(epsilon**2 - float((change**2).sum()), 0) / change.shape[2]
    old = change[first] / (1e-10 + np.sqrt((change[first] ** 2).sum(axis=(0, 1))))
    new = _bump(side, turned=bool(rng.integers(2)))[..., None] * _signs(rng) + old
    new /= 1e-10 + np.sqrt((new**2).sum(axis=(0, 1)))
    made = change.copy()
    made[second] = 0
    made[first] = new * np.sqrt(unused + held)
    return made


def _grid(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Bumps side by side, five along the shorter edge where it is long enough."""
    change = np.zeros(shape)
    side = max(min(shape[:2]) // 5, 1)
    tops, lefts = (range(length % side // 2, length - side + 1, side) for length in shape[:2])
    for top in tops:
        for left in lefts:
            bump = _bump(side, turned=bool(rng.integers(2)))[..., None] * _signs(rng)
            change[top : top + side, left : left + side] = bump
    return change


@functools.cache
def _bump(side: int, *, turned: bool) -> np.ndarray:
    """Two hills beside each other, one up, one down, of length 1 (side, side)."""
    if turned:
        return _bump(side, turned=False).T
    half = side // 2
    made = np.concatenate([_hill(half, side), -_hill(side - half, side)])
    return np.asarray(made / np.sqrt((made**2).sum()))


def _hill(height: int, width: int) -> np.ndarray:
    """Nested rectangles, each adding less than the one inside it, of length 1 (height, width)."""
    made = np.zeros((height, width))
    top, left = height // 2, width // 2
    for ring in range(max(height, width) // 2 + 1):
        rows = slice(max(top - ring, 0), min(top + ring + 1, height))
        columns = slice(max(left - ring, 0), min(left + ring + 1, width))
        made[rows, columns] += 1 / (ring + 1) ** 2
    return made / max(np.sqrt((made**2).sum()), 1e-10)


def _span(rng: np.random.Generator, shape: Sequence[int], side: int) -> tuple[slice, slice]:
    """A window anywhere in the image."""
    tops = [int(rng.integers(length - side + 1)) for length in shape[:2]]
    return slice(tops[0], tops[0] + side), slice(tops[1], tops[1] + side)


def _signs(rng: np.random.Generator) -> np.ndarray:
    return rng.choice([-1.0, 1.0], size=3)


def _scaled(change: np.ndarray, epsilon: float) -> np.ndarray:
    """Perturbations (n, H, W, 3) of length epsilon, less what rounding might add."""
    length = np.sqrt((change**2).sum(axis=(1, 2, 3), keepdims=True))
    return np.asarray(change * (epsilon * (1 - 1e-6) / np.maximum(length, 1e-30)))
