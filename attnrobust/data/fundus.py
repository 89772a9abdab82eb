"""Fundus photographs: find the eye's disc and centre it.

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
# What is brighter than this share of the 99th percentile is taken for the eye, and its edge for the
# rim, as long as that is not CLEAR: a low one keeps a dark rim, a high one is not taken in by a
# background that a program has stretched along with the eye, by a halo or by a flare.
LIT = (0.06, 0.1, 0.16, 0.24, 0.33, 0.45, 0.66, 0.8)
CLEAR = 0.55
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

# The light's steepest fall is looked for within these shares of the radius, one after the other.
SEARCHED = (0.1, 0.04)
# A rim is looked for in so many directions, where the frame shows it and not all is black.
DIRECTIONS = 180
# There the light falls between the middle two of these radii by DROP of what it was, and by STEEP
# times what it changes between the outer pairs: a spot of light fades, a rim ends.
PROFILE = (0.88, 0.95, 1.05, 1.12)
DROP = 0.3
STEEP = 1.5
# Or to less than this share of it, whatever the eye shows beside its rim.
DARK = 0.2
# Share of these directions in which it must be seen, share of all directions, and the widest gap
# between them, as a share of a turn: a circle is not known from an arc at one side.
SEEN = 0.4
ARCS = 0.08
GAP = 0.45

# A circle this small, as a share of the long side, is no eye where so much else is lit.
SMALL = 0.25
LIT_AROUND = 0.1

# Of a halo's radius: where an eye in it may end; to what share of its light, in a sixth of that;
# what share of the halo's edge must be seen of the eye's.
HALO = (0.72, 0.98)
HALO_FALL = 0.75
WITHIN = 0.9

# Of the radius: where the eye is lit, and two places in a notch; how bright that is at least, and
# over how many directions it may go.
TAB = (0.94, 1.035, 1.05)
LIT_TAB = 0.3
WIDEST_TAB = 8


class Disc(NamedTuple):
    """Centre and radius in pixels; the centre of the first pixel is (0, 0).

    And how sure that is: the share of the rim that shows an edge, of what the frame shows of it.
    """

    x: float
    y: float
    radius: float
    seen: float


def find_disc(image: np.ndarray) -> Disc:
    """The circle of the eye's field of view, also where the frame or a black bar cuts it.

    The edge of what is lit is matched with circles through three of its points (RANSAC), at several
    levels of light; the one that most of the edge agrees with is then fitted to those points by
    least squares. So flat cuts at any side, the camera's notch, specks in the background and parts
    of the eye that are too dark do not move it. Of these circles the one is taken along which the
    light ends most abruptly, as it does at a rim, but not at the border of a spot of light, a halo
    or a flare. A circle looks the same upside down: inverted eyes are found as well as others, and
    are not turned back.

    Raises:
        UnusableImageError: A black photograph, or no such circle in it.
    """
    scale = min(1.0, WORKING_SIDE / max(image.shape[:2]))
    bright = cv2.medianBlur(_shrunk(image, scale).max(axis=2), 5)
    high = np.percentile(bright, 99)
    if high < BLACK:
        raise UnusableImageError(f"black photograph: 99 % of its pixels are below {BLACK} of 255")
    found: list[tuple[float, float, np.ndarray]] = []
    for share in LIT:
        circle = _circle(bright > share * high)
        if circle is None:
            continue
        circle = _sharpened(bright, circle)
        seen, clear = _rim(bright, circle, LIT[0] * high)
        if seen >= SEEN and not _in_an_eye(bright, circle):
            found.append((clear, seen, circle))
            if clear >= CLEAR and not _in_a_halo(bright, circle):
                break
    if not found:
        raise UnusableImageError(
            "no eye disc found: no circle whose rim shows an edge over at least "
            f"{SEEN:.0%} of what the frame holds of it"
        )
    _, seen, (x, y, radius) = _inmost(found)
    # The middle of a shrunken pixel is the middle of those that it came from.
    return Disc((x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5, radius / scale, seen)


def notch(image: np.ndarray, disc: Disc) -> str:
    """Where the camera's notch stands at the eye's rim: `upper right`, `lower left`, or empty.

    A small lit tab just outside the rim, half way between up and right in a photograph that is
    upright. At the lower left it tells that the photograph is upside down; without one nothing is
    told.
    """
    bright = cv2.medianBlur(image.max(axis=2), 3)
    inside, *outside = _light(bright, np.array(disc[:3]), np.array(TAB))
    lit = np.flatnonzero((np.nan_to_num(outside) > LIT_TAB * np.nanmedian(inside)).all(axis=0))
    if not len(lit) or len(lit) > WIDEST_TAB or np.ptp(lit) >= WIDEST_TAB:
        return ""
    angle = 360 * lit.mean() / DIRECTIONS
    places = {315.0: "upper right", 135.0: "lower left"}
    return next((name for at, name in places.items() if abs(angle - at) < 15), "")


def centred(image: np.ndarray, disc: Disc | None = None) -> np.ndarray:
    """The square around the eye's disc, black where the frame cut it: uint8 RGB (D, D, 3).

    D is the disc's diameter, so that the disc touches all four sides.

    Args:
        image: uint8 RGB (H, W, 3).
        disc: As `find_disc` gives it, where it is known already.

    Raises:
        UnusableImageError: As `find_disc`.
    """
    x, y, radius, _ = disc or find_disc(image)
    side = round(2 * radius)
    left, top = round(x + 0.5 - side / 2), round(y + 0.5 - side / 2)
    height, width = image.shape[:2]
    square = np.zeros((side, side, 3), np.uint8)
    part = image[max(0, top) : min(height, top + side), max(0, left) : min(width, left + side)]
    down, right = max(0, -top), max(0, -left)
    square[down : down + part.shape[0], right : right + part.shape[1]] = part
    return square


def _shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _light(bright: np.ndarray, circle: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Light (len(shares), DIRECTIONS) at shares of a circle's radius; NaN outside the frame."""
    x, y, radius = circle
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    columns = np.rint(x + radius * shares[:, None] * np.cos(angles)).astype(int)
    rows = np.rint(y + radius * shares[:, None] * np.sin(angles)).astype(int)
    height, width = bright.shape
    framed = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    light = bright[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    return np.where(framed, light, np.nan)


def _sharpened(bright: np.ndarray, circle: np.ndarray) -> np.ndarray:
    """The circle through the places nearby where the light falls most."""
    for searched in SEARCHED:
        shares = 1 + searched * np.linspace(-1, 1, 25)
        light = _light(bright, circle, shares)
        # As the eye sees light: a soft rim ends where it gets dark, not where it begins to fade.
        fall = np.nan_to_num(np.sqrt(light[:-4]) - np.sqrt(light[4:]))
        # A sharp edge falls in several windows alike: it lies in the middle of them.
        place = (fall.argmax(axis=0) + len(fall) - 1 - fall[::-1].argmax(axis=0)) // 2
        directions = np.arange(DIRECTIONS)
        edge = light[place + 4, directions] < (1 - DROP) * light[place, directions]
        if edge.sum() < ARCS * DIRECTIONS:
            return circle
        radii = circle[2] * shares[place[edge] + 2]
        angles = 2 * np.pi * directions[edge] / DIRECTIONS
        points = circle[:2] + radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
        for _ in range(3):
            fitted = _least_squares(points)
            off = np.abs(_distances(fitted[None], points)[0] - fitted[2])
            points = points[off <= max(TOLERANCE * fitted[2], np.median(off))]
        if (
            not np.isfinite(fitted).all()
            or np.abs(fitted - circle).max() > 2 * searched * circle[2]
        ):
            return circle
        circle = fitted
    return circle


def _rim(bright: np.ndarray, circle: np.ndarray, black: float) -> tuple[float, float]:
    """How much of a circle (x, y, radius) is the rim of an eye, and how clear it is, each 0 to 1.

    The share of directions that show an edge, of those that could; and this share, times that of
    the light that ends at the circle, more where more of it is to be seen. Both 0 where the arcs
    that show an edge do not tell the circle.
    """
    inner, inside, outside, outer = _light(bright, circle, np.array(PROFILE))
    fall = inside - outside
    # Where the frame ends just outside the rim the last pair is no evidence against it.
    around = np.fmax(np.abs(inner - inside), np.abs(outside - outer))
    possible = np.isfinite(outside) & (np.fmax(inner, inside) > black)
    steep = (fall > DROP * inside) & (fall > STEEP * around)
    dark = (outside < DARK * inside) & (inside > 2 * black)
    edge = possible & (steep | dark)
    where = np.flatnonzero(edge)
    if len(where) < ARCS * DIRECTIONS:
        return 0.0, 0.0
    gaps = np.diff(where, append=where[0] + DIRECTIONS)
    if gaps.max() > GAP * DIRECTIONS:
        return 0.0, 0.0
    share = float(edge.sum() / possible.sum())
    ended = np.clip(fall / np.maximum(inside, 1), 0, 1)[possible].mean()
    return share, float(share * ended * np.sqrt(possible.sum() / DIRECTIONS))


def _in_an_eye(bright: np.ndarray, circle: np.ndarray) -> bool:
    """Whether a small circle lies in what is lit: an optic nerve or a flare, and no eye's rim."""
    x, y, radius = circle
    if radius > SMALL * max(bright.shape):
        return False
    rows, columns = np.ogrid[: bright.shape[0], : bright.shape[1]]
    far = np.hypot(columns - x, rows - y) / radius
    light = np.median(bright[far < PROFILE[0]]) if (far < PROFILE[0]).any() else 0.0
    return bool((bright[far > PROFILE[-1]] > light / 4).mean() > LIT_AROUND)


def _in_a_halo(bright: np.ndarray, circle: np.ndarray) -> bool:
    """Whether light ends abruptly within a circle, too, all around: an eye may lie in a halo."""
    light = np.nanmedian(_light(bright, circle, np.linspace(*HALO, 12)), axis=1)
    return bool((light[2:] < HALO_FALL * light[:-2]).any())


def _inmost(found: list[tuple[float, float, np.ndarray]]) -> tuple[float, float, np.ndarray]:
    """The clearest circle, or one in it, around the same centre, that is seen as well.

    Around an eye there may be a halo with an edge of its own; in an eye there is no such circle.
    """
    best = max(found, key=lambda each: each[0])
    x, y, radius = best[2]
    for each in found:
        off = np.hypot(each[2][0] - x, each[2][1] - y) / radius
        if off < 0.05 and 0.75 < each[2][2] / radius < 0.95 and each[1] > WITHIN * best[1]:
            best = min(best, each, key=lambda one: one[2][2])
    return best


def _circle(mask: np.ndarray) -> np.ndarray | None:
    """The circle (x, y, radius) that most of a mask's edge lies on, if it could hold an eye."""
    lit = _largest(mask)
    edge, free = _edge(lit)
    circles = _circles_through(free, max(lit.shape))
    if not len(circles):
        return None
    some = free[:: -(-len(free) // POINTS)]
    allowed = circles[:, 2:] * TOLERANCE
    votes = (np.abs(_distances(circles, some) - circles[:, 2:]) < allowed).sum(1)
    out = _distances(circles, edge[:: -(-len(edge) // POINTS)]) > circles[:, 2:] + 2 * allowed
    votes[out.mean(1) > OUTSIDE] = 0
    best = circles[votes.argmax()]
    for _ in range(3):
        near = _near(best, free)
        if len(near) < 3:
            return None
        best = _least_squares(near)
        if not _likely(best[2], max(lit.shape)):
            return None
    x, y, radius = best
    inside = cv2.circle(np.zeros_like(lit), (round(x), round(y)), round(radius), (1,), cv2.FILLED)
    return best if (inside & lit).sum() >= FILLED * np.pi * radius**2 else None


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
