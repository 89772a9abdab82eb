"""Measures of segmented images. NumPy and SciPy alone.

A row of SEGMENTATION_METRICS takes predicted and true class maps (N, H, W), the number K of classes
and the side of a pixel of each image (N,), and gives a number for each image and class (N, K). An
image's number is the mean over its structures, the classes above 0; where it has none, that of the
background.

A class that an image does not have (no pixel of the label) is left out: NaN. A class that it has
and that is not found at all has a Dice of 0 and the greatest distance there is, the diagonal of the
image. `dice_strict` also counts false alarms: a class that is found where the label has none has a
Dice of 0, and only one that neither has is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage, stats

from attnrobust.measures import metrics
from attnrobust.measures.metrics import Measured
from attnrobust.task import overlap

Spacing = Sequence[float]
# Units of lengths: mm where the size of a pixel is known, else pixels.
MM, PX = "mm", "px"
# Distance that still counts as found, 1 mm or 1 pixel.
TOLERANCE = 1.0
PERCENTILE = 95
QUANTILES = (0.05, 0.25, 0.5, 0.75)
# Share of the images, those that fare worst, that a mean is also taken over.
WORST = 0.05
SIZES = ("small", "medium", "large")


class Pixels(NamedTuple):
    """How large the pixels of images are.

    Attributes:
        sides: Of each image (N,); pixels are square.
        unit: MM or PX.
    """

    sides: np.ndarray
    unit: str

    @classmethod
    def of(cls, found: Mapping[str, np.ndarray]) -> Pixels:
        """Those of a file of predictions: its `pixel`, or 1 pixel each where it knows none."""
        if "pixel" in found:
            return cls(found["pixel"], MM)
        return cls(np.ones(len(found["label"])), PX)


@dataclass(frozen=True)
class Row:
    """A measure of the table.

    Attributes:
        function: (found, labels, number of classes, sides of pixels) to numbers (N, K), NaN: left
            out.
        title: What it is called on a page.
        higher: Whether more is better.
        length: Whether it depends on the unit of lengths, which then ends its name.
    """

    function: Callable[[np.ndarray, np.ndarray, int, np.ndarray], np.ndarray]
    title: str
    higher: bool = True
    length: bool = False

    def named(self, name: str, unit: str) -> str:
        """What it is called in files: `hd95_mm`; `dice`, whatever the unit."""
        return f"{name}_{unit}" if self.length else name


def dice(found: np.ndarray, labels: np.ndarray, classes: int, sides: np.ndarray) -> np.ndarray:
    """2 |A and B| / (|A| + |B|) for the classes that the label has (N, K)."""
    return overlap.dice_by_class(found, labels, classes)


def dice_strict(
    found: np.ndarray, labels: np.ndarray, classes: int, sides: np.ndarray
) -> np.ndarray:
    """Dice in which a class that is found where the label has none counts as 0 (N, K)."""
    made = overlap.dice_by_class(found, labels, classes)
    for class_ in range(classes):
        alarm = (found == class_).any(axis=(1, 2)) & ~(labels == class_).any(axis=(1, 2))
        made[alarm, class_] = 0
    return made


def iou(found: np.ndarray, labels: np.ndarray, classes: int, sides: np.ndarray) -> np.ndarray:
    """|A and B| / |A or B| (N, K), which is Dice / (2 - Dice)."""
    made = overlap.dice_by_class(found, labels, classes)
    return made / (2 - made)


def surface_dice(
    found: np.ndarray, labels: np.ndarray, classes: int, sides: np.ndarray
) -> np.ndarray:
    """Share of both outlines that lie within 1 mm or pixel of the other (Nikolov et al. 2021)."""
    return _of_outlines(found, labels, classes, sides, _near)


def hausdorff(found: np.ndarray, labels: np.ndarray, classes: int, sides: np.ndarray) -> np.ndarray:
    """95th percentile of the distances between outlines, the larger of both ways (N, K)."""
    return _of_outlines(found, labels, classes, sides, _far)


def distances(one: np.ndarray, other: np.ndarray, spacing: Spacing) -> tuple[np.ndarray, ...]:
    """Of each point of either outline how far the other outline is.

    Args:
        one: A region, bool, of two or three axes, not empty; an outline are its points that have a
            neighbour (of four or six) outside, or beyond the image.
        other: Another of the same shape.
        spacing: Distance of neighbours along each axis.
    """
    box = ndimage.find_objects((one | other).astype(np.int8))[0]
    outlines = [each[box] & ~ndimage.binary_erosion(each[box]) for each in (one, other)]
    away = [ndimage.distance_transform_edt(~each, sampling=spacing) for each in outlines]
    return away[1][outlines[0]], away[0][outlines[1]]


def _near(ways: tuple[np.ndarray, ...], longest: float) -> float:
    return float(np.concatenate(ways).__le__(TOLERANCE).mean()) if ways else 0.0


def _far(ways: tuple[np.ndarray, ...], longest: float) -> float:
    return float(max(np.percentile(way, PERCENTILE) for way in ways)) if ways else longest


def _of_outlines(
    found: np.ndarray,
    labels: np.ndarray,
    classes: int,
    sides: np.ndarray,
    measure: Callable[[tuple[np.ndarray, ...], float], float],
) -> np.ndarray:
    """A measure of distances between outlines (N, K); of none where the class is not found."""
    made = np.full((len(labels), classes), np.nan)
    diagonals = float(np.linalg.norm(labels.shape[1:])) * sides
    for place, (one, true) in enumerate(zip(found, labels, strict=True)):
        spacing = (sides[place], sides[place])
        for class_ in np.unique(true):
            mine = one == class_
            ways = distances(mine, true == class_, spacing) if mine.any() else ()
            made[place, class_] = measure(ways, diagonals[place])
    return made


def of_images(each: np.ndarray) -> np.ndarray:
    """The number of each image (N,) from those of its classes (N, K)."""
    structures = each[:, 1:]
    number = (~np.isnan(structures)).sum(axis=1)
    mean = np.nansum(structures, axis=1) / np.maximum(number, 1)
    return np.where(number > 0, mean, each[:, 0])


def of_volumes(
    found: np.ndarray, labels: np.ndarray, classes: int, groups: np.ndarray
) -> np.ndarray:
    """Mean Dice of the structures of each volume, all its slices being one (G,)."""
    names = np.unique(groups)
    stacked = [
        (np.concatenate(list(found[mine])), np.concatenate(list(labels[mine])))
        for mine in (groups == name for name in names)
    ]
    each = [
        overlap.dice_by_class(one[None].reshape(1, 1, -1), true[None].reshape(1, 1, -1), classes)
        for one, true in stacked
    ]
    return of_images(np.concatenate(each))


def summary(
    name: str, row: Row, each: np.ndarray, names: Sequence[str], groups: np.ndarray | None
) -> list[tuple[str, Measured, int]]:
    """Measurements of one metric: name, value with its interval, number of images.

    The mean over images with a bootstrap of subjects, quantiles, the mean of the worst twentieth
    (at least one image), and the mean of each class over the images that have it.

    Args:
        name: Of the metric, with its unit.
        row: Of SEGMENTATION_METRICS.
        each: What it gives, (N, K).
        names: Of the classes.
        groups: (N,) subjects.
    """
    images = of_images(each)
    n = len(images)
    rows = [(name, metrics.mean(images, groups=groups), n)]
    for share in QUANTILES:
        rows.append((f"{name}_q{round(100 * share):02d}", Measured(float(_at(images, share))), n))
    count = max(1, round(WORST * n))
    ordered = np.sort(images if row.higher else -images)[:count]
    rows.append((f"{name}_worst", Measured(float(abs(ordered.mean()))), count))
    for class_, said in enumerate(names):
        there = ~np.isnan(each[:, class_])
        if there.any():
            own = None if groups is None else groups[there]
            mean = metrics.mean(each[there, class_], groups=own)
            rows.append((f"{name}[{said}]", mean, int(there.sum())))
    return rows


def _at(values: np.ndarray, share: float) -> float:
    return float(np.quantile(values, share))


def size_and_drop(
    clean: np.ndarray, attacked: np.ndarray, labels: np.ndarray, groups: np.ndarray | None
) -> list[tuple[str, Measured, int]]:
    """What structures of each size lose: three thirds of all of them, and Spearman's rank.

    Args:
        clean: Dice of each image and class without the attack (N, K), NaN where left out.
        attacked: With it.
        labels: (N, H, W).
        groups: (N,) subjects.
    """
    classes = clean.shape[1]
    pixels = np.stack([(labels == class_).sum(axis=(1, 2)) for class_ in range(classes)], axis=1)
    image, class_ = np.nonzero(~np.isnan(clean) & (np.arange(classes) > 0))
    size, drop = pixels[image, class_], (clean - attacked)[image, class_]
    rows = []
    ends = np.quantile(size, [1 / 3, 2 / 3]) if len(size) else [0, 0]
    third = np.searchsorted(ends, size)
    for place, name in enumerate(SIZES):
        mine = third == place
        if mine.any():
            own = None if groups is None else groups[image[mine]]
            mean = metrics.mean(drop[mine], groups=own)
            rows.append((f"dice_drop_{name}", mean, int(mine.sum())))
    if len(np.unique(size)) > 1 and len(np.unique(drop)) > 1:
        rank = float(stats.spearmanr(size, drop).statistic)
        rows.append(("size_drop_rank", Measured(rank), len(size)))
    return rows


SEGMENTATION_METRICS: dict[str, Row] = {
    "dice": Row(dice, "Dice"),
    "dice_strict": Row(dice_strict, "Dice with false alarms"),
    "iou": Row(iou, "IoU"),
    "surface_dice": Row(surface_dice, "Surface Dice", length=True),
    "hd95": Row(hausdorff, "95 % Hausdorff distance", higher=False, length=True),
}
