"""Two models on the same images: how far one lies above the other, and how sure that is.

What makes one image harder than another is in both models' answers and falls out of their
difference, which is therefore known better than two intervals side by side suggest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, norm, t

from attnrobust.measures import metrics
from attnrobust.measures.metrics import GROUPS, IMAGES, LEVEL

RESAMPLES = 2000
# What an interval is made by where there are several seeds, and what a p value is of.
SEEDS = "hierarchical_bootstrap"
MCNEMAR, SIGN_FLIPS, T_TEST = "mcnemar", "group_sign_flips", "t"
# Elements of a block of resamples, some 16 MB.
BLOCK = 2_000_000


class Difference(NamedTuple):
    """A mean difference with its 95 % interval; NaN where something is not defined.

    Attributes:
        value: Mean over the images of the second's number minus the first's.
        low: Lower end.
        high: Upper end.
        n: Images for which both have a number.
    """

    value: float
    low: float
    high: float
    n: int


class Paired(NamedTuple):
    """Second minus first, in the share of images that are right.

    Attributes:
        value: The difference.
        low: Lower end of its 95 % interval; NaN for a single image or group.
        high: Upper end.
        interval: `bootstrap` (of images), `group_bootstrap` or `hierarchical_bootstrap` (of seeds
            and of images or groups).
        only_first: Images that only the first has right; of several seeds the mean over all pairs.
        only_second: Likewise.
        p: Two-sided, of no difference.
        test: `mcnemar` (exact), `group_sign_flips` (exact, the same for whole groups) or, of
            several seeds, `t`.
        n: Images.
    """

    value: float
    low: float
    high: float
    interval: str
    only_first: float
    only_second: float
    p: float
    test: str
    n: int


def difference(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0
) -> Difference:
    """Second minus first, image by image, with a percentile bootstrap of images or whole groups.

    Args:
        first: Numbers (N,) of one model; NaN where not defined.
        second: Of the other, on the same images in the same order.
        groups: (N,) what images are resampled together (a patient, a lesion); each alone if None.
        seed: Of the resampling.

    Raises:
        ValueError: Not as many numbers of one as of the other.
    """
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} and {len(second)} numbers, expected the same images")
    apart = second.astype(np.float64) - first
    defined = ~np.isnan(apart)
    found = metrics.mean(
        apart[defined], seed=seed, groups=None if groups is None else groups[defined]
    )
    return Difference(*found[:3], int(defined.sum()))


def compare(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0
) -> list[Paired]:
    """How far the second model is right more often than the first, under each of L conditions.

    The interval is a percentile bootstrap of whole groups, and of each model's seeds where it has
    several; one of m things draws m - 1 of them, so that its variance is not too small (McCarthy
    and Snowden 1985), and its ends are as much further out as Student's t is than the normal
    distribution (Hesterberg 2015), its degrees of freedom Satterthwaite's. Where hardly an image
    tells the models apart a bootstrap is too narrow: Tango's (1998) score interval stands where it
    is further out.

    Args:
        first: Whether each image is right, bool (S, L, N): seeds, conditions, images.
        second: Of the other model (T, L, N), on the same images in the same order.
        groups: (N,) what images are resampled together; each alone if None.
        seed: Of the resampling.

    Returns:
        One for each condition.

    Raises:
        ValueError: Other conditions or images of one than of the other.
    """
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"{first.shape[1:]} and {second.shape[1:]}, expected the same images")
    sides = Sides(first, second, groups)
    draws = sides.draws(np.random.default_rng(seed), RESAMPLES)
    return [_compared(sides, level, draws[:, level]) for level in range(first.shape[1])]


class Sides:
    """Both models' right answers, added up by group.

    Attributes:
        sizes: Images of each group (G,).
        right: Of each model, images right by seed, condition and group: (S, L, G), (T, L, G).
        shares: Of each model, the share of its seeds that have each image right (L, N).
        kind: What an interval is made by.
        test: What a p value is of.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray, groups: np.ndarray | None) -> None:
        n = first.shape[2]
        place = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
        self.sizes = np.bincount(place).astype(float)
        self.shares = first.mean(axis=0), second.mean(axis=0)
        self.right = _added(first, place, len(self.sizes)), _added(second, place, len(self.sizes))
        several = max(len(first), len(second)) > 1
        alone = IMAGES if len(self.sizes) == n else GROUPS
        self.kind = SEEDS if several else alone
        self.test = T_TEST if several else MCNEMAR if alone == IMAGES else SIGN_FLIPS

    def of(self, level: int) -> np.ndarray:
        """Second minus first in each group (G,), mean over the seeds."""
        before, after = (each[:, level].mean(axis=0) for each in self.right)
        return np.asarray(after - before)

    def draws(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Differences (count, L) of as many resamples."""
        total = len(self.sizes)
        tables = [each.reshape(-1, total) for each in self.right]
        table = np.concatenate([*tables, self.sizes[None]]).T
        block, sums = max(1, BLOCK // total), []
        for start in range(0, count, block):
            drawn = times(rng, total, min(block, count - start))
            sums.append(drawn @ table)
        every = np.concatenate(sums)
        ends = []
        parts = np.split(every[:, :-1], [len(tables[0])], axis=1)
        for part, each in zip(parts, self.right, strict=True):
            seeds = times(rng, len(each), count) / max(1, len(each) - 1)
            ends.append(np.einsum("bsl,bs->bl", part.reshape(count, *each.shape[:2]), seeds))
        return np.asarray((ends[1] - ends[0]) / every[:, -1:])

    def of_seeds(self, level: int) -> tuple[float, float]:
        """Variance of the difference by the choice of seeds, with its degrees of freedom."""
        shares = [each[:, level].sum(axis=1) / self.sizes.sum() for each in self.right]
        return _together(
            [(each.var(ddof=1) / len(each), len(each) - 1) for each in shares if len(each) > 1]
        )

    def variance(self, level: int) -> tuple[float, float]:
        """The same by the choice of seeds and of groups; of these more than one."""
        apart, total, n = self.of(level), len(self.sizes), self.sizes.sum()
        spread = ((apart - apart.sum() / n * self.sizes) ** 2).sum() / n**2
        return _together([self.of_seeds(level), (spread * total / (total - 1), total - 1)])


def _together(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The sum of variances, with Satterthwaite's degrees of freedom."""
    whole = float(sum(part for part, _ in parts))
    if not whole:
        return 0.0, float(max((freedom for _, freedom in parts), default=1))
    return whole, whole**2 / sum(part**2 / freedom for part, freedom in parts)


def _added(right: np.ndarray, place: np.ndarray, total: int) -> np.ndarray:
    """Right answers (S, L, N) added up by group: (S, L, total)."""
    found = np.zeros((*right.shape[:2], total))
    for seed, level in np.ndindex(*right.shape[:2]):
        found[seed, level] = np.bincount(place, right[seed, level], minlength=total)
    return found


def times(rng: np.random.Generator, total: int, count: int) -> np.ndarray:
    """How often each of `total` things is drawn (count, total): one less than there are."""
    draws = max(1, total - 1)
    return rng.multinomial(draws, np.full(total, 1 / total), size=count).astype(float)


def _compared(sides: Sides, level: int, draws: np.ndarray) -> Paired:
    before, after = (each[level] for each in sides.shares)
    n, total = len(before), len(sides.sizes)
    value = float(after.mean() - before.mean())
    only = float((before * (1 - after)).sum()), float((after * (1 - before)).sum())
    low = high = p = float("nan")
    if total > 1:
        variance, freedom = sides.variance(level)
        wider = t.ppf(0.5 + LEVEL / 2, freedom) / norm.ppf(0.5 + LEVEL / 2)
        ends = np.percentile(draws, [50 - 50 * LEVEL, 50 + 50 * LEVEL])
        # Where nothing tells them apart, images of one patient tell no more than one.
        score = tango(*only, n if any(only) else total)
        low = max(-1.0, min(value + wider * (ends[0] - value), score[0]))
        high = min(1.0, max(value + wider * (ends[1] - value), score[1]))
        if sides.kind != SEEDS or not variance:
            p = sign_flips(sides.of(level))
        else:
            p = float(2 * t.sf(abs(value) / variance**0.5, freedom))
    return Paired(value, float(low), float(high), sides.kind, *only, p, sides.test, n)


def tango(only_first: float, only_second: float, n: int) -> tuple[float, float]:
    """Tango's (1998) 95 % score interval of a paired difference of two shares, second - first.

    Its test of no difference is McNemar's with the normal distribution.

    Args:
        only_first: Images that only the first has right.
        only_second: Images that only the second has right.
        n: Images, more than 0.
    """
    z, b, c = float(norm.ppf(0.5 + LEVEL / 2)), only_second, only_first

    def score(apart: float) -> float:
        """How far the counts are from a difference, in standard errors."""
        w = (2 * n - b + c) * apart - b - c
        # What only the first has right, the likeliest where the difference is this one.
        share = (max(0.0, w * w + 8 * n * c * apart * (1 - apart)) ** 0.5 - w) / (4 * n)
        spread = n * (2 * share + apart * (1 - apart))
        return (b - c - n * apart) / max(spread, 1e-12) ** 0.5

    value, edge = (b - c) / n, 1 - 1e-9
    low = -1.0 if score(-edge) < z else brentq(lambda at: score(at) - z, -edge, value)
    high = 1.0 if score(edge) > -z else brentq(lambda at: score(at) + z, value, edge)
    return float(low), float(high)


def sign_flips(apart: np.ndarray) -> float:
    """Exact two-sided p of a sum, if each of its whole numbers (G,) could as well be negative.

    Where all are -1, 0 or 1, images of which at most one model has each right, it is McNemar's
    exact test.
    """
    sizes, often = np.unique(np.abs(np.rint(apart)).astype(int), return_counts=True)
    # The sum of those with a plus, by the chance of each of its values.
    chance = np.ones(1)
    for size, count in zip(sizes[sizes > 0], often[sizes > 0], strict=True):
        spaced = np.zeros(count * size + 1)
        spaced[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chance = np.convolve(chance, spaced)
    total = len(chance) - 1
    sums = np.abs(2 * np.arange(total + 1) - total)
    return float(min(1.0, chance[sums >= abs(round(apart.sum()))].sum()))


def holm(p: np.ndarray) -> np.ndarray:
    """P values (M,) of M tests, corrected so that all hold together (Holm 1979)."""
    order = np.argsort(p)
    found = np.empty(len(p))
    found[order] = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    return np.minimum(1, found)
