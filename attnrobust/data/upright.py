"""Whether a photograph of an eye is upside down: by the camera's notch, and by the optic nerve.

In an upright photograph of a right eye the optic nerve lies on the right, of a left eye on the
left; turned by 180 degrees, the other way round. So it does where a photograph is mirrored or named
after the wrong eye: where the notch contradicts, nothing is told.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from attnrobust.data.graham import photographed

YES, NO, UNKNOWN = "yes", "no", "cannot tell"
# Where the notch stands in a photograph that is upright, and in one that is not.
NOTCHES = {"upper right": NO, "lower left": YES}

# The eye is looked at on a square with sides of so many pixels, within these radii.
SIDE = 128
WITHIN = 0.88
# The nerve's head is the brightest spot of green against what lies around it: blurs' sigmas as
# shares of the radius, how far above or below the middle it may be, and by how many grey levels
# it is brighter: those of our photographs are by 30 or more.
SPOT = (0.08, 0.35)
SPOT_HEIGHT = 0.45
SPOT_BRIGHT = 8
# Around it the vessels run up and down: dark lines, looked for within these bounds.
LINES_WITHIN, LINES_HEIGHT = 0.85, 0.5
# From the middle, in radii: what is nearer tells no side.
SPOT_OFF, LINES_OFF = 0.15, 0.03


def turned(notch: str, nerve: str, eye: str) -> str:
    """Whether a photograph is upside down: YES, NO or UNKNOWN.

    Args:
        notch: Where `fundus.notch` found it, or empty.
        nerve: Side of the optic nerve, as `nerve_side` says: `left`, `right` or empty.
        eye: Which eye it is, `left` or `right`; empty where nobody knows.
    """
    said = {NOTCHES[notch]} if notch else set()
    if nerve and eye:
        said.add(NO if nerve == eye else YES)
    return said.pop() if len(said) == 1 else UNKNOWN


def nerve_side(square: np.ndarray) -> str:
    """The side of an eye on which its optic nerve lies: `left`, `right`, or empty if not plain.

    Two signs have to agree: the brightest spot, and vessels that run up and down. On 120 EyePACS
    photographs, judged by eye, they tell it of 76: of 74 rightly, and of two whose nerve cannot be
    seen. The rule was made on the first 60 of them.

    Args:
        square: uint8 RGB (D, D, 3) that the disc fills, as `fundus.centred` gives it.
    """
    shrinks = len(square) >= SIDE
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    small = cv2.resize(square, (SIDE, SIDE), interpolation=how)
    x, y, far = _places()
    shown = photographed(small, far <= 1) > 0
    green = small[..., 1].astype(np.float32)
    spot = np.where(
        shown & (far < LINES_WITHIN) & (np.abs(y) < SPOT_HEIGHT),
        _blurred(green, shown & (far < WITHIN), SPOT[0])
        - _blurred(green, shown & (far < WITHIN), SPOT[1]),
        np.float32(-np.inf),
    )
    lines = cv2.Sobel(cv2.GaussianBlur(green, (0, 0), 1), cv2.CV_32F, 2, 0, ksize=5)
    looked_at = shown & (far < LINES_WITHIN) & (np.abs(y) < LINES_HEIGHT)
    lines = np.where(looked_at, np.maximum(lines, 0), np.float32(0))
    if spot.max() < SPOT_BRIGHT or not lines.any():
        return ""
    at = x.flat[spot.argmax()] / SPOT_OFF, (lines * x).sum() / lines.sum() / LINES_OFF
    if min(at) > 1:
        return "right"
    return "left" if max(at) < -1 else ""


@functools.cache
def _places() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every pixel how far right, how far down and how far off the middle it is, in radii."""
    y, x = (np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2) / (SIDE / 2)
    return x, y, np.hypot(x, y)


def _blurred(channel: np.ndarray, inside: np.ndarray, share: float) -> np.ndarray:
    """Its local mean over what is inside; sigma as a share of the radius."""
    weight, sigma = inside.astype(np.float32), share * SIDE / 2
    covered = cv2.GaussianBlur(weight, (0, 0), sigma)
    return cv2.GaussianBlur(channel * weight, (0, 0), sigma) / np.maximum(covered, 1e-3)
