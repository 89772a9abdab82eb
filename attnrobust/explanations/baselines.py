"""BASELINES: where the path of integrated gradients begins, an image without what is looked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

# Standard deviation of the blur, as a share of the image's height: no lesion is left.
BLUR = 0.1


@dataclass(frozen=True)
class Baseline:
    """A kind of baseline.

    Attributes:
        of: A generator and an image (H, W, 3) in [0, 1] to its baseline, float32 (H, W, 3).
        random: It draws, so that several are averaged over.
    """

    of: Callable[[np.random.Generator, np.ndarray], np.ndarray]
    random: bool = False


def black(_: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """All 0 (Wu 2020, section 5; Margeloiu et al. 2020, B.2)."""
    return np.zeros_like(image)


def white(_: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """All 1 (Margeloiu et al. 2020, B.2)."""
    return np.ones_like(image)


def uniform_noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Noise, uniform in [0, 1] (Wu 2020, section 5; Margeloiu et al. 2020, B.2)."""
    return rng.random(image.shape, np.float32)


def gaussian(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """As `gaussian_unclipped`, clipped to [0, 1]: the paper does not say which."""
    return np.clip(gaussian_unclipped(rng, image), 0, 1)


def gaussian_unclipped(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Gaussian noise of standard deviation 1 around the image (Margeloiu et al. 2020, B.2)."""
    return image + rng.standard_normal(image.shape, dtype=np.float32)


def blurred(_: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The image under a Gaussian blur (Sturmfels et al. 2020)."""
    sigma = BLUR * image.shape[0]
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT).reshape(
        image.shape
    )


def mean_colour(_: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The image's own mean colour everywhere."""
    return np.broadcast_to(image.mean(axis=(0, 1), dtype=np.float32), image.shape)


BASELINES: dict[str, Baseline] = {
    "black": Baseline(black),
    "white": Baseline(white),
    "uniform_noise": Baseline(uniform_noise, random=True),
    "gaussian": Baseline(gaussian, random=True),
    "gaussian_unclipped": Baseline(gaussian_unclipped, random=True),
    "blurred": Baseline(blurred),
    "mean_colour": Baseline(mean_colour),
}
