"""Pictures as small as they can stand on a page, each once."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import Executor, Future

import numpy as np

from attnrobust.report import pictures

# What a lossy picture may lose, step by step: share of its sides, quality.
STEPS = ((1.0, 80), (1.0, 50), (1.0, 25), (1.0, 10), (0.5, 50), (0.5, 20), (0.25, 50))


def text(data: bytes) -> str:
    """Bytes in base64."""
    return base64.b64encode(data).decode("ascii")


def floats(values: np.ndarray) -> str:
    """Numbers as float32, little endian, in base64: exact, and shorter than digits."""
    return text(np.ascontiguousarray(values, dtype="<f4").tobytes())


def levels(values: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1] to uint8, rounded."""
    return np.asarray(np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def webp(pixels: np.ndarray, limit: int) -> bytes:
    """A picture as WebP: without loss where that fits, else the best that does, or the smallest.

    Args:
        pixels: uint8, RGB (H, W, 3) or grey (H, W).
        limit: Bytes that it may take.
    """
    # The trial is what costs: at many times the limit hardly any picture fits.
    if pixels.size <= TRY * limit and len(data := pictures.webp(pixels)) <= limit:
        return data
    for scale, quality in STEPS:
        data = pictures.webp(pictures.smaller(pixels, scale), quality)
        if len(data) <= limit:
            break
    return data


class Store:
    """Pictures by number: the same pixels have the same number and are kept once.

    Attributes:
        share: What part of the bytes that are asked for a picture gets.
    """

    def __init__(self, share: float, pool: Executor) -> None:
        self.share = share
        self._pool = pool  # Pillow encodes without holding Python's lock.
        self._made: list[Future[bytes]] = []
        self._numbers: dict[bytes, int] = {}

    def pictures(self) -> list[str]:
        """Each as WebP in base64, in the order of their numbers."""
        return [text(each.result()) for each in self._made]

    def add(self, pixels: np.ndarray, bytes_a_pixel: float) -> int:
        """The number of a picture, uint8 RGB (H, W, 3) or grey (H, W).

        Args:
            pixels: The picture.
            bytes_a_pixel: What it may take, before it is shared.
        """
        seen = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if seen not in self._numbers:
            limit = int(self.share * bytes_a_pixel * pixels.shape[0] * pixels.shape[1]) + HEAD
            self._numbers[seen] = len(self._made)
            self._made.append(self._pool.submit(webp, pixels, limit))
        return self._numbers[seen]


TRY = 4
# Bytes of a file's head, and what the smallest picture needs besides.
HEAD = 300
