"""Graham's filter: fundus photographs without their lighting."""

from __future__ import annotations

import functools

import cv2
import numpy as np

# Graham's: gain, the grey put back, and the blur's sigma as a part of the radius.
GAIN = 4
GREY = 128
BLURS_IN_A_RADIUS = 30
# Wu's share of the radius that is kept; Graham kept 0.9, where the blur no longer sees the rim.
KEPT = 0.95
# Rows and columns at the sides are no photograph where they are darker than this share of the disc
# and near-black, of 255: an eye may be dark at one side. And the share of the square beyond which
# they matter, and which is cut off with them: edges are soft.
DARK = 0.2
NEAR_BLACK = 8
EDGE = 0.02


def graham_steps(image: np.ndarray) -> dict[str, np.ndarray]:
    """The steps of `graham` by name, float32, not clipped."""
    mean, difference, kept = _against_the_mean(image)
    return {
        "local mean": mean,
        "difference": difference,
        "result": np.where(kept[..., None], difference, np.float32(GREY)),
    }


def _against_the_mean(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local mean, difference from it, and where (H, W) that is kept."""
    height, width = image.shape[:2]
    radius = min(height, width) / 2
    distance = _from_the_middle(height, width)
    shown = photographed(image, distance <= radius)
    own = image.astype(np.float32)
    whole = bool(shown.all())
    if not whole:
        own[shown == 0] = 0
    # Black outside, as around a disc, but for the sides where the photograph ends before it.
    mean: np.ndarray = cv2.GaussianBlur(own, (0, 0), _sigma(own), borderType=cv2.BORDER_CONSTANT)
    if not whole:
        covered = cv2.GaussianBlur(shown, (0, 0), _sigma(own), borderType=cv2.BORDER_REPLICATE)
        mean /= np.maximum(covered, np.finfo(np.float32).eps)[..., None]
    difference: np.ndarray = cv2.subtract(own, mean)
    difference *= GAIN
    difference += GREY
    kept = distance <= KEPT * radius
    return mean, difference, kept if whole else (shown > 0) & kept


def _sigma(image: np.ndarray) -> float:
    return min(image.shape[:2]) / 2 / BLURS_IN_A_RADIUS


@functools.lru_cache(maxsize=1)
def _from_the_middle(height: int, width: int) -> np.ndarray:
    y, x = np.ogrid[:height, :width]
    return np.hypot(y - (height - 1) / 2, x - (width - 1) / 2).astype(np.float32)


def photographed(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The rectangle that a photograph fills of the square around its disc: 1 there, else 0.

    The camera's frame, or black bars, may end before the disc does: rows and columns at the sides
    that are black all along the disc.

    Args:
        image: uint8 RGB (H, W, 3) that the disc fills.
        inside: (H, W) where the disc lies.

    Returns:
        float32 (H, W).
    """
    red, green, blue = cv2.split(image)
    bright = cv2.max(cv2.max(red, green), blue) * inside
    shown = np.ones(bright.shape, np.float32)
    for axis, lines in ((1, shown), (0, shown.T)):
        mean = bright.sum(axis) / np.maximum(inside.sum(axis), 1)
        lit = np.flatnonzero(mean > min(NEAR_BLACK, DARK * mean.mean()))
        soft = int(np.ceil(EDGE * len(mean)))
        if len(lit) and lit[0] > soft:
            lines[: lit[0] + soft] = 0
        if len(lit) and lit[-1] < len(mean) - 1 - soft:
            lines[lit[-1] + 1 - soft :] = 0
    return shown


def graham(image: np.ndarray) -> np.ndarray:
    """An eye without its lighting: x' = 4x - 4 blur(x) + 128 in its disc, grey 128 around it.

    For an image that the disc fills, as `centred` gives it. Each channel on its own; the blur is
    Gaussian, its sigma 1/30 of the disc's radius; the disc is clipped to 95 % of its radius, since
    the blur makes a bright rim of the black around it. Where the photograph ends before its disc
    the blur is the mean of what was photographed: what the frame cut off is not dark, and must not
    leave a bright line (Graham's code mirrors the photograph there). Outside stands 128, as in his:
    what "no difference from the mean" is inside, so that the mask adds no edge of its own. Rounded
    and clipped to [0, 255] once, at the end.

    Source: Graham, Kaggle diabetic retinopathy detection competition report (2015); 95 %: Wu,
    Robust Training and Interpretability for Fundus Imaging (2020), section 2.2.
    """
    _, difference, kept = _against_the_mean(image)
    # OpenCV rounds and clips as NumPy does, three times as fast.
    found: np.ndarray = cv2.add(difference, 0, dtype=cv2.CV_8U)  # type: ignore[call-overload]
    np.copyto(found, np.uint8(GREY), where=~kept[..., None])
    return found
