"""Noise of sensors. Every function: rng, float32 image (H, W, 3) in [0, 1], level; not yet clipped.

In a grey image (three equal channels) the noise is the same in all channels, so that it stays grey;
in a colour image each channel has its own.
"""

from __future__ import annotations

import numpy as np

from attnrobust.errors import UserError

# Over the displayed range of a radiograph the transmitted dose falls by exp(3), about 20 times.
ATTENUATION = 3.0


def is_grey(image: np.ndarray) -> bool:
    """Whether the three channels are equal."""
    return bool((image[..., 1:] == image[..., :1]).all())


def _normal(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Standard normal, (H, W, 1) for a grey image and (H, W, 3) for a colour one."""
    channels = 1 if is_grey(image) else 3
    return rng.standard_normal((*image.shape[:2], channels), dtype=np.float32)


def gaussian_noise(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """x + n, n normal with mean 0 and variance `level`.

    Source: Martinez-Martinez and Nabavi, section III B: variances 0.1 to 1. They give no formula;
    this is scikit-image's `random_noise(mode='gaussian')`, whose words they use.
    """
    return image + np.float32(np.sqrt(level)) * _normal(rng, image)


def speckle(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """x + x n, n normal with mean 0 and variance `level`.

    Source: Martinez-Martinez and Nabavi, section III B: variances 0.1 to 1; the formula is that of
    scikit-image's `random_noise(mode='speckle')`.
    """
    return image + image * (np.float32(np.sqrt(level)) * _normal(rng, image))


def salt_and_pepper(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """A share `level` of the pixels becomes black or white, each with probability one half.

    A pixel is all three channels, also in a colour image, where scikit-image's `s&p` draws for each
    channel.

    Source: Martinez-Martinez and Nabavi, section III B: amounts 0.1 to 1.

    Raises:
        UserError: A share above 1.
    """
    if level > 1:
        raise UserError(f"level {level} of salt_and_pepper: expected at most 1 (amount)")
    drawn = rng.random((*image.shape[:2], 1), dtype=np.float32)
    extreme = (drawn >= level / 2).astype(np.float32)
    return np.where(drawn < level, extreme, image)


def rician(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """|x + n1 + i n2|, n1 and n2 normal with mean 0 and standard deviation `level`.

    The noise of a magnitude image of magnetic resonance: it lifts dark regions.

    Source: Gudbjartsson and Patz 1995, The Rician distribution of noisy MRI data.
    """
    sigma = np.float32(level)
    real = image + sigma * _normal(rng, image)
    return np.hypot(real, sigma * _normal(rng, image))


def low_dose(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """-log(k / N) / 3 with k Poisson of mean N exp(-3 x), at least 1/2; N is `level`.

    Beer-Lambert: a displayed value x stands for the share exp(-3 x) of N photons a pixel that
    passed the body, so that dense (bright) parts get the most noise. The 3 is ours: display values
    do not tell the true attenuation.
    """
    grey = is_grey(image)
    mean = level * np.exp(-ATTENUATION * image[..., :1] if grey else -ATTENUATION * image)
    counts = np.maximum(rng.poisson(mean), 0.5).astype(np.float32)
    noisy = np.log(np.float32(level) / counts) / np.float32(ATTENUATION)
    return np.broadcast_to(noisy, image.shape)
