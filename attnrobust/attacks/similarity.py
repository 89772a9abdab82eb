"""How alike two images look, SSIM, and noise that is as visible as a perturbation is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from attnrobust import keyed
from attnrobust.errors import UserError

# Of SSIM's Gaussian window (Wang et al. 2004): no image is smaller.
WINDOW = 11
TOLERANCE, HALVINGS = 1e-4, 24


def require(image_size: int) -> None:
    """Raise a UserError where images are too small for SSIM's window."""
    if image_size < WINDOW:
        raise UserError(f"data.image_size = {image_size}: SSIM needs at least {WINDOW}")


def ssim(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Structural similarity of each pair of images (N, H, W, C) in [0, 1]: (N,), 1 for equal ones.

    Mean over the places of an 11 x 11 Gaussian window of deviation 1.5, and over the channels, with
    constants 0.01 and 0.03 (Wang et al. 2004), as TensorFlow has it.
    """
    return np.asarray(_ssim(tf.constant(one), tf.constant(other)))


@tf.function(reduce_retracing=True)
def _ssim(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    return tf.image.ssim(one, other, max_val=1.0)


class Noise(NamedTuple):
    """A kind of noise.

    Attributes:
        name: Of its draws, for their key.
        draw: A generator and the shape of an image to what does not depend on the strength.
        add: Images (N, H, W, C), strengths (N, 1, 1, 1) and draws (N, …) to noisy images.
    """

    name: str
    draw: Callable[[np.random.Generator, Sequence[int]], np.ndarray]
    add: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _rician(images: np.ndarray, sigma: np.ndarray, draws: np.ndarray) -> np.ndarray:
    real, imaginary = (sigma * draws[:, part, ..., None] for part in range(2))
    return np.asarray(np.hypot(images + real, imaginary))


GAUSSIAN = Noise(
    "matched noise",
    lambda rng, shape: rng.standard_normal(tuple(shape), np.float32),
    lambda images, sigma, draws: images + sigma * draws,
)
# Of magnitude images in magnetic resonance: Gaussian in both complex parts (Gudbjartsson and Patz
# 1995), one draw for all channels, since these are copies of one grey value.
RICIAN = Noise(
    "rician",
    lambda rng, shape: rng.standard_normal((2, *shape[:2]), np.float32),
    _rician,
)
NOISES = {"gaussian": GAUSSIAN, "rician": RICIAN}


def fitting(images: np.ndarray) -> Noise:
    """Rician for grey images (N, H, W, 3), as those of magnetic resonance, else Gaussian."""
    return RICIAN if (images == images[..., :1]).all() else GAUSSIAN


def matched_noise(
    images: np.ndarray,
    targets: np.ndarray,
    ids: Sequence[str],
    *,
    key: object,
    noise: Noise = GAUSSIAN,
) -> tuple[np.ndarray, np.ndarray]:
    """Images under noise, each of the deviation at which its SSIM is as asked.

    The deviation is found by bisection between 0 and 1, image by image, the same noise at every
    deviation; noisy images are clipped to [0, 1]. Less similar than under a deviation of 1 none
    gets.

    Args:
        images: float32 (N, H, W, C) in [0, 1].
        targets: SSIM of each (N,), 1 for no noise.
        ids: Of the images: the noise depends on them and the key alone.
        key: Of the noise.
        noise: Its kind.

    Returns:
        Noisy images, float32 (N, H, W, C), and the SSIM that each has with its original (N,),
        within 1e-4 of the target where that can be reached.
    """
    draws = np.stack(
        [noise.draw(keyed.generator(noise.name, key, id_), images.shape[1:]) for id_ in ids]
    )
    low, high = np.zeros(len(images)), np.ones(len(images))
    # Without noise SSIM is 1.
    best, reached = images.copy(), np.ones(len(images))
    for step in range(HALVINGS):
        middle = high if step == 0 else (low + high) / 2
        sigma = middle.astype(np.float32)[:, None, None, None]
        made = np.clip(noise.add(images, sigma, draws), 0, 1)
        found = ssim(images, made)
        # An image that is near enough stays as it is, whatever others of its batch still need.
        better = np.abs(found - targets) < np.abs(reached - targets)
        better &= np.abs(reached - targets) > TOLERANCE
        best[better], reached[better] = made[better], found[better]
        similar = found > targets
        low, high = np.where(similar, middle, low), np.where(similar, high, middle)
        if (np.abs(reached - targets) <= TOLERANCE).all():
            break
    return best, reached
