"""Measures of predictions, with 95 % intervals. NumPy and SciPy alone.

A row of METRICS takes labels (N,), probabilities (N, K) and weights (B, N), and gives (B,) values:
row 0 of the weights is all ones, the others are bootstrap resamples, so that the value and its
interval come from the same few lines. NaN stands for 'not defined' (a class without examples).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import softmax
from scipy.stats import norm

from attnrobust import calibration

RESAMPLES = 1000
LEVEL = 0.95


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits (N, K), in float64."""
    return softmax(logits.astype(np.float64), axis=1)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927); NaN for n = 0."""
    if not n:
        return float("nan"), float("nan")
    z = float(norm.ppf(0.5 + LEVEL / 2))
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Of 0 and of all, one end is the share itself but for rounding.
    return float(max(0.0, min(share, centre - half))), float(min(1.0, max(share, centre + half)))


def recalls(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of each class that is predicted right: (B, K); NaN where a class has no example."""
    correct = probability.argmax(axis=1) == labels
    columns = []
    for class_ in range(probability.shape[1]):
        mine = labels == class_
        total = weights[:, mine].sum(axis=1)
        with np.errstate(invalid="ignore"):
            columns.append(weights[:, mine & correct].sum(axis=1) / total)
    return np.stack(columns, axis=1)


def balanced_accuracy(
    labels: np.ndarray, probability: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Mean recall over the classes that have examples."""
    return _mean_of_defined(recalls(labels, probability, weights))


def macro_auc(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean area under the ROC curve, each class against the rest; ties count half."""
    areas = [
        _area(probability[:, class_], labels == class_, weights)
        for class_ in range(probability.shape[1])
    ]
    return _mean_of_defined(np.stack(areas, axis=1))


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=1) / defined.sum(axis=1)


def _area(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted Mann-Whitney statistic for each row of the weights."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    ordered = weights[:, order]
    above = np.add.reduceat(ordered * positive[order], starts, axis=1)
    below = np.add.reduceat(ordered * ~positive[order], starts, axis=1)
    smaller = np.cumsum(below, axis=1) - below / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return (above * smaller).sum(axis=1) / (above.sum(axis=1) * below.sum(axis=1))


def accuracy(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of right predictions."""
    correct = probability.argmax(axis=1) == labels
    return weights @ correct / weights.sum(axis=1)


def quadratic_kappa(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cohen's kappa, a mistake by d classes counting d squared (Cohen 1968): 1 for no mistake.

    0 is what predictions of these frequencies would give by chance. For classes in an order, such
    as grades, alone. With squares the sums over the confusion matrix become moments.
    """
    found = probability.argmax(axis=1).astype(float)
    n = weights.sum(axis=1)
    chance = weights @ (labels**2.0 + found**2) - 2 * (weights @ labels) * (weights @ found) / n
    with np.errstate(invalid="ignore"):
        return np.where(chance > 0, 1 - weights @ (labels - found) ** 2 / chance, np.nan)


Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_auc": macro_auc,
    "quadratic_kappa": quadratic_kappa,
    **calibration.CALIBRATION,
}


def measure(
    metric: Metric, labels: np.ndarray, probability: np.ndarray, *, seed: int = 0
) -> tuple[float, float, float]:
    """Value and 95 % interval of a metric.

    Plain accuracy gets Wilson's interval, a biased calibration error none, a debiased one a pivotal
    bootstrap, every other metric a percentile bootstrap over images.

    Args:
        metric: Row of METRICS.
        labels: (N,) whole numbers.
        probability: (N, K).
        seed: Of the resampling.

    Returns:
        Value, low, high.
    """
    n = len(labels)
    value = float(metric(labels, probability, np.ones((1, n)))[0])
    if metric is accuracy:
        return value, *wilson(round(value * n), n)
    if metric in calibration.BIASED:
        return value, float("nan"), float("nan")
    if metric in calibration.PLUGIN_OF:
        return value, *_pivotal(metric, value, labels, probability, seed)
    return value, *_bootstrap(lambda weights: metric(labels, probability, weights), n, seed)


def _pivotal(
    metric: Metric, value: float, labels: np.ndarray, probability: np.ndarray, seed: int
) -> tuple[float, float]:
    """Ends for a debiased calibration error, on the scale of its square, where it is a mean.

    Among the images at hand the plug-in value is the truth, so what a resample's value differs from
    that tells how far ours is from the real one (as `bootstrap_uncertainty` of
    uncertainty-calibration 0.1.4, which does it without the square).
    """
    n = len(labels)
    plugin = float(calibration.PLUGIN_OF[metric](labels, probability, np.ones((1, n)))[0])
    low, high = _bootstrap(lambda weights: metric(labels, probability, weights) ** 2, n, seed)
    middle = value**2 + plugin**2
    return max(0.0, middle - high) ** 0.5, max(0.0, middle - low) ** 0.5


def mean(values: np.ndarray, *, seed: int = 0) -> tuple[float, float, float]:
    """Mean of one number an image (N,), with a percentile bootstrap over images.

    Returns:
        Value, low, high: all NaN for no image, no interval for a single one.
    """
    n = len(values)
    if n < 2:
        return float(values.sum()) if n else float("nan"), float("nan"), float("nan")
    return float(values.mean()), *_bootstrap(lambda weights: weights @ values / n, n, seed)


def _bootstrap(of: Callable[[np.ndarray], np.ndarray], n: int, seed: int) -> tuple[float, float]:
    """Ends of the interval of what `of` makes from weights (B, n); NaN if nowhere defined."""
    rng = np.random.default_rng(seed)
    # A block holds at most some 160 MB of weights, however many images there are.
    block = max(1, min(RESAMPLES, 20_000_000 // n))
    draws = []
    for start in range(0, RESAMPLES, block):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(block, RESAMPLES - start))
        draws.append(of(weights.astype(float)))
    defined = np.concatenate(draws)
    defined = defined[~np.isnan(defined)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [50 - 50 * LEVEL, 50 + 50 * LEVEL])
    return float(low), float(high)
