"""Overlap of class maps: the Dice coefficient, of each structure and of an image.

Dice is 2 |A and B| / (|A| + |B|) over pixels. A structure that the label does not have says nothing
of an image, whatever is predicted there; such false alarms lower the Dice of the structures whose
pixels they take, where they take some.
"""

from __future__ import annotations

import numpy as np


def dice_by_class(found: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Dice of each class in each image, (N, K) float64; NaN where the label has none of it.

    Args:
        found: Predicted classes (N, H, W), whole numbers.
        labels: The true ones, of the same shape, each below `classes`.
        classes: Number K of classes, the background (0) among them.
    """
    found, labels = found.astype(np.int64), labels.astype(np.int64)  # a byte cannot hold K = 256
    both = np.where(found == labels, labels, classes)  # the column behind the last is thrown away
    shared, true = _counts(both, classes + 1)[:, :classes], _counts(labels, classes)
    said = _counts(np.minimum(found, classes), classes + 1)[:, :classes]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(true > 0, 2 * shared / (true + said), np.nan)


def dice(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean Dice of each image over the structures that its label has, (N,) float64 in [0, 1].

    The background is no structure; it alone counts where the label has nothing else.
    """
    each = dice_by_class(found, labels, int(labels.max(initial=0)) + 1)
    structures = each[:, 1:]
    number = (~np.isnan(structures)).sum(axis=1)
    mean = np.nansum(structures, axis=1) / np.maximum(number, 1)
    return np.where(number > 0, mean, each[:, 0])


def _counts(maps: np.ndarray, classes: int) -> np.ndarray:
    """How many pixels of each image are of each class, (N, K)."""
    number = len(maps)
    place = np.arange(number)[:, None] * classes + maps.reshape(number, -1)
    return np.bincount(place.ravel(), minlength=number * classes).reshape(number, classes)


def largest(maps: np.ndarray) -> np.ndarray:
    """Of class maps (N, H, W) the structure with the most pixels (N,); 0 where there is none."""
    counts = [np.bincount(each.ravel(), minlength=1) for each in maps]
    return np.array([1 + each[1:].argmax() if each[1:].any() else 0 for each in counts])
