"""Two models on the same images: how far one lies above the other, and how sure that is.

What makes one image harder than another is in both models' answers and falls out of their
difference, which is therefore known better than two intervals side by side suggest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from attnrobust.measures import metrics
from attnrobust.measures.metrics import GROUPS, IMAGES, LEVEL, wilson
from attnrobust.measures.paired_tests import sign_flips, tango
from attnrobust.measures.spread import spread, t_test

RESAMPLES = 2000
# What an interval is made by where there are several seeds, and what a p value is of.
SEEDS = "seeds_and_groups"
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
    """Second minus first, in the mean of one number an image: the share that is right, or Dice.

    Attributes:
        value: The difference.
        low: Lower end of its 95 % interval; NaN for a single image or group.
        high: Upper end.
        interval: `bootstrap` (of images), `group_bootstrap`, or `seeds_and_groups`: the bootstrap
            widened by what seeds vary.
        only_first: Images that only the first has right, or on which it is better; of several seeds
            the mean over all pairs.
        only_second: Likewise.
        p: Two-sided, of no difference.
        test: `mcnemar` (exact), `group_sign_flips` (exact, the same for whole groups) or, of
            several seeds and of what is not a share, `t`.
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
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    factor: float = 1.0,
    most: float = 1.0,
    seed: int = 0,
) -> list[Paired]:
    """How far the second model's mean lies above the first's, under each of L conditions.

    The interval is a percentile bootstrap of whole groups; one of m draws m - 1 of them, so that
    its variance is not too small (McCarthy and Snowden 1985), and its ends are as much further out
    as Student's t is than the normal distribution (Hesterberg 2015). Where a model has several
    seeds their variance is added (`spread`), with Satterthwaite's degrees of freedom. Where hardly
    an image tells the models apart a bootstrap is too narrow: of one seed each, and where nothing
    differs, Tango's (1998) score interval stands where it is further out.

    Args:
        first: Of each image whether it is right, bool, or a number from 0 to `most`; (S, L, N):
            seeds, conditions, images.
        second: Of the other model (T, L, N), on the same images in the same order.
        groups: (N,) what images are resampled together; each alone if None.
        factor: What the first is multiplied by: `value` is `second - factor * first`.
        most: The largest number there can be; an interval does not reach beyond what it leaves.
        seed: Of the resampling.

    Returns:
        One for each condition.

    Raises:
        ValueError: Other conditions or images of one than of the other.
    """
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"{first.shape[1:]} and {second.shape[1:]}, expected the same images")
    sides = Sides(first, second, groups, factor)
    draws = sides.draws(np.random.default_rng(seed), RESAMPLES)
    return [
        _compared(sides, level, [each[:, :, level] for each in draws], most)
        for level in range(first.shape[1])
    ]


class Sides:
    """Both models' numbers, added up by group.

    Attributes:
        sizes: Images of each group (G,).
        sums: Of each model, the images' numbers by seed, condition and group: (S, L, G), (T, L, G).
        only: Of each condition, images that only the first has right, and the second (L, 2).
        factor: What the first is multiplied by.
        shares: Whether the numbers are whether an image is right.
        kind: What an interval is made by.
        test: What a p value is of.
    """

    def __init__(
        self, first: np.ndarray, second: np.ndarray, groups: np.ndarray | None, factor: float = 1.0
    ) -> None:
        n = first.shape[2]
        place = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
        self.sizes = np.bincount(place).astype(float)
        self.sums = _added(first, place, len(self.sizes)), _added(second, place, len(self.sizes))
        self.only, self.factor = _only(first, second), factor
        self.shares = first.dtype == bool
        several = max(len(first), len(second)) > 1
        alone = IMAGES if len(self.sizes) == n else GROUPS
        self.kind = SEEDS if several else alone
        exact = MCNEMAR if alone == IMAGES else SIGN_FLIPS
        self.test = exact if self.shares and not several and factor == 1 else T_TEST

    def values(self, level: int) -> list[np.ndarray]:
        """The mean of each seed, (S,) and (T,)."""
        return [each[:, level].sum(axis=1) / self.sizes.sum() for each in self.sums]

    def of(self, level: int) -> np.ndarray:
        """The difference's sum in each group (G,), mean over the seeds."""
        before, after = (each[:, level].mean(axis=0) for each in self.sums)
        return np.asarray(after - self.factor * before)

    def draws(self, rng: np.random.Generator, count: int) -> list[np.ndarray]:
        """The means of as many resamples: (count, S, L) and (count, T, L)."""
        total = len(self.sizes)
        tables = [each.reshape(-1, total) for each in self.sums]
        table = np.concatenate([*tables, self.sizes[None]]).T
        block, sums = max(1, BLOCK // total), []
        for start in range(0, count, block):
            sums.append(times(rng, total, min(block, count - start)) @ table)
        every = np.concatenate(sums)
        means = every[:, :-1] / every[:, -1:]
        parts = np.split(means, [len(tables[0])], axis=1)
        return [
            part.reshape(count, *each.shape[:2])
            for part, each in zip(parts, self.sums, strict=True)
        ]


def _only(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Images on which either is better, mean over all pairs of seeds (L, 2)."""
    if first.dtype == bool:
        before, after = first.mean(axis=0), second.mean(axis=0)
        return np.stack(
            [(before * (1 - after)).sum(axis=1), (after * (1 - before)).sum(axis=1)], axis=1
        )
    pairs = [(one, other) for one in first for other in second]
    better = [[(one > other).sum(axis=1), (other > one).sum(axis=1)] for one, other in pairs]
    return np.mean(better, axis=0).T


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


def _compared(sides: Sides, level: int, draws: Sequence[np.ndarray], most: float) -> Paired:
    values, total, n = sides.values(level), len(sides.sizes), int(sides.sizes.sum())
    value = float(values[1].mean() - sides.factor * values[0].mean())
    only = float(sides.only[level, 0]), float(sides.only[level, 1])
    low = high = p = float("nan")
    if total > 1:
        parts = spread(values, draws, total, sides.factor)
        apart = draws[1].mean(axis=1) - sides.factor * draws[0].mean(axis=1)
        ends = np.percentile(apart, [50 - 50 * LEVEL, 50 + 50 * LEVEL]) - value
        beyond = t.ppf(0.5 + LEVEL / 2, parts.freedom)
        share = parts.common / parts.groups if parts.groups else 0.0
        wider = share * (beyond / norm.ppf(0.5 + LEVEL / 2)) ** 2
        away = np.sqrt(wider * ends**2 + beyond**2 * sum(each for each, _ in parts.seeds))
        score = _score(sides, level, value)
        low = max(-sides.factor * most, min(value - away[0], score[0]))
        high = min(most, max(value + away[1], score[1]))
        if sides.test != T_TEST or (sides.shares and not parts.variance):
            p = sign_flips(sides.of(level))
        else:
            p = t_test(value, parts)
    return Paired(value, float(low), float(high), sides.kind, *only, p, sides.test, n)


def _score(sides: Sides, level: int, value: float) -> tuple[float, float]:
    """An interval for where hardly an image tells; `value` twice where the bootstrap does."""
    only = [float(each) for each in sides.only[level]]
    if sides.factor != 1:
        return _hybrid(sides, level, value) if sides.shares else (value, value)
    # Where nothing tells them apart, images of one patient tell no more than one.
    if not any(only):
        return tango(0, 0, len(sides.sizes))
    # Of several seeds each has other images wrong: their mean is better known than one's.
    if not sides.shares or sides.kind == SEEDS:
        return value, value
    return tango(only[0], only[1], int(sides.sizes.sum()))


def _hybrid(sides: Sides, level: int, value: float) -> tuple[float, float]:
    """Newcombe's (1998) hybrid score interval, of Wilson's of either share."""
    n, total = sides.sizes.sum(), len(sides.sizes)
    (one, below, above), (other, under, over) = (
        (share, *wilson(share * count, count))
        for share in (float(each.mean()) for each in sides.values(level))
        for count in (n if 0 < share < 1 else total,)
    )
    return (
        value - float(np.hypot(other - under, sides.factor * (above - one))),
        value + float(np.hypot(over - other, sides.factor * (one - below))),
    )
