"""Fundus photographs: find the eye's disc, centre it, and take out its lighting.

Every function takes uint8 RGB (H, W, 3) of any size; grey photographs come as three equal channels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from attnrobust.data.images import UnusableImageError

# The disc is looked for on a copy whose long side is this, px.
WORKING_SIDE = 512
# A photograph whose 99th percentile is below this (of 255) shows nothing.
BLACK = 16
# What is brighter than this share of the 99th percentile is taken for the eye. The first of them
# whose edge is round over CLEAR is believed, else the best: a low one keeps a dark rim, a high one
# is not taken in by a background that a program has stretched along with the eye.
LIT = (0.06, 0.1, 0.16, 0.24, 0.33, 0.45)
CLEAR = 0.5
# How far from a circle its edge may be, as a share of the radius.
TOLERANCE = 0.015
# Share of the edge that may lie outside the circle: cameras print a notch there.
OUTSIDE = 0.1
# Radius as a share of the photograph's long side.
RADII = (0.1, 0.75)
# Share of the full circle's directions in which its edge must be seen.
SEEN = 0.3
# Share of the whole circle, cut or not, that must be lit.
FILLED = 0.5
# Circles that are tried, and points of the edge that judge them.
TRIPLES = 500
POINTS = 400

# Graham's: gain, the grey put back, and the blur's sigma as a part of the radius.
GAIN = 4
GREY = 128
BLURS_IN_A_RADIUS = 30
# Wu's share of the radius that is kept; Graham kept 0.9, where the blur no longer sees the rim.
KEPT = 0.95


class Disc(NamedTuple):
    """Centre and radius in pixels; the centre of the first pixel is (0, 0)."""

    x: float
    y: float
    radius: float


def find_disc(image: np.ndarray) -> Disc:
    """The circle of the eye's field of view, also where the frame or a black bar cuts it.

    The edge of what is lit is matched with circles through three of its points (RANSAC); the one
    that most of the edge agrees with is then fitted to those points by least squares. So flat cuts
    at any side, the camera's notch, specks in the background and parts of the eye that are too
    dark do not move it. A circle looks the same upside down: inverted eyes are found as well as
    others, and are not turned back.

    Raises:
        UnusableImageError: A black photograph, or no such circle in it.
    """
    scale = min(1.0, WORKING_SIDE / max(image.shape[:2]))
    bright = cv2.medianBlur(_shrunk(image, scale).max(axis=2), 5)
    high = np.percentile(bright, 99)
    if high < BLACK:
        raise UnusableImageError(f"black photograph: 99 % of its pixels are below {BLACK} of 255")
    best, seen = np.zeros(3), 0.0
    for share in LIT:
        circle, round_ = _circle(bright > share * high)
        if round_ > seen:
            best, seen = circle, round_
        if seen >= CLEAR:
            break
    if seen < SEEN:
        raise UnusableImageError(
            f"no eye disc found: its edge is seen over {seen:.0%} of a circle, at least {SEEN:.0%} "
            "expected"
        )
    x, y, radius = best
    # The middle of a shrunken pixel is the middle of those that it came from.
    return Disc((x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5, radius / scale)


def centred(image: np.ndarray) -> np.ndarray:
    """The square around the eye's disc, black where the frame cut it: uint8 RGB (D, D, 3).

    D is the disc's diameter, so that the disc touches all four sides.

    Raises:
        UnusableImageError: As `find_disc`.
    """
    x, y, radius = find_disc(image)
    side = round(2 * radius)
    left, top = round(x + 0.5 - side / 2), round(y + 0.5 - side / 2)
    height, width = image.shape[:2]
    square = np.zeros((side, side, 3), np.uint8)
    part = image[max(0, top) : min(height, top + side), max(0, left) : min(width, left + side)]
    down, right = max(0, -top), max(0, -left)
    square[down : down + part.shape[0], right : right + part.shape[1]] = part
    return square


def graham_steps(image: np.ndarray) -> dict[str, np.ndarray]:
    """The steps of `graham` by name, float32, not clipped."""
    height, width = image.shape[:2]
    radius = min(height, width) / 2
    own = image.astype(np.float32)
    # Black outside, on every side alike.
    blurred = cv2.GaussianBlur(own, (0, 0), radius / BLURS_IN_A_RADIUS,
                               borderType=cv2.BORDER_CONSTANT)  # fmt: skip
    difference = GAIN * own - GAIN * blurred + GREY
    y, x = np.ogrid[:height, :width]
    inside = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) <= KEPT * radius
    return {
        "local mean": blurred,
        "difference": difference,
        "result": np.where(inside[..., None], difference, np.float32(GREY)),
    }


def graham(image: np.ndarray) -> np.ndarray:
    """An eye without its lighting: x' = 4x - 4 blur(x) + 128 in its disc, grey 128 around it.

    For an image that the disc fills, as `centred` gives it. Each channel on its own; the blur is
    Gaussian, its sigma 1/30 of the disc's radius; the disc is clipped to 95 % of its radius, since
    the blur makes a bright rim of the black around it. Outside stands 128, as in Graham's code:
    what "no difference from the mean" is inside, so that the mask adds no edge of its own. A bright
    line stays where the frame cut the disc, as it does in his. Rounded and clipped to [0, 255]
    once, at the end.

    Source: Graham, Kaggle diabetic retinopathy detection competition report (2015); 95 %: Wu,
    Robust Training and Interpretability for Fundus Imaging (2020), section 2.2.
    """
    return np.clip(np.rint(graham_steps(image)["result"]), 0, 255).astype(np.uint8)


def _shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _circle(mask: np.ndarray) -> tuple[np.ndarray, float]:
    """The circle (x, y, radius) that most of a mask's edge lies on, and over what share of it."""
    lit = _largest(mask)
    edge, free = _edge(lit)
    circles = _circles_through(free, max(lit.shape))
    if not len(circles):
        return np.zeros(3), 0.0
    some = free[:: -(-len(free) // POINTS)]
    allowed = circles[:, 2:] * TOLERANCE
    votes = (np.abs(_distances(circles, some) - circles[:, 2:]) < allowed).sum(1)
    out = _distances(circles, edge[:: -(-len(edge) // POINTS)]) > circles[:, 2:] + 2 * allowed
    votes[out.mean(1) > OUTSIDE] = 0
    best = circles[votes.argmax()]
    for _ in range(3):
        near = _near(best, free)
        if len(near) < 3:
            return best, 0.0
        best = _least_squares(near)
        if not _likely(best[2], max(lit.shape)):
            return best, 0.0
    x, y, radius = best
    inside = cv2.circle(np.zeros_like(lit), (round(x), round(y)), round(radius), (1,), cv2.FILLED)
    if (inside & lit).sum() < FILLED * np.pi * radius**2:
        return best, 0.0
    angles = np.arctan2(*(_near(best, free) - best[:2]).T)
    return best, np.unique(np.floor(angles / (2 * np.pi) * 72)).size / 72


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece of a mask without holes, uint8 0 or 1."""
    found = np.zeros(mask.shape, np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea)
    return cv2.drawContours(found, [largest], -1, (1,), cv2.FILLED)


def _edge(lit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 2) of the edge, as x and y: all, and those that the frame did not make."""
    (contour,), _ = cv2.findContours(lit, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    edge = contour[:, 0].astype(np.float64)
    height, width = lit.shape
    inner = ((edge >= 2) & (edge <= np.array([width - 3, height - 3]))).all(axis=1)
    return edge, edge[inner]


def _circles_through(points: np.ndarray, side: int) -> np.ndarray:
    """Circles (N, 3) as x, y, radius through triples of points, always the same for the same."""
    if len(points) < 3:
        return np.empty((0, 3))
    triples = np.random.default_rng(0).integers(len(points), size=(TRIPLES, 3))
    a, b, c = (points[column] for column in triples.T)
    # Equally far from a and b, and from a and c: two linear equations in the centre.
    rows = 2 * np.stack([b - a, c - a], axis=1)
    right = np.stack([(b**2 - a**2).sum(1), (c**2 - a**2).sum(1)], axis=1)
    sound = np.abs(np.linalg.det(rows)) > 1
    centres = np.linalg.solve(rows[sound], right[sound][..., None])[..., 0]
    radii = np.linalg.norm(centres - a[sound], axis=1)
    return np.column_stack([centres, radii])[_likely(radii, side)]


def _likely(radii: np.ndarray, side: int) -> np.ndarray:
    return (radii >= RADII[0] * side) & (radii <= RADII[1] * side)


def _distances(circles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """From each circle's centre to each point."""
    return np.hypot(*(points.T[:, None] - circles[:, :2].T[..., None]))


def _least_squares(points: np.ndarray) -> np.ndarray:
    """The circle x^2 + y^2 = 2ax + 2by + c nearest to the points (Kasa)."""
    rows = np.column_stack([2 * points, np.ones(len(points))])
    a, b, c = np.linalg.lstsq(rows, (points**2).sum(1), rcond=None)[0]
    return np.array([a, b, np.sqrt(c + a**2 + b**2)])


def _near(circle: np.ndarray, points: np.ndarray) -> np.ndarray:
    off = np.abs(_distances(circle[None], points)[0] - circle[2])
    return points[off < TOLERANCE * circle[2]]
