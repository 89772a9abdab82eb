"""What an attack does to a heatmap: how alike the two maps are, and where the perturbation lies.

What one map is like is measured in maps.py. A row of HEATMAP_METRICS takes a Pair, one image
without and under an attack, and gives one number; NaN stands for 'not defined' (a map of zeros, no
perturbation, no mask). A heatmap's scale has no meaning, so none of these depends on it. NumPy and
SciPy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attnrobust.measures import maps
from attnrobust.measures.maps import NONE, TOP


@dataclass(frozen=True)
class Pair:
    """One image without and under an attack.

    Attributes:
        clean: Heatmap without the attack (H, W), 0 or larger.
        attacked: Heatmap of the attacked image, same shape.
        perturbation: Attacked minus clean image (H, W, C).
        mask: The region that matters, bool (H, W); all False where none is known.

    Raises:
        UserError: A heatmap that is not finite, or a mask of another size.
    """

    clean: np.ndarray
    attacked: np.ndarray
    perturbation: np.ndarray
    mask: np.ndarray

    def __post_init__(self) -> None:
        for each in (self.clean, self.attacked):
            maps.require(each, self.mask)


def correlation(pair: Pair) -> float:
    """Pearson's correlation of the two maps: see `maps.correlation`."""
    return maps.correlation(pair.clean, pair.attacked)


def top_overlap(pair: Pair) -> float:
    """Share of the top 20 % of pixels that the maps have in common: see `maps.overlap`."""
    return maps.overlap(pair.clean, pair.attacked)


def energy_inside(pair: Pair) -> float:
    """Share of the perturbation's energy (sum of squares) inside the mask."""
    energy = np.square(pair.perturbation.astype(np.float64)).sum(axis=-1)
    return maps.mass_inside(energy, pair.mask)


def mask_area(pair: Pair) -> float:
    """The mask's share of the area: what spreading evenly would put inside."""
    return float(pair.mask.mean()) if pair.mask.any() else NONE


def concentration(pair: Pair) -> float:
    """Energy inside over area: 1 is spread evenly, larger is drawn to the region."""
    return energy_inside(pair) / mask_area(pair)


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
    "energy_inside": Row(energy_inside, "Perturbation\u2019s energy", masked=True),
    "mask_area": Row(mask_area, "Area", masked=True),
    "concentration": Row(concentration, "Energy over area", masked=True),
}
