"""OpenCV image preparation, done once, before images become records.

Every function takes and gives uint8 RGB (H, W, 3). First a fit, then a filter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from attnrobust.data import discs, fundus, upright
from attnrobust.data.graham import graham

Facts = dict[str, float | str]


@dataclass(frozen=True)
class Fit:
    """A row of FITS.

    Attributes:
        make: An image uint8 (H, W, 3) and a size to the square (size, size, 3), and what it found
            in the image, by name. Named arguments: `eye` (`left`, `right` or empty) and `turn`
            (whether what is upside down is to be turned back); where it does not move, `nearest`
            as well, for a map (H, W) of which every pixel keeps one of its numbers.
        pads: It makes a square of the image's longer side on its way.
        moves: What it found lies in the middle, so that an image of the right size is fitted, too,
            no mask can follow, and a size is needed.
        report: Writes what it found in all images: a folder, the summaries of shards, `turn`.
    """

    make: Callable[..., tuple[np.ndarray, Facts]]
    pads: bool = False
    moves: bool = False
    report: Callable[..., None] | None = None


@dataclass(frozen=True)
class Filter:
    """A row of FILTERS.

    Attributes:
        apply: uint8 (H, W, 3) to the same.
        centred: It asks for a fit that moves.
        clips_less: For a warning: what to take where this one clips much.
    """

    apply: Callable[[np.ndarray], np.ndarray]
    centred: bool = False
    clips_less: str = ""


def stretch(image: np.ndarray, size: int, *, nearest: bool = False) -> np.ndarray:
    """To (size, size), each side on its own; the whole image stays, its shape does not."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    if nearest:
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    # Averaging over source pixels avoids aliasing when shrinking; when growing, cubic is smooth.
    shrinks = size <= min(height, width)
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=how)


def crop(image: np.ndarray, size: int, *, nearest: bool = False) -> np.ndarray:
    """The largest centred square, to (size, size)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return stretch(image[top : top + side, left : left + side], size, nearest=nearest)


def pad(image: np.ndarray, size: int, *, nearest: bool = False) -> np.ndarray:
    """The whole image centred on a black square, to (size, size)."""
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = cv2.copyMakeBorder(
        image, top, side - height - top, left, side - width - left, cv2.BORDER_CONSTANT
    )
    return stretch(square, size, nearest=nearest)


def disc(
    image: np.ndarray, size: int, *, eye: str = "", turn: bool = False
) -> tuple[np.ndarray, Facts]:
    """A fundus photograph's eye, centred, touching the sides, on black, to (size, size).

    Args:
        image: uint8 RGB (H, W, 3).
        size: Of the square.
        eye: `left` or `right`, where it is known.
        turn: Turn it by 180 degrees where it is upside down.

    Returns:
        The square, and the row of `disc.csv` but its id (`discs.COLUMNS`).

    Raises:
        UnusableImageError: A black photograph, or no disc in it.
    """
    found = fundus.find_disc(image)
    square = fundus.centred(image, found)
    notch = fundus.notch(image, found)
    turned = upright.turned(notch, upright.nerve_side(square) if eye else "", eye)
    values: list[float | str] = [*(round(value, 2) for value in found), notch, turned]
    square = stretch(square, size)
    if turn and turned == upright.YES:
        square = np.ascontiguousarray(square[::-1, ::-1])
    return square, dict(zip(discs.COLUMNS[1:], values, strict=True))


def identity(image: np.ndarray) -> np.ndarray:
    """The image as it is."""
    return image


# Of the blur of `gaussian_high_pass`, px; and the image's size at which that is the paper's share,
# as of the data set's own images.
SIGMA, FULL_SIZE = 20.0, 1024


def high_pass_steps(image: np.ndarray, sigma: float = SIGMA) -> dict[str, np.ndarray]:
    """The steps of `gaussian_high_pass` by name, float32, not clipped; sigma in pixels."""
    low, high = float(image.min()), float(image.max())
    # A constant image has no range to stretch; its high-pass is 128 whatever its value.
    scale = 255 / (high - low) if high > low else 0.0
    normalized = (image.astype(np.float32) - low) * np.float32(scale)
    blurred = cv2.GaussianBlur(normalized, (0, 0), sigmaX=sigma)
    return {
        "min-max": normalized,
        "blur": blurred,
        "result": 4 * normalized - 4 * blurred + 128,
    }


def gaussian_high_pass(image: np.ndarray) -> np.ndarray:
    """Edges and shadowed areas on grey 128: x' = 4x - 4 blur(x) + 128, clipped to [0, 255].

    x is the image min-max normalized to [0, 255] over all its pixels; the blur is Gaussian with
    sigma 20 pixels, its kernel size chosen by OpenCV. Rounded once, at the end.

    The paper says neither at which size this is done nor how it rounds. Here it comes after the
    fit, so that 20 pixels are the same share of every image. At 299 px that is a wide blur, which
    leaves much of a chest pure black or white (see `gaussian_high_pass_by_size`).

    Source: Wasserman, section 3.2 and figure 1.
    """
    result = high_pass_steps(image)["result"]
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def gaussian_high_pass_by_size(image: np.ndarray) -> np.ndarray:
    """The same with a sigma of 20 / 1,024 of the longer side: the paper's at the X-rays' own size.

    A smaller image is filtered as if that had been done before it was made smaller, and hardly
    clipped.
    """
    sigma = SIGMA * max(image.shape[:2]) / FULL_SIZE
    result = high_pass_steps(image, sigma)["result"]
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def _alone(fit: Callable[..., np.ndarray]) -> Callable[..., Any]:
    """A fit that looks for nothing."""

    @functools.wraps(fit)
    def alone(
        image: np.ndarray, size: int, *, nearest: bool = False, **_: Any
    ) -> tuple[np.ndarray, Facts]:
        return fit(image, size, nearest=nearest), {}

    return alone


FITS: dict[str, Fit] = {
    "stretch": Fit(_alone(stretch)),
    "crop": Fit(_alone(crop)),
    "pad": Fit(_alone(pad), pads=True),
    "disc": Fit(disc, moves=True, report=discs.report),
}
FILTERS: dict[str, Filter] = {
    "none": Filter(identity),
    "gaussian_high_pass": Filter(
        gaussian_high_pass,
        clips_less="--filter gaussian_high_pass_by_size, whose sigma is a share of --size",
    ),
    "gaussian_high_pass_by_size": Filter(gaussian_high_pass_by_size),
    "graham": Filter(graham, centred=True),
}
