"""Rician noise, that of magnitude images in magnetic resonance, as visible as a perturbation is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from attnrobust import keyed

# Of SSIM's Gaussian window (Wang et al. 2004): no image is smaller.
WINDOW = 11
TOLERANCE, HALVINGS = 1e-4, 24


def ssim(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Structural similarity (N,) of images (N, H, W, C) in [0, 1] (Wang et al. 2004)."""
    return np.asarray(tf.image.ssim(tf.constant(one), tf.constant(other), max_val=1.0))


def rician(images: np.ndarray, sigma: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Magnitude of an image with Gaussian noise in both of its complex parts, clipped to [0, 1].

    sqrt((image + sigma a)^2 + (sigma b)^2), Gudbjartsson and Patz 1995. One draw for all channels,
    since these are copies of one grey value.

    Args:
        images: float32 (N, H, W, 3) in [0, 1].
        sigma: Of each image (N,).
        noise: Normal draws a and b (N, 2, H, W).
    """
    size = sigma.astype(np.float32)[:, None, None, None]
    real, imaginary = (size * noise[:, part, ..., None] for part in range(2))
    return np.clip(np.hypot(images + real, imaginary), 0, 1)


def matched(
    images: np.ndarray, targets: np.ndarray, ids: Sequence[str], *, key: object
) -> tuple[np.ndarray, np.ndarray]:
    """Images under Rician noise, each of the sigma at which its SSIM is as asked.

    Sigma is found by bisection between 0 and 1, image by image, the same draw at every sigma.

    Args:
        images: float32 (N, H, W, 3) in [0, 1], at least 11 pixels wide and high.
        targets: SSIM of each (N,), 1 for no noise.
        ids: Of the images: the noise depends on them and the key alone.
        key: Of the noise.

    Returns:
        Noisy images, float32 (N, H, W, 3), and the SSIM that each has with its original (N,),
        within 1e-4 of the target where that can be reached.
    """
    shape = (2, *images.shape[1:3])
    noise = np.stack(
        [keyed.generator("rician", key, id_).standard_normal(shape, np.float32) for id_ in ids]
    )
    low, high = np.zeros(len(images)), np.ones(len(images))
    best, reached = images.copy(), np.ones(len(images))
    for step in range(HALVINGS):
        middle = high if step == 0 else (low + high) / 2
        made = rician(images, middle, noise)
        found = ssim(images, made)
        better = np.abs(found - targets) < np.abs(reached - targets)
        best[better], reached[better] = made[better], found[better]
        similar = found > targets
        low, high = np.where(similar, middle, low), np.where(similar, high, middle)
        if (np.abs(reached - targets) <= TOLERANCE).all():
            break
    return best, reached
