"""Label maps: a class for each pixel of an image, from a user's file to what a record holds."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from attnrobust.data import images, preprocessing

# A record keeps a class in one byte.
MOST_CLASSES = 256
# Pillow's modes in which a pixel is one number: truth, grey, place in a palette, more than 8 bits.
MODES = ("1", "L", "P", "I", "I;16", "I;16B")


def load(content: bytes, classes: Sequence[str], values: Sequence[int] = ()) -> np.ndarray:
    """A file's bytes as classes, uint8 (H, W).

    Args:
        content: A whole PNG, TIFF or other lossless image with one number a pixel.
        classes: Names in label order.
        values: Number in the file that stands for each class; empty: 0, 1, 2, ….

    Raises:
        UnusableImageError: Not such an image, or a number in it that stands for no class.
    """
    if not images.is_lossless(content):
        raise images.UnusableImageError("label map: expected a PNG or another lossless image")
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode, numbers = image.mode, np.asarray(image)
    except MemoryError:
        raise
    except Exception:  # Pillow's readers raise whatever they stumble on
        raise images.UnusableImageError("label map: not an image that can be read") from None
    if mode not in MODES:
        what = "fractions" if mode == "F" else f"colours ({mode})"
        raise images.UnusableImageError(f"label map: {what}, expected a whole number a pixel")
    return as_classes(numbers.astype(np.int64), classes, values)


def as_classes(
    numbers: np.ndarray, classes: Sequence[str], values: Sequence[int] = ()
) -> np.ndarray:
    """Whole numbers to the classes that they stand for, uint8 of the same shape.

    Raises:
        UnusableImageError: A number that stands for no class.
    """
    known = np.array(values if values else range(len(classes)))
    order = np.argsort(known)
    place = np.searchsorted(known, numbers, sorter=order).clip(max=len(known) - 1)
    found = order[place]
    if (strange := known[found] != numbers).any():
        raise images.UnusableImageError(
            f"label map: {numbers[strange][0]} stands for no class; expected "
            + ", ".join(f"{value} {name}" for value, name in zip(known, classes, strict=True))
        )
    return found.astype(np.uint8)


def prepared(
    content: bytes,
    *,
    classes: Sequence[str],
    values: Sequence[int],
    shape: Sequence[int],
    size: int,
    fit: str,
) -> tuple[bytes, list[str]]:
    """A file's bytes as a PNG of classes, fitted like its image; and the classes in it.

    Args:
        content: As `load`.
        classes: As `load`.
        values: As `load`.
        shape: Height and width of the image as it was before it was fitted.
        size: Of the fitted square; 0 leaves it as it is.
        fit: Row of FITS.

    Raises:
        UnusableImageError: As `load`; or another size than the image's, or a fit that moves.
    """
    if preprocessing.FITS[fit].moves:
        raise images.UnusableImageError(
            f"label map: --fit {fit} moves the image, and cannot move its map"
        )
    found = load(content, classes, values)
    if found.shape != tuple(shape):
        sizes = [f"{width} x {height}" for height, width in (found.shape, shape)]
        raise images.UnusableImageError(f"label map: {sizes[0]}, its image {sizes[1]}")
    if size:
        found, _ = preprocessing.FITS[fit].make(found, size, nearest=True)
    there = [classes[place] for place in np.unique(found)]
    return cv2.imencode(".png", found)[1].tobytes(), there
