"""Settings and storage. Every function: rng, float32 image (H, W, 3) in [0, 1], level."""

from __future__ import annotations

import cv2
import numpy as np


def brightness(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """x + level, clipped.

    Source: Hendrycks and Dietterich 2019 with their five levels, but on red, green and blue, not on
    the value of HSV, which would colour nearly black pixels.
    """
    del rng
    return image + np.float32(level)


def contrast(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """m + level (x - m), m the mean of each channel.

    Source: Hendrycks and Dietterich 2019; milder levels.
    """
    del rng
    mean = image.mean(axis=(0, 1))
    return mean + np.float32(level) * (image - mean)


def jpeg(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """Rounded to 8 bits, stored as JPEG of quality `level`, read again (OpenCV).

    Source: Hendrycks and Dietterich 2019; the levels are MedMNIST-C's (Di Salvo et al. 2024).
    """
    del rng
    bytes_ = np.rint(image[..., ::-1] * 255).astype(np.uint8)
    _, stored = cv2.imencode(".jpg", bytes_, [cv2.IMWRITE_JPEG_QUALITY, round(level)])
    return cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255


def pixelate(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """Averaged down to the share `level` of each side, then up again by the nearest pixel.

    Source: Hendrycks and Dietterich 2019; blocks of about 2, 3, 4, 6 and 8 pixels.
    """
    del rng
    height, width = image.shape[:2]
    small = (max(1, round(level * width)), max(1, round(level * height)))
    averaged = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(averaged, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
