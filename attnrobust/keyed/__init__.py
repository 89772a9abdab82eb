"""Chance by key: random numbers that depend on what they are for, and on nothing else.

A stateless generator is made from a key (the seed, an image's id, an epsilon, a restart, …), so no
result depends on how batches were packed, on the number of devices or on a resume. Here is what
needs no TensorFlow; `attnrobust.keyed.batches` is for what is drawn inside a graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def key(*parts: object) -> int:
    """128 bits from the parts, in words."""
    text = "|".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def generator(*parts: object) -> np.random.Generator:
    """Random numbers that depend on these parts alone."""
    return np.random.Generator(np.random.Philox(key=key(*parts)))


def rank(salt: object, name: str) -> bytes:
    """What names are sorted by for an order that looks random and that new names do not change."""
    return hashlib.sha256(f"{salt}:{name}".encode()).digest()


def seed_of(seed: int, count: int, *, factor: int = 10_007) -> int:
    """A seed for each epoch, or restart, of a run."""
    return seed * factor + count


def random_starts(
    ids: Sequence[str],
    shape: Sequence[int],
    *,
    attack: str,
    seed: int,
    epsilon: float,
    restart: int,
    norm: str = "linf",
) -> np.ndarray:
    """A uniform point of the unit ball for each image, float32 (N, *shape).

    The key is (attack, seed, image id, epsilon, restart) and nothing else.

    Args:
        ids: Of the images.
        shape: Of one image.
        attack: Whose starts they are: were they shared, the worst of several attacks would gain
            less than it could.
        seed: Of the run.
        epsilon: Radius that the start will be scaled to.
        restart: From 0.
        norm: `linf`, a point of [-1, 1] for each value, or `l2` (Voelker et al. 2017, as Foolbox:
            the first n coordinates of a point of the sphere in n + 2 dimensions).
    """

    def draw(id_: str) -> np.ndarray:
        rng = generator(attack, seed, id_, epsilon, restart)
        if norm == "linf":
            return rng.random(tuple(shape), dtype=np.float32) * 2 - 1
        sphere = rng.standard_normal(int(np.prod(shape)) + 2, dtype=np.float32)
        return (sphere[:-2] / np.linalg.norm(sphere)).reshape(tuple(shape))

    return np.stack([draw(id_) for id_ in ids])
