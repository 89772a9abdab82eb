"""How far probabilities can be believed. NumPy and SciPy alone.

A row of CALIBRATION is as one of `metrics.METRICS`: labels (N,), probabilities (N, K) and weights
(B, N) of whole numbers (how often each image counts) to (B,) values. All are better when smaller;
entropy only says how spread out the probabilities are.

Calibration errors use 15 bins. The top-label ones ask whether the confidence, the largest
probability, is the share of right predictions; the marginal ones ask it of every class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import entr, log_softmax

from attnrobust import task

BINS = 15
# Upper ends of the equal-width bins (0, 1/15], (1/15, 2/15], …
ENDS = np.arange(1, BINS + 1) / BINS
TEMPERATURES = (0.01, 100.0)

Sums = tuple[np.ndarray, np.ndarray, np.ndarray]
Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def ece(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error: mean over images of |confidence - accuracy| of their bin.

    Top label, 15 bins of equal width, each with its upper end.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3.
    """
    confidence, right = _top(labels, probability)
    return _each(weights, lambda row: _plugin(_equal_width(confidence, right, row), 1))


def adaptive_ece(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `ece`, with 15 bins of equally many images; equal confidences share a bin.

    Source: Nixon et al. 2019, Measuring Calibration in Deep Learning, for the top label.
    """
    confidence, right = _top(labels, probability)
    return _equal_mass_error(confidence, right, weights, lambda sums: _plugin(sums, 1))


def rmsce(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root mean square calibration error over classes (marginal), *debiased* estimator.

    For each class, 15 bins of equally many images; in each, (mean probability - share p of the
    class)^2 - p (1 - p) / (n - 1), nothing for n = 1; their mean weighted by n, not below 0; the
    root of its mean over classes.

    Source: Kumar et al. 2019, Verified Uncertainty Calibration, marginal calibration error;
    `get_calibration_error(probability, labels)` of uncertainty-calibration 0.1.4, but for its
    switch to one bin a value when a model gives few different ones.
    """
    return np.sqrt(_marginal(labels, probability, weights, _debiased_square))


def rmsce_plugin(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `rmsce`, *plug-in* estimator: nothing is taken off, so it is too large for few images."""
    return np.sqrt(_marginal(labels, probability, weights, _plugin_square))


def rmsce_top(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As `rmsce`, debiased, of the top label: confidence against accuracy.

    Source: Kumar et al. 2019; `get_calibration_error(…, mode='top-label')` of
    uncertainty-calibration 0.1.4.
    """
    confidence, right = _top(labels, probability)
    return np.sqrt(_equal_mass_error(confidence, right, weights, _debiased_square))


def rmsce_top_plugin(
    labels: np.ndarray, probability: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """As `rmsce_top`, plug-in estimator."""
    confidence, right = _top(labels, probability)
    return np.sqrt(_equal_mass_error(confidence, right, weights, _plugin_square))


def brier(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over images of the sum over classes of (probability - 1 or 0)^2, in [0, 2].

    Source: Brier 1950.
    """
    truth = np.eye(probability.shape[1])[labels]
    return _mean(((probability - truth) ** 2).sum(axis=1), weights)


def nll(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of -log(probability of the label), nats.

    A probability below 2.2e-16 counts as that, as in scikit-learn's `log_loss`, so that one image
    costs at most 36.
    """
    of_label = probability[np.arange(len(labels)), labels]
    return _mean(-np.log(np.maximum(of_label, np.finfo(np.float64).eps)), weights)


def entropy(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean entropy of the predicted probabilities, nats, 0 to log K."""
    del labels
    return _mean(entr(probability).sum(axis=1), weights)


def reliability(labels: np.ndarray, probability: np.ndarray) -> dict[str, np.ndarray]:
    """A reliability diagram of the top label, 15 bins of equal width.

    Returns:
        'lower' and 'upper' ends, mean 'confidence', 'accuracy' and 'count', (15,) each; confidence
        and accuracy of an empty bin are NaN.
    """
    confidence, right = _top(labels, probability)
    count, sum_confidence, sum_right = _equal_width(confidence, right, np.ones(len(labels)))
    with np.errstate(invalid="ignore"):
        return {
            "lower": ENDS - 1 / BINS,
            "upper": ENDS,
            "confidence": sum_confidence / count,
            "accuracy": sum_right / count,
            "count": count.astype(int),
        }


def temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """T for which softmax(logits / T) has the least negative log-likelihood, in [0.01, 100].

    To be fitted on the validation split. The likelihood has one minimum (it is convex in 1 / T).
    When every image is right (or the whole no better than chance) that lies at T = 0 (or infinity),
    and you get the end of the range: see `is_at_end`.

    Args:
        labels: (N,) whole numbers.
        logits: (N, K).

    Source: Guo et al. 2017, section 4.2.
    """
    logits = logits.astype(np.float64)
    index = np.arange(len(labels))

    def loss(t: float) -> float:
        return float(-log_softmax(logits / t, axis=1)[index, labels].mean())

    found = minimize_scalar(
        lambda log_t: loss(np.exp(log_t)),
        bounds=tuple(np.log(TEMPERATURES)),
        method="bounded",
        options={"xatol": 1e-8},
    )
    # The method never tries the ends themselves; where the loss is as small there, they are meant.
    return min((*TEMPERATURES, float(np.exp(found.x))), key=loss)


def is_at_end(value: float) -> bool:
    """Whether a temperature lies at an end of the range, so that none is best."""
    return bool(np.isclose(value, TEMPERATURES, rtol=1e-6).any())


def _top(labels: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence (N,) and whether the prediction is right (N,), as numbers."""
    right = task.right(probability, labels)
    # A softmax may end a rounding error above 1, which would be outside the last bin.
    return np.minimum(probability.max(axis=1), 1.0), right.astype(np.float64)


def _mean(each: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ each / weights.sum(axis=1)


def _each(weights: np.ndarray, of: Callable[[np.ndarray], float]) -> np.ndarray:
    return np.array([of(row) for row in weights])


def _marginal(
    labels: np.ndarray,
    probability: np.ndarray,
    weights: np.ndarray,
    error: Callable[[Sums], float],
) -> np.ndarray:
    """Mean over the classes of an error, (B,)."""
    classes = range(probability.shape[1])
    each = [
        _equal_mass_error(np.minimum(probability[:, k], 1.0), (labels == k) * 1.0, weights, error)
        for k in classes
    ]
    return np.mean(each, axis=0)


def _equal_width(score: np.ndarray, hit: np.ndarray, row: np.ndarray) -> Sums:
    """Weight, weighted score and weighted hits of each bin."""
    index = np.searchsorted(ENDS, score)
    return (
        np.bincount(index, row, BINS),
        np.bincount(index, row * score, BINS),
        np.bincount(index, row * hit, BINS),
    )


def _equal_mass_error(
    score: np.ndarray, hit: np.ndarray, weights: np.ndarray, error: Callable[[Sums], float]
) -> np.ndarray:
    """An error over bins of equally many images, made anew for each row of the weights."""
    order = np.argsort(score, kind="stable")
    score, hit = score[order], hit[order]
    return _each(weights[:, order], lambda row: error(_equal_mass(score, hit, row)))


def _equal_mass(score: np.ndarray, hit: np.ndarray, row: np.ndarray) -> Sums:
    """The same sums over bins of equally many images; the scores come sorted.

    An end lies half way between the last score of a share and the first of the next, so equal
    scores fall into one bin, and bins may be empty.
    """
    running = np.cumsum(row)
    total = round(running[-1])
    shares = min(BINS, total)
    # As numpy.array_split: the first total % shares parts have one more.
    number = np.arange(1, shares)
    cut = number * (total // shares) + np.minimum(number, total % shares)
    last = score[np.searchsorted(running, cut - 1, side="right")]
    first = score[np.searchsorted(running, cut, side="right")]
    stops = np.searchsorted(score, (last + first) / 2, side="right")
    edges = np.r_[0, stops, len(score)]

    def sums(values: np.ndarray) -> np.ndarray:
        return np.diff(np.r_[0.0, np.cumsum(values)][edges])

    return sums(row), sums(row * score), sums(row * hit)


def _plugin(sums: Sums, power: int) -> float:
    """Mean over images of |mean score - share of hits|^power of their bin."""
    count, score, hit = (values[sums[0] > 0] for values in sums)
    return float((count * np.abs((score - hit) / count) ** power).sum() / count.sum())


def _plugin_square(sums: Sums) -> float:
    return _plugin(sums, 2)


def _debiased_square(sums: Sums) -> float:
    count, score, hit = (values[sums[0] > 1] for values in sums)
    share = hit / count
    square = ((score - hit) / count) ** 2 - share * (1 - share) / (count - 1)
    return max(0.0, float((count * square).sum() / sums[0].sum()))


@dataclass(frozen=True)
class Row:
    """A metric of the table.

    Attributes:
        of: Labels, probabilities and weights to values.
        title: What the page calls it; empty: no table of the page shows it.
        headline: Whether the page shows it of every model without an attack.
        attacked: Whether it is measured of adversarials, too.
        share: Whether it is the share of right predictions, whose interval is a proportion's.
        biased: A resample is biased once more, so a bootstrap interval need not hold even the
            value: it gets none.
        plugin: Of a debiased one the plug-in estimator of the same error, through which it gets
            its interval.
        within: Its least and its largest value.
    """

    of: Metric
    title: str = ""
    headline: bool = False
    attacked: bool = False
    share: bool = False
    biased: bool = False
    plugin: Metric | None = None
    within: tuple[float, float] = (0.0, 1.0)

    def __call__(
        self, labels: np.ndarray, probability: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Values (B,) of labels (N,), probabilities (N, K) and weights (B, N)."""
        return self.of(labels, probability, weights)


CALIBRATION: dict[str, Row] = {
    "ece": Row(ece, "ECE", biased=True),
    "adaptive_ece": Row(adaptive_ece, "Adaptive ECE", biased=True),
    "rmsce": Row(rmsce, "RMSCE", plugin=rmsce_plugin),
    "rmsce_plugin": Row(rmsce_plugin, biased=True),
    "rmsce_top": Row(rmsce_top, plugin=rmsce_top_plugin),
    "rmsce_top_plugin": Row(rmsce_top_plugin, biased=True),
    "brier": Row(brier, "Brier score", within=(0, 2)),
    "nll": Row(nll, "NLL", within=(0, math.inf)),
    "entropy": Row(entropy, "Entropy", within=(0, math.inf)),
}
