"""Tests of two models on the same images, and what makes several of them hold together."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, norm

from attnrobust.measures.metrics import LEVEL


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
