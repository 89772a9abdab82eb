"""Lens, light and exposure. Every function: rng, float32 image (H, W, 3) in [0, 1], level.

Lengths are shares of the image's width, so that a level means the same at every size. Results are
not yet clipped. Where Wu (fundus photographs) used Zeiss' own, unpublished processing, the formula
is ours.
"""

from __future__ import annotations

import cv2
import numpy as np

from attnrobust.corruptions.noise import is_grey

# A camera's pixel is roughly its light to the power 1 / 2.2.
GAMMA = 2.2
WARM = np.array([1.0, 0.92, 0.75], np.float32)
DARK = 0.06


def grid(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column (1, W) and row (H, 1) of each pixel from the centre, in widths, float32."""
    height, width = image.shape[:2]
    column = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / width
    row = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / width
    return column[np.newaxis], row[:, np.newaxis]


def field_of_view(image: np.ndarray) -> np.ndarray:
    """1 where there is a picture, 0 on the black frame of it; (H, W, 1), soft at the edge.

    The frame is what is nearly black and joined to the border, as around a fundus.
    """
    dark = (image.max(axis=2) < DARK).astype(np.uint8)
    _, parts = cv2.connectedComponents(dark, connectivity=4)
    frame = np.zeros(int(parts.max()) + 1, bool)
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        frame[edge] = True
    frame[0] = False
    return cv2.GaussianBlur((~frame[parts]).astype(np.float32), (5, 5), 0)[..., np.newaxis]


def _convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def _steps(half: float) -> np.ndarray:
    """Pixels from the centre of a kernel that reaches at least `half`, float32."""
    reach = int(np.ceil(half)) + 1
    return np.arange(-reach, reach + 1, dtype=np.float32)


def motion_blur(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """Mean over a straight line of length `level` widths, in a direction drawn uniformly.

    The line is read by bilinear interpolation, so that one shorter than a pixel blurs, too.

    Source: Wu, section 4, levels 1 to 4, names it; the formula is ours.
    """
    length = level * image.shape[1]
    angle = rng.uniform(0, np.pi)
    # A whole number of equal pieces, each at its middle.
    pieces = int(np.ceil(4 * length)) + 1
    along = ((np.arange(pieces) + 0.5) / pieces - 0.5) * length
    steps = _steps(length / 2)
    column = np.clip(1 - np.abs(steps - (along * np.cos(angle))[:, np.newaxis]), 0, None)
    row = np.clip(1 - np.abs(steps - (along * np.sin(angle))[:, np.newaxis]), 0, None)
    return _convolve(image, (row.T @ column).astype(np.float32))


def defocus(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """Mean over a disc of radius `level` widths, and one pixel more, over which it fades.

    Source: Hendrycks and Dietterich 2019, defocus blur.
    """
    del rng
    radius = level * image.shape[1]
    steps = _steps(radius)
    distance = np.hypot(steps[np.newaxis], steps[:, np.newaxis])
    return _convolve(image, np.clip(radius + 1 - distance, 0, 1).astype(np.float32))


def light_leakage(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """1 - (1 - x)(1 - level g): stray light g, a Gaussian from a drawn point of the field's edge.

    Its width is drawn from 0.2 to 0.3; white on grey images, warm on colour. The black frame of a
    fundus stays black.

    Source: Wu, section 4, levels 1 to 4, names it; the formula is ours.
    """
    angle, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.3)
    column, row = grid(image)
    x, y = float(0.45 * np.cos(angle)), float(0.45 * np.sin(angle))
    distance = (column - x) ** 2 + (row - y) ** 2
    glow = np.exp(-distance / (2 * width**2)).astype(np.float32)[..., np.newaxis]
    glow = glow * field_of_view(image) * (1 if is_grey(image) else WARM)
    return 1 - (1 - image) * (1 - np.float32(level) * glow)


def under_exposure(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """(x^2.2 / 2^level)^(1/2.2): `level` stops less light.

    Source: Wu, section 4, levels 1 to 4, names it; the formula is the camera's.
    """
    del rng
    return image * np.float32(2 ** (-level / GAMMA))


def over_exposure(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """(x^2.2 * 2^level)^(1/2.2), clipped: `level` stops more light.

    Source: Wu, section 4, levels 1 to 4, names it; the formula is the camera's.
    """
    del rng
    return image * np.float32(2 ** (level / GAMMA))


def vignette(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """x / (1 + level r^2)^2, r in half widths from a light within 0.15 widths of the centre
    along each axis.

    The cosine-fourth law of illumination, cos^4(t) = 1 / (1 + tan^2 t)^2, with level = (half width
    / focal length)^2.
    """
    column, row = grid(image)
    x, y = rng.uniform(-0.15, 0.15, 2).tolist()
    square = 4 * ((column - x) ** 2 + (row - y) ** 2)
    return image * ((1 + level * square) ** -2).astype(np.float32)[..., np.newaxis]
