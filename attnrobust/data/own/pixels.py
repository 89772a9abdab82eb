"""Arrays of images as 8-bit pixels; every usual mistake with them is named."""

from __future__ import annotations

from typing import Any

import numpy as np

from attnrobust.errors import UserError

WANTED = "uint8, or floats in [0, 1], of shape (N, H, W, 3), (N, H, W, 1) or (N, H, W)"


def as_bytes(images: Any, what: str) -> np.ndarray:
    """Images as uint8 (N, H, W, 3) or (N, H, W), or the reason why not.

    Raises:
        UserError: NCHW, volumes, RGBA; whole numbers other than uint8; floats that are not in
            [0, 1], NaN.
    """
    try:
        found = np.asarray(images)
    except ValueError:
        raise UserError(f"{what}: of different shapes; expected {WANTED}") from None
    if found.ndim == 4 and found.shape[3] == 1:
        found = found[..., 0]
    _check_shape(found, what)
    if found.dtype.kind == "f":
        _check_floats(found, what)
        return np.rint(found.astype(np.float32) * 255).astype(np.uint8)
    if found.dtype != np.uint8:
        raise UserError(f"{what}: {found.dtype}; expected {WANTED}")
    return found


def _check_shape(found: np.ndarray, what: str) -> None:
    shape = f"{what}: shape {found.shape}"
    if found.ndim == 4 and found.shape[3] != 3 and found.shape[1] in (1, 3):
        raise UserError(
            f"{shape} looks like NCHW; expected NHWC: np.transpose(images, (0, 2, 3, 1))"
        )
    if found.ndim == 4 and found.shape[3] == 4:
        raise UserError(f"{shape}: four channels; expected RGB: images[..., :3] drops transparency")
    if found.ndim == 5 or (found.ndim == 4 and found.shape[3] > 4):
        raise UserError(f"{shape}: volumes in 3-D, which are not read; expected {WANTED}")
    if found.ndim not in (3, 4) or (found.ndim == 4 and found.shape[3] != 3):
        raise UserError(f"{shape}; expected {WANTED}")
    if not found.size:
        raise UserError(f"{shape}: no image; expected {WANTED}")


def _check_floats(found: np.ndarray, what: str) -> None:
    finite = np.isfinite(found).reshape(len(found), -1).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise UserError(f"{what}: NaN or infinity in {(~finite).sum():,}, the first is {first}")
    low, high = float(found.min()), float(found.max())
    if low < -1e-6:
        raise UserError(
            f"{what}: floats from {low:.3g} to {high:.3g}; expected [0, 1], before any "
            "preprocessing of a model's: undo it, as (images + 1) / 2 undoes one to [-1, 1]"
        )
    if high > 1 + 1e-6:
        raise UserError(
            f"{what}: floats up to {high:.4g}; expected [0, 1], or uint8: images / 255, or "
            "images.astype('uint8')"
        )


def check_brightness(brightest: int, what: str) -> None:
    """Refuse images that are all but black, as of floats that were cast.

    Args:
        brightest: The highest value of all, of 255.
        what: They are called, for messages.

    Raises:
        UserError: It is 0 or 1.
    """
    if brightest <= 1:
        raise UserError(
            f"{what}: none is brighter than {brightest} of 255: divided by 255 twice, or floats in "
            f"[0, 1] cast to uint8? expected {WANTED}"
        )
