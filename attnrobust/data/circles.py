"""The circle that most of the edge of what is lit lies on (RANSAC, then least squares)."""

from __future__ import annotations

import functools

import cv2
import numpy as np

# How far from a circle its edge may be, as a share of the radius.
TOLERANCE = 0.015
# Share of the edge that may lie outside the circle: cameras print a notch there.
OUTSIDE = 0.1
# Radius as a share of the photograph's long side.
RADII = (0.1, 0.75)
# Share of the whole circle, cut or not, that must be lit.
FILLED = 0.5
# Circles that are tried, and points of the edge that judge them.
TRIPLES = 200
POINTS = 100


def fitted(mask: np.ndarray) -> np.ndarray | None:
    """The circle (x, y, radius) that most of a mask's edge lies on, if it could hold an eye."""
    lit = _largest(mask)
    edge, free = _edge(lit)
    circles = _circles_through(free, max(lit.shape))
    if not len(circles):
        return None
    best = _most_agreed(circles, edge, free)
    for _ in range(3):
        near = np.abs(distances(best, free) - best[2]) < TOLERANCE * best[2]
        if near.sum() < 3:
            return None
        best = least_squares(free[near])
        if not _likely(best[2], max(lit.shape)):
            return None
    x, y, radius = best
    inside = cv2.circle(np.zeros_like(lit), (round(x), round(y)), round(radius), (1,), cv2.FILLED)
    return best if (inside & lit).sum() >= FILLED * np.pi * radius**2 else None


def _most_agreed(circles: np.ndarray, edge: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The circle that most points agree with, of those out of which hardly any lie."""
    some, all_ = free[:: -(-len(free) // POINTS)], edge[:: -(-len(edge) // POINTS)]
    centres, radii = circles[:, :2], circles[:, 2:]
    # Squares of the distances, all at once: |p - c|^2 = |p|^2 - 2pc + |c|^2.
    far = (some**2).sum(1) - 2 * centres @ some.T + (centres**2).sum(1)[:, None]
    low, high = (radii * (1 + share) for share in (-TOLERANCE, TOLERANCE))
    votes = ((far > low**2) & (far < high**2)).sum(1)
    for each in np.argsort(-votes, kind="stable"):
        circle = circles[each]
        out = distances(circle, all_) > circle[2] * (1 + 2 * TOLERANCE)
        if votes[each] and out.mean() <= OUTSIDE:
            return circle
    return circles[0]


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest piece of a mask without holes, uint8 0 or 1."""
    found = np.zeros(mask.shape, np.uint8)
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
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
    a, b, c = (points[column] for column in _triples(len(points)))
    # Equally far from a and b, and from a and c: two linear equations in the centre.
    (p, q), (r, s) = 2 * (b - a).T, 2 * (c - a).T
    first, second = ((other**2 - a**2).sum(1) for other in (b, c))
    area = p * s - q * r
    sound = np.abs(area) > 1
    area = np.where(sound, area, 1)
    x, y = (first * s - second * q) / area, (second * p - first * r) / area
    radii = np.sqrt((x - a[:, 0]) ** 2 + (y - a[:, 1]) ** 2)
    return np.column_stack([x, y, radii])[sound & _likely(radii, side)]


@functools.lru_cache(maxsize=1024)
def _triples(count: int) -> np.ndarray:
    """Numbers (3, TRIPLES) below a count."""
    return np.random.default_rng(0).integers(count, size=(TRIPLES, 3)).T


def _likely(radii: np.ndarray, side: int) -> np.ndarray:
    return (radii >= RADII[0] * side) & (radii <= RADII[1] * side)


def distances(circle: np.ndarray, points: np.ndarray) -> np.ndarray:
    """From a circle's centre to each point."""
    x, y = points[:, 0] - circle[0], points[:, 1] - circle[1]
    return np.sqrt(x * x + y * y)  # several times as fast as np.hypot


def least_squares(points: np.ndarray) -> np.ndarray:
    """The circle x^2 + y^2 = 2ax + 2by + c nearest to the points (Kasa), by their moments."""
    middle = points.sum(0) / len(points)
    x, y = (points - middle).T
    square = x * x + y * y
    xx, xy, yy = x @ x, x @ y, y @ y
    right_x, right_y, area = square @ x / 2, square @ y / 2, xx * yy - xy * xy
    if not area > 0:  # All on a line.
        return np.full(3, np.nan)
    a, b = (right_x * yy - right_y * xy) / area, (right_y * xx - right_x * xy) / area
    radius = np.sqrt(a * a + b * b + (xx + yy) / len(points))
    return np.array([a + middle[0], b + middle[1], radius])
