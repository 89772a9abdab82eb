"""Measures of predictions, with 95 % intervals. NumPy and SciPy alone.

A row of METRICS takes labels (N,), probabilities (N, K) and weights (B, N), and gives (B,) values:
row 0 of the weights is all ones, the others are bootstrap resamples, so that the value and its
interval come from the same few lines. NaN stands for 'not defined' (a class without examples).

Images of one group (a patient, a lesion) are not independent. Where a group has several images,
groups are resampled instead of images, and a proportion gets that bootstrap instead of Wilson's
interval, which would be too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import softmax
from scipy.stats import norm

from attnrobust import task
from attnrobust.measures import calibration
from attnrobust.measures.calibration import Row

RESAMPLES = 1000
LEVEL = 0.95
# What an interval is made by.
WILSON, IMAGES, GROUPS = "wilson", "bootstrap", "group_bootstrap"


class Measured(NamedTuple):
    """A value with its 95 % interval; NaN where something is not defined.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        interval: `wilson`, `bootstrap` (of images) or `group_bootstrap`; empty for none.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    interval: str = ""


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits (N, K) or (N, H, W, K), in float64."""
    return softmax(logits.astype(np.float64), axis=-1)


def wilson(successes: float, n: float) -> tuple[float, float]:
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
    correct = task.right(probability, labels)
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
    correct = task.right(probability, labels)
    return weights @ correct / weights.sum(axis=1)


def quadratic_kappa(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cohen's kappa with quadratic weights, for classes in an order, such as grades.

    1 is complete agreement, 0 what chance would give; NaN where labels and predictions are all of
    one class. Sums stay whole numbers, so that this is seen exactly.
    """
    predicted, total = task.predict(probability), weights.sum(axis=1)
    apart = total * (weights @ (labels - predicted) ** 2)
    squares = total * (weights @ (labels**2 + predicted**2))
    with np.errstate(invalid="ignore"):
        return 1 - apart / (squares - 2 * (weights @ labels) * (weights @ predicted))


METRICS: dict[str, Row] = {
    "accuracy": Row(accuracy, "Accuracy", headline=True, attacked=True, share=True),
    "balanced_accuracy": Row(balanced_accuracy, "Balanced accuracy", headline=True, attacked=True),
    # Not under attack: adversarials are made to cross the decision, not to rank.
    "macro_auc": Row(macro_auc, "Macro AUC", headline=True),
    "quadratic_kappa": Row(quadratic_kappa, within=(-1, 1)),
    **calibration.CALIBRATION,
}


def measure(
    metric: Row,
    labels: np.ndarray,
    probability: np.ndarray,
    *,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Measured:
    """Value and 95 % interval of a metric.

    Plain accuracy gets the interval of `proportion`, a biased calibration error none, a debiased
    one a pivotal bootstrap, every other metric a percentile bootstrap.

    Args:
        metric: Row of METRICS.
        labels: (N,) whole numbers.
        probability: (N, K).
        seed: Of the resampling.
        groups: (N,) what images are resampled together; each by itself if None.
    """
    if metric.share:
        return proportion(task.right(probability, labels), seed=seed, groups=groups)
    value = float(metric(labels, probability, np.ones((1, len(labels))))[0])
    if metric.biased:
        return Measured(value)
    draws = _Resampling(len(labels), seed, groups)
    if metric.plugin:
        ends = _pivotal(metric, value, labels, probability, draws)
        return Measured(value, *ends, draws.kind)
    ends = draws.ends(lambda weights: metric(labels, probability, weights))
    return Measured(value, *ends, draws.kind)


def proportion(hits: np.ndarray, *, seed: int = 0, groups: np.ndarray | None = None) -> Measured:
    """Share of hits (N,) bool: with Wilson's interval, or a bootstrap of groups of several images.

    A bootstrap of few groups is too narrow, so that it takes Wilson's ends where these lie further
    out: images of one patient tell no more than as many of different ones. Where all or none are
    hits, every resample is the same: there it is Wilson's for as many images as there are groups.
    """
    n, count = len(hits), int(hits.sum())
    if not n:
        return Measured(float("nan"))
    draws = _Resampling(n, seed, groups)
    if draws.kind == GROUPS and 0 < count < n:
        ends = draws.ends(lambda weights: weights @ hits / weights.sum(axis=1))
        low, high = zip(ends, wilson(count, n), strict=True)
        return Measured(count / n, min(low), max(high), GROUPS)
    independent = draws.count
    return Measured(count / n, *wilson(round(count / n * independent), independent), WILSON)


def _pivotal(
    metric: Row, value: float, labels: np.ndarray, probability: np.ndarray, draws: _Resampling
) -> tuple[float, float]:
    """Ends for a debiased calibration error, on the scale of its square, where it is a mean.

    Among the images at hand the plug-in value is the truth, so what a resample's value differs from
    that tells how far ours is from the real one (as `bootstrap_uncertainty` of
    uncertainty-calibration 0.1.4, which does it without the square).
    """
    assert metric.plugin is not None
    ones = np.ones((1, len(labels)))
    biased = float(metric.plugin(labels, probability, ones)[0])
    low, high = draws.ends(lambda weights: metric(labels, probability, weights) ** 2)
    middle = value**2 + biased**2
    return max(0.0, middle - high) ** 0.5, max(0.0, middle - low) ** 0.5


def mean(values: np.ndarray, *, seed: int = 0, groups: np.ndarray | None = None) -> Measured:
    """Mean of one number an image (N,), with a percentile bootstrap of images or of groups.

    Returns:
        All NaN for no image, no interval for a single one or a single group.
    """
    n = len(values)
    draws = _Resampling(n, seed, groups)
    if draws.count < 2:
        return Measured(float(values.mean()) if n else float("nan"))
    ends = draws.ends(lambda weights: weights @ values / weights.sum(axis=1))
    return Measured(float(values.mean()), *ends, draws.kind)


class _Resampling:
    """How often each image counts in bootstrap resamples, of groups where a group has several.

    Attributes:
        count: How many things are resampled.
        kind: IMAGES or GROUPS.
    """

    def __init__(self, n: int, seed: int, groups: np.ndarray | None) -> None:
        self.seed = seed
        # Of each image the number of its group.
        self.place = np.arange(n)
        if groups is not None:
            self.place = np.unique(groups, return_inverse=True)[1]
        self.count = int(self.place.max()) + 1 if n else 0
        self.kind = IMAGES if self.count == n else GROUPS

    def ends(self, of: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        """Ends of the interval of what `of` makes from weights (B, N); NaN if nowhere defined."""
        rng, count = np.random.default_rng(self.seed), self.count
        # A block holds at most some 16 MB of weights, however many images there are.
        block = max(1, min(RESAMPLES, 2_000_000 // len(self.place)))
        draws = []
        for start in range(0, RESAMPLES, block):
            size = min(block, RESAMPLES - start)
            weights = rng.multinomial(count, np.full(count, 1 / count), size=size).astype(float)
            draws.append(of(weights if self.kind == IMAGES else weights[:, self.place]))
        defined = np.concatenate(draws)
        defined = defined[~np.isnan(defined)]
        if not len(defined):
            return float("nan"), float("nan")
        low, high = np.percentile(defined, [50 - 50 * LEVEL, 50 + 50 * LEVEL])
        return float(low), float(high)
