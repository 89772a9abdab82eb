"""How alike two heatmaps are, how focused each is, what lies inside a region. NumPy alone.

A row of HEATMAP_METRICS takes a Pair, one image without and under an attack, and gives one number;
NaN stands for 'not defined' (a map of zeros, no perturbation, no mask). A heatmap's scale has no
meaning, so none of these depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TOP = 0.2
NONE = float("nan")


@dataclass(frozen=True)
class Pair:
    """One image without and under an attack.

    Attributes:
        clean: Heatmap without the attack (H, W), 0 or larger.
        attacked: Heatmap of the attacked image, same shape.
        perturbation: Attacked minus clean image (H, W, C).
        mask: The region that matters, bool (H, W); all False where none is known.
    """

    clean: np.ndarray
    attacked: np.ndarray
    perturbation: np.ndarray
    mask: np.ndarray


def correlation(pair: Pair) -> float:
    """Pearson's correlation over the pixels; NaN where a map is constant."""
    clean, attacked = (_flat(each) for each in (pair.clean, pair.attacked))
    if np.ptp(clean) == 0 or np.ptp(attacked) == 0:
        return NONE
    clean, attacked = clean - clean.mean(), attacked - attacked.mean()
    product = (clean @ attacked) / np.sqrt((clean @ clean) * (attacked @ attacked))
    return float(np.clip(product, -1, 1))


def top_overlap(pair: Pair) -> float:
    """Share of the top 20 % of pixels that both maps have in common: intersection / k.

    The top-k intersection of Ghorbani et al. 2019 (Interpretation of Neural Networks Is Fragile)
    with k = 20 % of the pixels: 1 is the same place, 0 another, 0.2 is chance. A map with fewer
    positive pixels has a smaller top, and k is then the larger of the two. NaN for a map of zeros.
    """
    clean, attacked = _top(pair.clean), _top(pair.attacked)
    if not clean.any() or not attacked.any():
        return NONE
    return float(np.minimum(clean, attacked).sum() / max(clean.sum(), attacked.sum()))


def _top(heatmap: np.ndarray) -> np.ndarray:
    """How far each pixel belongs to the top 20 %, in [0, 1]; pixels of value 0 never do."""
    values = _flat(heatmap)
    count = max(1, round(TOP * values.size))
    edge = np.partition(values, -count)[-count]
    above, tied = values > edge, values == edge
    # Pixels tied at the edge share the places left, or their order in memory would decide.
    share = above + tied * (count - above.sum()) / tied.sum()
    return np.where(values > 0, share, 0.0)


def entropy_clean(pair: Pair) -> float:
    """How spread out the heatmap is without an attack: see `entropy`."""
    return entropy(pair.clean)


def entropy_attacked(pair: Pair) -> float:
    """How spread out the heatmap is under the attack: see `entropy`."""
    return entropy(pair.attacked)


def entropy(heatmap: np.ndarray) -> float:
    """Shannon entropy of the map as a distribution, over its largest value, log(pixels).

    0 is a single pixel, 1 a flat map; NaN for a map of zeros. A map enlarged from a coarse layer
    cannot reach 0, so this compares maps of one layer and size.
    """
    values = _flat(heatmap)
    values = values[values > 0]
    if not len(values):
        return NONE
    share = values / values.sum()
    return float(np.clip(-(share * np.log(share)).sum() / np.log(heatmap.size), 0, 1))


def energy_inside(pair: Pair) -> float:
    """Share of the perturbation's energy (sum of squares) inside the mask."""
    return _inside(np.square(pair.perturbation.astype(np.float64)).sum(axis=-1), pair.mask)


def mask_area(pair: Pair) -> float:
    """The mask's share of the area: what spreading evenly would put inside."""
    return float(pair.mask.mean()) if pair.mask.any() else NONE


def concentration(pair: Pair) -> float:
    """Energy inside over area: 1 is spread evenly, larger is drawn to the region."""
    return energy_inside(pair) / mask_area(pair)


def heat_inside_clean(pair: Pair) -> float:
    """Share of the heatmap's sum inside the mask without an attack."""
    return _inside(pair.clean, pair.mask)


def heat_inside_attacked(pair: Pair) -> float:
    """Share of the heatmap's sum inside the mask under the attack."""
    return _inside(pair.attacked, pair.mask)


def _inside(values: np.ndarray, mask: np.ndarray) -> float:
    values = values.astype(np.float64)
    total = values.sum()
    return float(values[mask].sum() / total) if total > 0 and mask.any() else NONE


def _flat(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64).ravel()


@dataclass(frozen=True)
class Row:
    """A heatmap metric of the table.

    Attributes:
        of: A pair to the number.
        title: What the page calls it.
        chance: What maps that have nothing to do with each other come to, for what says how alike
            two are, which the page draws against epsilon; None for all others.
        masked: Undefined for every image of a data set without masks, which then gets no row of it.
    """

    of: Callable[[Pair], float]
    title: str
    chance: float | None = None
    masked: bool = False

    def __call__(self, pair: Pair) -> float:
        """The number of a pair; NaN where it is not defined."""
        return self.of(pair)


HEATMAP_METRICS: dict[str, Row] = {
    "correlation": Row(correlation, "Correlation", chance=0.0),
    "top_overlap": Row(top_overlap, "Top-20\u00a0% overlap", chance=TOP),
    "entropy_clean": Row(entropy_clean, "Entropy, clean"),
    "entropy_attacked": Row(entropy_attacked, "Entropy, attacked"),
    "energy_inside": Row(energy_inside, "Perturbation\u2019s energy", masked=True),
    "mask_area": Row(mask_area, "Area", masked=True),
    "concentration": Row(concentration, "Energy over area", masked=True),
    "heat_inside_clean": Row(heat_inside_clean, "Heatmap, clean", masked=True),
    "heat_inside_attacked": Row(heat_inside_attacked, "Heatmap, attacked", masked=True),
}
