"""By what the difference of two models varies: test images, whole groups of them, and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t

FEWER = 0.9


class Spread(NamedTuple):
    """By what a difference of two models' numbers varies.

    Attributes:
        groups: Variance by the choice of images or groups.
        chance: The part of it that is each seed's own chance on them, which `seeds` holds, too.
        seeds: Of each model, the variance by the choice of seeds with its degrees of freedom; none
            of a model of one seed.
        total: How many groups there are.
    """

    groups: float
    chance: tuple[float, float]
    seeds: tuple[tuple[float, int], tuple[float, int]]
    total: int

    @property
    def common(self) -> float:
        """What the choice of groups adds to that of seeds."""
        return max(0.0, self.groups - sum(self.chance))

    @property
    def variance(self) -> float:
        """Of the difference: what both add, what they share counted once."""
        return self.common + sum(each for each, _ in self.seeds)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom; a tenth less where seeds are in them.

        Of two or three seeds the estimate promises too many: intervals held the truth in 93 %.
        """
        found = freedom(((self.common, self.total - 1), *self.seeds))
        return FEWER * found if any(own for _, own in self.seeds) else found


def freedom(parts: Iterable[tuple[float, float]]) -> float:
    """Satterthwaite's (1946) of a sum of variances, each with its own; the first's if all are 0."""
    known = [(part, own) for part, own in parts if own > 0]
    whole = sum(part for part, _ in known)
    if not whole:
        return known[0][1]
    return float(whole**2 / sum(part**2 / own for part, own in known))


def spread(
    values: Sequence[np.ndarray], draws: Sequence[np.ndarray], total: int, factor: float = 1.0
) -> Spread:
    """The parts of the variance of `mean of the second - factor * mean of the first`.

    What a seed does by chance on each image is in the variance among seeds and in that among
    images: a two-way analysis of variance counts it once (Owen 2007 shows that resampling both
    counts it twice). It is what the seeds' numbers do against each other as images are resampled.

    Args:
        values: Of the first model's seeds (S,) and of the second's (T,).
        draws: The same of B resamples of images or groups, (B, S) and (B, T).
        total: Of how many groups, more than 1.
        factor: What the first is multiplied by.
    """
    scale = (factor**2, 1.0)
    apart = draws[1].mean(axis=1) - factor * draws[0].mean(axis=1)
    chance, seeds = [0.0, 0.0], [(0.0, 0), (0.0, 0)]
    for side, (each, drawn) in enumerate(zip(values, draws, strict=True)):
        if (count := len(each)) > 1:
            own = drawn - drawn.mean(axis=1, keepdims=True)
            chance[side] = float(scale[side] * own.var(axis=0).sum() / (count * (count - 1)))
            seeds[side] = float(scale[side] * each.var(ddof=1) / count), count - 1
    return Spread(float(apart.var()), (chance[0], chance[1]), (seeds[0], seeds[1]), total)


def t_test(value: float, parts: Spread) -> float:
    """Two-sided p of no difference."""
    if not parts.variance:
        return float(value == 0)
    return float(2 * t.sf(abs(value) / parts.variance**0.5, parts.freedom))
