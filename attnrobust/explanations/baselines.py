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


def _noisy(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Gaussian noise of standard deviation 1 around the image (Margeloiu et al. 2020, B.2).

    The paper does not say whether it is clipped; both forms have a row.
    """
    return image + rng.standard_normal(image.shape, dtype=np.float32)


def _blurred(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The image under a Gaussian blur (Sturmfels et al. 2020)."""
    del rng
    sigma = BLUR * image.shape[0]
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT).reshape(
        image.shape
    )


def _mean_colour(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The image's own mean colour everywhere."""
    del rng
    return np.broadcast_to(image.mean(axis=(0, 1), dtype=np.float32), image.shape)


BASELINES: dict[str, Baseline] = {
    "black": Baseline(lambda _, image: np.zeros_like(image)),
    "white": Baseline(lambda _, image: np.ones_like(image)),
    # Wu 2020, section 5; Margeloiu et al. 2020, B.2.
    "uniform_noise": Baseline(lambda rng, image: rng.random(image.shape, np.float32), random=True),
    "gaussian": Baseline(lambda rng, image: np.clip(_noisy(rng, image), 0, 1), random=True),
    "gaussian_unclipped": Baseline(_noisy, random=True),
    "blurred": Baseline(_blurred),
    "mean_colour": Baseline(_mean_colour),
}
