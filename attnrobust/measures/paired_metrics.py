"""Two models on the same images by a metric of whole sets of them: AUC, calibration error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import t

from attnrobust.measures.calibration import Row
from attnrobust.measures.metrics import GROUPS, IMAGES, LEVEL
from attnrobust.measures.paired import SEEDS, T_TEST, Paired, times
from attnrobust.measures.spread import Spread, spread, t_test

RESAMPLES = 1000


def compare(
    metric: Row,
    labels: np.ndarray,
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    groups: np.ndarray | None = None,
    *,
    factor: float = 1.0,
    seed: int = 0,
) -> tuple[Paired, Spread | None]:
    """A metric of the second model less `factor` times that of the first, and what it varies by.

    Both are measured on the same resamples of images, or of whole groups. The interval is Student's
    t with the variance over these and over seeds (`spread`): no percentiles, which a metric that a
    resample biases would shift. It ends where the metric does.

    Args:
        metric: Row of METRICS that has an interval (it is not `biased`).
        labels: (N,) whole numbers.
        first: Probabilities (N, K) of each seed of one model.
        second: Of the other.
        groups: (N,) what images are resampled together; each alone if None.
        factor: What the first is multiplied by.
        seed: Of the resampling.

    Returns:
        The difference, its interval and p value NaN for a single image or group, or where the
        metric is not defined; then there is no spread, too.
    """
    n = len(labels)
    place = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    total = int(place.max()) + 1
    sides = (first, second)
    several = max(map(len, sides)) > 1
    kind = SEEDS if several else IMAGES if total == n else GROUPS
    whole = np.ones((1, n))
    values = [np.array([metric(labels, each, whole)[0] for each in side]) for side in sides]
    value, nan = float(values[1].mean() - factor * values[0].mean()), float("nan")
    none = Paired(value, nan, nan, kind, nan, nan, nan, T_TEST, n)
    if total < 2 or not np.isfinite(value):
        return none, None
    weights = times(np.random.default_rng(seed), total, RESAMPLES)[:, place]
    draws = [np.stack([metric(labels, each, weights) for each in side], axis=1) for side in sides]
    # A resample may lack a class: the metric is not defined on it.
    known = np.isfinite(np.concatenate(draws, axis=1)).all(axis=1)
    if known.sum() < RESAMPLES / 2:
        return none, None
    parts = spread(values, [each[known] for each in draws], total, factor)
    half = float(t.ppf(0.5 + LEVEL / 2, parts.freedom) * parts.variance**0.5)
    least, most = metric.within
    low = max(least - factor * most, value - half)
    high = min(most - factor * least, value + half)
    return none._replace(low=low, high=high, p=t_test(value, parts)), parts
