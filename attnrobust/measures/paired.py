"""Two models on the same images: how far a number of one lies above the other's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attnrobust.measures import metrics


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


def difference(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0
) -> Difference:
    """Second minus first, image by image, with a percentile bootstrap of images or whole groups.

    What makes one image harder than another is in both numbers and falls out, so the interval is
    narrower than two intervals side by side suggest.

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
