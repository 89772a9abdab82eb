"""Things in the picture. Every function: rng, float32 image (H, W, 3) in [0, 1], level.

Lengths are shares of the image's width. The drawings are ours; no data set's own artefacts are
copied.
"""

from __future__ import annotations

import cv2
import numpy as np

from attnrobust.corruptions.optics import field_of_view, grid

# OpenCV draws to 1/16 of a pixel.
SHIFT = 4
INSIDE = (255,)
# Lines a pixel; beyond half a line no sampling shows them.
FINEST = 0.45
HAIR = np.array([0.13, 0.09, 0.07], np.float32)
INK = np.array([0.08, 0.08, 0.1], np.float32)


def _mix(image: np.ndarray, mask: np.ndarray, colour: np.ndarray, opacity: float) -> np.ndarray:
    """The colour over the image where the mask (H, W), uint8 0 to 255, is set."""
    share = (mask.astype(np.float32) * np.float32(opacity / 255))[..., np.newaxis]
    return image + share * (colour - image)


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.rint(points * 2**SHIFT).astype(np.int32)


def hair(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """`level` dark hairs: quadratic Bezier curves, most of them in one drawn direction.

    Length 0.3 to 0.9 widths, thickness 0.002 to 0.009, opacity 0.8.
    """
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    step = np.linspace(0, 1, 12)[:, np.newaxis]
    main = rng.uniform(0, np.pi)
    for _ in range(round(level)):
        middle = rng.uniform(0, 1, 2) * (width, height)
        angle, half = rng.normal(main, 0.5), rng.uniform(0.15, 0.45) * width
        along = np.array([np.cos(angle), np.sin(angle)])
        bend = middle + rng.uniform(-0.5, 0.5) * half * along[::-1] * (-1, 1)
        start, end = middle - half * along, middle + half * along
        curve = (1 - step) ** 2 * start + 2 * step * (1 - step) * bend + step**2 * end
        thick = max(1, round(rng.uniform(0.002, 0.009) * width))
        cv2.polylines(mask, [_fixed(curve)], False, INSIDE, thick, cv2.LINE_AA, SHIFT)
    return _mix(image, mask, HAIR, 0.8)


def bubbles(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """`level` air bubbles in the immersion fluid: a bright rim, a dark line in it, a glint.

    Radius 0.02 to 0.09 widths.
    """
    height, width = image.shape[:2]
    bright, dark = np.zeros((2, height, width), np.uint8)
    for _ in range(round(level)):
        middle = rng.uniform(0, 1, 2) * (width, height)
        radius = rng.uniform(0.02, 0.09) * width
        thick = max(1, round(radius * 0.1))
        for mask, share in ((bright, 1.0), (dark, 0.87)):
            centre, size = _fixed(middle).tolist(), round(radius * share * 2**SHIFT)
            cv2.circle(mask, centre, size, INSIDE, thick, cv2.LINE_AA, SHIFT)
        glint = _fixed(middle - 0.4 * radius).tolist()
        cv2.circle(bright, glint, round(radius * 0.12 * 2**SHIFT), INSIDE, -1, cv2.LINE_AA, SHIFT)
    darker = _mix(image, dark, np.zeros(3, np.float32), 0.3)
    return _mix(darker, bright, np.ones(3, np.float32), 0.5)


def ruler(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """A black scale along a drawn side: 25 ticks a width, every fifth `level` widths long.

    The others are 0.6 times as long.
    """
    turns = int(rng.integers(4))
    turned = np.rot90(image, turns)
    height, width = turned.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    unit = image.shape[1]
    edge, thick = 0.03 * unit, max(1, round(0.008 * unit))
    for tick, column in enumerate(np.arange(rng.uniform(0, unit / 25), width, unit / 25)):
        length = level * unit * (1 if tick % 5 == 0 else 0.6)
        start, end = _fixed(np.array([[column, edge], [column, edge + length]])).tolist()
        cv2.line(mask, start, end, INSIDE, thick, cv2.LINE_AA, SHIFT)
    start, end = _fixed(np.array([[0.0, edge], [width, edge]])).tolist()
    cv2.line(mask, start, end, INSIDE, thick, cv2.LINE_AA, SHIFT)
    return np.rot90(_mix(turned, mask, INK, 0.9), -turns)


def drip(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """`level` drops on the lens: soft ellipses in which the image is out of focus and hazy.

    Radius 0.05 to 0.12 widths, up to 1.6 times as high as wide; inside, 0.55 of the image blurred
    with sigma 0.03 widths and 0.45 of a pale haze. The black frame stays black.
    """
    column, row = grid(image)
    clear = np.ones(image.shape[:2], np.float32)
    for _ in range(round(level)):
        (x, y), radius = rng.uniform(-0.35, 0.35, 2).tolist(), rng.uniform(0.05, 0.12)
        high = radius * rng.uniform(1, 1.6)
        far = ((column - x) / radius) ** 2 + ((row - y) / high) ** 2
        clear *= 1 - 1 / (1 + far.astype(np.float32) ** 4)
    drops = (1 - clear)[..., np.newaxis] * field_of_view(image)
    soft = cv2.GaussianBlur(image, (0, 0), 0.03 * image.shape[1])
    haze = np.float32(0.55) * soft + np.array([0.36, 0.33, 0.27], np.float32)
    return image + drops * (haze - image)


def grid_artefact(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """x + level sin(2 pi f u + p): the lines of an anti-scatter grid, aliased by the sampling.

    u runs across the lines, which stand upright or lie, tilted by up to 2 degrees; f is drawn from
    20 to 45 lines a width, but at most 0.45 a pixel; the phase p uniformly. Added, since a
    radiograph shows the logarithm of what the strips take away.
    """
    column, row = grid(image)
    angle = rng.integers(2) * np.pi / 2 + np.radians(rng.uniform(-2, 2))
    across = column * np.float32(np.cos(angle)) + row * np.float32(np.sin(angle))
    lines = min(rng.uniform(20, 45), FINEST * image.shape[1])
    phase = rng.uniform(0, 2 * np.pi)
    wave = np.sin(np.float32(2 * np.pi * lines) * across + np.float32(phase))
    return image + np.float32(level) * wave[..., np.newaxis]
