"""What one heatmap says: how sparse, smooth and spread out it is, and whether it finds a region.

A heatmap is (H, W), 0 or larger; its scale has no meaning, so nothing here depends on it. NaN
stands for 'not defined': a map of zeros, no mask. Everything is asked of the map as it is, in two
dimensions: where channels are averaged first, or flattened with the pixels, other numbers come out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from attnrobust.errors import UserError

TOP = 0.2
NONE = float("nan")


def require(heatmap: np.ndarray, mask: np.ndarray | None = None) -> None:
    """Raise a UserError if a heatmap holds what is no number, or a mask is of another size."""
    if not np.isfinite(heatmap).all():
        wrong = int((~np.isfinite(heatmap)).sum())
        raise UserError(f"heatmap: {wrong} of {heatmap.size} pixels are not finite")
    if mask is not None and mask.shape != heatmap.shape:
        sizes = [" x ".join(map(str, each.shape)) for each in (mask, heatmap)]
        raise UserError(f"mask: {sizes[0]}, expected {sizes[1]}, the heatmap's size")


def entropy(heatmap: np.ndarray) -> float:
    """Shannon entropy of the map as a distribution, over its largest value, log(pixels).

    0 is a single pixel, 1 a flat map; NaN for a map of zeros. A map enlarged from a coarse layer
    cannot reach 0, so this compares maps of one layer and size.
    """
    values = flat(heatmap)
    values = values[values > 0]
    if not len(values):
        return NONE
    share = values / values.sum()
    return float(np.clip(-(share * np.log(share)).sum() / np.log(heatmap.size), 0, 1))


def gini(heatmap: np.ndarray) -> float:
    """Gini index of the pixels (Hurley and Rickard 2009; for heatmaps Chalasani et al. 2020).

    0 is a flat map, 1 - 1 / pixels a single pixel: larger is sparser.
    """
    values = np.sort(flat(heatmap))
    total, n = values.sum(), len(values)
    if not total > 0:
        return NONE
    return float(2 * (np.arange(1, n + 1) @ values) / (n * total) - (n + 1) / n)


def total_variation(heatmap: np.ndarray) -> float:
    """Mean absolute difference of neighbours, down and across, over the mean: lower is smoother.

    The anisotropic total variation (Rudin et al. 1992) of a map whose pixels add up to their
    number, over the number of neighbours. It depends on the size: compare maps of one size.
    """
    values = heatmap.astype(np.float64)
    mean = values.mean()
    if not mean > 0:
        return NONE
    steps = [np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)]
    return float(np.concatenate(steps).mean() / mean)


def pointing(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """Pointing game (Zhang et al. 2018): 1 where the largest pixel is inside the mask, 0 if not.

    Of several pixels that are equally large, the share that is inside.
    """
    if not heatmap.any() or not mask.any():
        return NONE
    return float(mask[heatmap == heatmap.max()].mean())


def mass_inside(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """Share of the map's sum inside the mask.

    Also called energy-based pointing game (Wang et al. 2020) and relevance mass accuracy (Arras et
    al. 2022).
    """
    values = heatmap.astype(np.float64)
    total = values.sum()
    return float(values[mask].sum() / total) if total > 0 and mask.any() else NONE


def rank_accuracy(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """Relevance rank accuracy (Arras et al. 2022): share of the largest pixels that are inside.

    As many as the mask has. Pixels tied at the edge share the places left, or their order in memory
    would decide. As in `top`, pixels of value 0 are never among the largest.
    """
    count = int(mask.sum())
    if not count or not heatmap.any():
        return NONE
    return float(top(heatmap, count)[mask.ravel()].sum() / count)


def top(heatmap: np.ndarray, count: int) -> np.ndarray:
    """How far each pixel belongs to the `count` largest, in [0, 1]; pixels of value 0 never do."""
    values = flat(heatmap)
    edge = np.partition(values, -count)[-count]
    above, tied = values > edge, values == edge
    share = above + tied * (count - above.sum()) / tied.sum()
    return np.where(values > 0, share, 0.0)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation over the pixels; NaN where a map is constant."""
    one, other = flat(one), flat(other)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return NONE
    one, other = one - one.mean(), other - other.mean()
    return float(np.clip((one @ other) / np.sqrt((one @ one) * (other @ other)), -1, 1))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation over the pixels; NaN where a map is constant."""
    return correlation(rankdata(one), rankdata(other))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the top 20 % of pixels that both maps have in common: intersection / k.

    The top-k intersection of Ghorbani et al. 2019 (Interpretation of Neural Networks Is Fragile)
    with k = 20 % of the pixels: 1 is the same place, 0 another, 0.2 is chance. A map with fewer
    positive pixels has a smaller top, and k is then the larger of the two. NaN for a map of zeros.
    """
    count = max(1, round(TOP * one.size))
    first, second = top(one, count), top(other, count)
    if not first.any() or not second.any():
        return NONE
    return float(np.minimum(first, second).sum() / max(first.sum(), second.sum()))


def flat(values: np.ndarray) -> np.ndarray:
    """As float64, in one dimension."""
    return values.astype(np.float64).ravel()


@dataclass(frozen=True)
class Row:
    """A measure of one heatmap.

    Attributes:
        of: A heatmap and its mask to the number; None for what only the model could tell, which
            `explain` asked it: the name is then that of the array it left.
        title: What the page calls it.
        what: It says, in a line.
        masked: Whether it needs a mask.
        hit: Whether it is 1 or 0, but for ties, so that its mean is a proportion.
    """

    of: Callable[[np.ndarray, np.ndarray], float] | None
    title: str
    what: str
    masked: bool = False
    hit: bool = False

    @property
    def scored(self) -> bool:
        """Whether it is the model's answer, which a map alone does not tell."""
        return self.of is None


def measure(name: str, heatmap: np.ndarray, mask: np.ndarray) -> float:
    """The number of a row of MAP_METRICS that is no answer of the model's; NaN where not defined.

    Raises:
        UserError: A heatmap that is not finite, or a mask of another size.
    """
    require(heatmap, mask)
    of = MAP_METRICS[name].of
    assert of is not None
    return of(heatmap, mask)


MAP_METRICS: dict[str, Row] = {
    "entropy": Row(
        lambda heatmap, _: entropy(heatmap), "Entropy", "how spread out: 0 is one pixel, 1 is flat"
    ),
    "gini": Row(
        lambda heatmap, _: gini(heatmap), "Gini", "how sparse: 0 is flat, nearly 1 is one pixel"
    ),
    "total_variation": Row(
        lambda heatmap, _: total_variation(heatmap), "Total variation", "how rough"
    ),
    "heat_inside": Row(mass_inside, "Heatmap", "share of the heat inside the region", masked=True),
    "pointing": Row(
        pointing,
        "Pointing game",
        "whether the hottest pixel is inside the region",
        masked=True,
        hit=True,
    ),
    "rank_accuracy": Row(
        rank_accuracy,
        "Rank accuracy",
        "of as many hottest pixels as the region has, the share inside it",
        masked=True,
    ),
    "deletion": Row(
        None, "Deletion", "the class's probability while the hottest pixels go: lower is better"
    ),
    "insertion": Row(
        None, "Insertion", "its probability while the hottest pixels come: higher is better"
    ),
    "max_sensitivity": Row(
        None, "Max-sensitivity", "how far small noise moves the map, over its length"
    ),
    "incompleteness": Row(
        None,
        "Incompleteness",
        "what attributions miss of the differences of logits, as a share of their mean",
    ),
}
