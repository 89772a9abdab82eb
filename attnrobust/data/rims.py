"""Whether a circle is the rim of an eye, where the light ends abruptly, and where just it ends."""

from __future__ import annotations

import numpy as np

from attnrobust.data import circles
from attnrobust.data.circles import TOLERANCE

# The light's steepest fall is looked for within these shares of the radius, one after the other.
SEARCHED = (0.1, 0.04)
# A rim is looked for in so many directions, where the frame shows it and not all is black.
DIRECTIONS = 180
ANGLES = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
COS, SIN = np.cos(ANGLES), np.sin(ANGLES)
RING = np.column_stack([COS, SIN])
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

# Of a halo's radius: where an eye in it may end; to what share of its light, in a sixth of that.
HALO = (0.72, 0.98)
HALO_FALL = 0.75


def light_at(bright: np.ndarray, circle: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Light (len(shares), DIRECTIONS) at shares of a circle's radius; NaN outside the frame."""
    x, y, radius = circle
    far = radius * shares[:, None]
    columns = np.rint(x + far * COS).astype(int)
    rows = np.rint(y + far * SIN).astype(int)
    height, width = bright.shape
    framed_rows, framed_columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    light = bright[framed_rows, framed_columns].astype(np.float64)
    light[(rows != framed_rows) | (columns != framed_columns)] = np.nan
    return light


def sharpened(bright: np.ndarray, circle: np.ndarray) -> np.ndarray:
    """The circle through the places nearby where the light falls most."""
    for searched in SEARCHED:
        shares = 1 + searched * np.linspace(-1, 1, 25)
        light = light_at(bright, circle, shares)
        # As the eye sees light: a soft rim ends where it gets dark, not where it begins to fade.
        seen = np.sqrt(light)
        fall = seen[:-4] - seen[4:]
        fall[np.isnan(fall)] = 0
        # A sharp edge falls in several windows alike: it lies in the middle of them.
        place = (fall.argmax(axis=0) + len(fall) - 1 - fall[::-1].argmax(axis=0)) // 2
        directions = np.arange(DIRECTIONS)
        edge = light[place + 4, directions] < (1 - DROP) * light[place, directions]
        if edge.sum() < ARCS * DIRECTIONS:
            return circle
        radii = circle[2] * shares[place[edge] + 2]
        points = circle[:2] + radii[:, None] * RING[edge]
        for _ in range(2):
            nearly = circles.least_squares(points)
            off = np.abs(circles.distances(nearly, points) - nearly[2])
            points = points[off <= max(TOLERANCE * nearly[2], _median(off))]
        fitted = circles.least_squares(points)
        if (
            not np.isfinite(fitted).all()
            or np.abs(fitted - circle).max() > 2 * searched * circle[2]
        ):
            return circle
        circle = fitted
    return circle


def _median(values: np.ndarray) -> float:
    """Of at least one; of so few, several times as fast as NumPy's."""
    ordered = np.sort(values)
    return float(ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2


def nanmedian(light: np.ndarray) -> np.ndarray:
    """Medians of the last axis, NaN left out: as NumPy's, but an eighth of its time for so few."""
    ordered, count = np.sort(light, axis=-1), np.isfinite(light).sum(axis=-1)[..., None]
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    return np.asarray((low + np.take_along_axis(ordered, count // 2, axis=-1))[..., 0] / 2)


def rim(bright: np.ndarray, circle: np.ndarray, black: float) -> tuple[float, float]:
    """How much of a circle (x, y, radius) is the rim of an eye, and how clear it is, each 0 to 1.

    The share of directions that show an edge, of those that could; and this share, times that of
    the light that ends at the circle, more where more of it is to be seen. Both 0 where the arcs
    that show an edge do not tell the circle.
    """
    inner, inside, outside, outer = light_at(bright, circle, np.array(PROFILE))
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


def in_an_eye(bright: np.ndarray, circle: np.ndarray) -> bool:
    """Whether a small circle lies in what is lit: an optic nerve or a flare, and no eye's rim."""
    x, y, radius = circle
    if radius > SMALL * max(bright.shape):
        return False
    rows, columns = np.ogrid[: bright.shape[0], : bright.shape[1]]
    far = np.hypot(columns - x, rows - y) / radius
    light = np.median(bright[far < PROFILE[0]]) if (far < PROFILE[0]).any() else 0.0
    return bool((bright[far > PROFILE[-1]] > light / 4).mean() > LIT_AROUND)


def in_a_halo(bright: np.ndarray, circle: np.ndarray) -> bool:
    """Whether light ends abruptly within a circle, too, all around: an eye may lie in a halo."""
    light = nanmedian(light_at(bright, circle, np.linspace(*HALO, 12)))
    return bool((light[2:] < HALO_FALL * light[:-2]).any())
