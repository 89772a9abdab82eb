"""Occlusion: what the target loses when a part of the image is covered."""

from __future__ import annotations

import itertools

import numpy as np
from tensorflow import keras

from attnrobust import config
from attnrobust.explanations import base
from attnrobust.explanations.base import Batch, Maps

# Size of the images, in pixels, that patch and stride are given for.
SIZE = 224


def occlusion(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """The drop of the target's probability or logit under a square (Zeiler and Fergus 2014).

    The square moves by the stride; at the far edges it is cut, so that all pixels are covered. A
    pixel's value is the mean over the squares that cover it (Margeloiu et al. 2020, B.3).
    """
    count, height, width, _ = batch.images.shape
    squares = squares_of(height, width, setting)
    score = base.scores(model, probability=setting.occlusion_drop == "probability")

    def covered(place: int, square: tuple[slice, slice]) -> np.ndarray:
        image = batch.images[place].copy()
        image[square] = setting.occlusion_fill
        return image

    rows = (
        ((place, square), covered(place, square), target)
        for place, target in enumerate(batch.targets)
        for square in squares
    )
    whole = base.scored(score, zip(range(count), batch.images, batch.targets, strict=True))
    drops, numbers = np.zeros((count, height, width)), np.zeros((height, width))
    for square in squares:
        numbers[square] += 1
    for (place, square), value in base.in_batches(score, rows):
        drops[place][square] += whole[place] - value
    return Maps((drops / numbers).astype(np.float32)[..., np.newaxis])


def squares_of(height: int, width: int, setting: config.Explanation) -> list[tuple[slice, slice]]:
    """Rows and columns of every square that is covered in turn."""
    return list(itertools.product(_parts(height, setting), _parts(width, setting)))


def _parts(size: int, setting: config.Explanation) -> list[slice]:
    """Where squares lie along one side of an image."""
    patch, stride = (
        max(1, round(pixels * size / SIZE))
        for pixels in (setting.occlusion_patch, setting.occlusion_stride)
    )
    starts = range(0, max(size - patch, 0) + stride, stride)
    return [slice(start, start + patch) for start in starts if start < size]
