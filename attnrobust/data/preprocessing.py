"""OpenCV image preparation, done once, before images become records.

Every function takes and gives uint8 RGB (H, W, 3).
"""

from __future__ import annotations

import cv2
import numpy as np


def stretch(image: np.ndarray, size: int) -> np.ndarray:
    """To (size, size), each side on its own; the whole image stays, its shape does not."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    # Averaging over source pixels avoids aliasing when shrinking; when growing, cubic is smooth.
    shrinks = size <= min(height, width)
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=how)


def crop(image: np.ndarray, size: int) -> np.ndarray:
    """The largest centred square, to (size, size)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return stretch(image[top : top + side, left : left + side], size)


def pad(image: np.ndarray, size: int) -> np.ndarray:
    """The whole image centred on a black square, to (size, size)."""
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = cv2.copyMakeBorder(
        image, top, side - height - top, left, side - width - left, cv2.BORDER_CONSTANT
    )
    return stretch(square, size)


FITS = {"stretch": stretch, "crop": crop, "pad": pad}
