"""Fundus photographs: find the eye's disc and centre it.

Every function takes uint8 RGB (H, W, 3) of any size; grey photographs come as three equal channels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from attnrobust.data import circles, rims
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
# What share of a halo's edge must be seen of that of the eye in it.
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
    bright = cv2.medianBlur(_brightest(_shrunk(image, scale)), 5)
    high = float(np.percentile(bright, 99))
    if high < BLACK:
        raise UnusableImageError(f"black photograph: 99 % of its pixels are below {BLACK} of 255")
    found: list[tuple[float, float, np.ndarray]] = []
    for share in LIT:
        circle = circles.fitted(bright > int(share * high))
        if circle is None:
            continue
        circle = rims.sharpened(bright, circle)
        seen, clear = rims.rim(bright, circle, LIT[0] * high)
        if seen >= rims.SEEN and not rims.in_an_eye(bright, circle):
            found.append((clear, seen, circle))
            if clear >= CLEAR and not rims.in_a_halo(bright, circle):
                break
    if not found:
        raise UnusableImageError(
            "no eye disc found: no circle whose rim shows an edge over at least "
            f"{rims.SEEN:.0%} of what the frame holds of it"
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
    bright = cv2.medianBlur(_brightest(image), 3)
    inside, *outside = rims.light_at(bright, np.array(disc[:3]), np.array(TAB))
    lit = np.flatnonzero((np.nan_to_num(outside) > LIT_TAB * rims.nanmedian(inside)).all(axis=0))
    if not len(lit) or len(lit) > WIDEST_TAB or np.ptp(lit) >= WIDEST_TAB:
        return ""
    angle = 360 * lit.mean() / rims.DIRECTIONS
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


def _brightest(image: np.ndarray) -> np.ndarray:
    """The largest of the three channels (H, W)."""
    red, green, blue = cv2.split(image)
    return cv2.max(cv2.max(red, green), blue)


def _shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


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
