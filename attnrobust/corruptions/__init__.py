"""Corruptions: images as worse equipment, storage or handling would give them. No TensorFlow.

Pixel contract: float32 RGB in [0, 1]; one image is (H, W, 3), a batch (N, H, W, 3). A row of
CORRUPTIONS is called with a generator and one image, since chance belongs to an image:
`CORRUPTIONS[name](rng, image, severity=3)`. Severities are 1 to 5; each stands for a level, in the
unit that the row's formula is written in, and any other level can be asked for as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attnrobust import config, keyed
from attnrobust.corruptions import artefacts, digital, noise, optics
from attnrobust.errors import UserError

SEVERITIES = (1, 2, 3, 4, 5)
KINDS = ("any", "skin", "fundus", "xray")

# Martinez-Martinez and Nabavi, section III B: variance, or amount, from 0.1 to 1.
NOISE_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

# Wu, section 4: four kinds, at random levels from 1 to 4; one of them an image is our reading.
RANDOM = ("light_leakage", "motion_blur", "under_exposure", "over_exposure")
RANDOM_LEVELS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Corruption:
    """A row of CORRUPTIONS.

    Attributes:
        function: `(rng, image, level) -> image`, float32 (H, W, 3), not yet clipped.
        levels: Of severities 1 to 5.
        unit: What a level is.
        kind: The images it belongs to, of KINDS.
    """

    function: Callable[[np.random.Generator, np.ndarray, float], np.ndarray]
    levels: tuple[float, float, float, float, float]
    unit: str
    kind: str = "any"

    def __call__(self, rng: np.random.Generator, image: np.ndarray, *, severity: int) -> np.ndarray:
        """The image (H, W, 3) at a severity. Raises UserError for one that is not 1 to 5."""
        return self.at(rng, image, self.level(severity))

    def at(self, rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
        """The image (H, W, 3) at a level, clipped to [0, 1], float32; the input is left alone."""
        found = self.function(rng, image, level)
        return np.clip(found, 0, 1).astype(np.float32, copy=False)

    def level(self, severity: int) -> float:
        """The level of a severity. Raises UserError for one that is not 1 to 5."""
        if severity not in SEVERITIES:
            raise UserError(f"severity {severity}: expected a whole number from 1 to 5")
        return self.levels[int(severity) - 1]


def corrupt(
    images: np.ndarray, ids: Sequence[str], name: str, severity: int, *, seed: int = 0
) -> np.ndarray:
    """Images at a severity; what becomes of one depends on (seed, its id, name, severity) alone.

    Args:
        images: float32 (N, H, W, 3) in [0, 1]; not changed.
        ids: N image ids.
        name: Row of CORRUPTIONS.
        severity: 1 to 5.
        seed: Of the chance in it; the same for all models that are compared.

    Returns:
        float32 (N, H, W, 3) in [0, 1].

    Raises:
        UserError: Unknown name or severity; the message lists the known ones.
    """
    level = config.lookup("corruption", CORRUPTIONS, name).level(severity)
    return corrupt_at(images, ids, name, level, seed=seed)


def corrupt_at(
    images: np.ndarray, ids: Sequence[str], name: str, level: float, *, seed: int = 0
) -> np.ndarray:
    """As `corrupt`, at a level in the row's own unit; equal to it at the level of a severity.

    Raises:
        UserError: Unknown name, or a level that is not above 0, or a share above 1.
    """
    row = config.lookup("corruption", CORRUPTIONS, name)
    if not 0 < level < float("inf"):
        raise UserError(f"level {level} of {name}: expected above 0 ({row.unit})")
    if images.dtype != np.float32 or images.ndim != 4 or len(images) != len(ids):
        raise ValueError(f"{images.dtype} {images.shape} for {len(ids)} ids: float32 (N, H, W, 3)?")
    found = np.empty_like(images)
    for index, id_ in enumerate(ids):
        found[index] = row.at(keyed.generator(seed, id_, name, float(level)), images[index], level)
    return found


def mixture(rng: np.random.Generator, image: np.ndarray, level: float) -> np.ndarray:
    """One of the four of RANDOM at a severity of 1 to `level`, both drawn (Wu, section 4)."""
    row = CORRUPTIONS[str(rng.choice(RANDOM))]
    highest = min(max(round(level), SEVERITIES[0]), SEVERITIES[-1])
    return row(rng, image, severity=int(rng.integers(1, highest + 1)))


SHARE = "share of the width"
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(noise.gaussian_noise, (0.1, 0.2, 0.4, 0.7, 1.0), "variance"),
    "salt_and_pepper": Corruption(noise.salt_and_pepper, (0.1, 0.2, 0.4, 0.7, 1.0), "amount"),
    "speckle": Corruption(noise.speckle, (0.1, 0.2, 0.4, 0.7, 1.0), "variance"),
    "rician": Corruption(noise.rician, (0.03, 0.06, 0.1, 0.16, 0.25), "standard deviation"),
    "motion_blur": Corruption(optics.motion_blur, (0.03, 0.05, 0.08, 0.12, 0.18), SHARE),
    "defocus": Corruption(optics.defocus, (0.007, 0.012, 0.018, 0.026, 0.036), SHARE),
    "light_leakage": Corruption(optics.light_leakage, (0.3, 0.45, 0.6, 0.75, 0.9), "strength"),
    "under_exposure": Corruption(optics.under_exposure, (1, 2, 3, 4, 5), "stops"),
    "over_exposure": Corruption(optics.over_exposure, (0.5, 1, 1.5, 2, 2.5), "stops"),
    "brightness": Corruption(digital.brightness, (0.1, 0.2, 0.3, 0.4, 0.5), "added"),
    "contrast": Corruption(digital.contrast, (0.7, 0.5, 0.35, 0.2, 0.1), "factor"),
    "jpeg": Corruption(digital.jpeg, (50, 30, 15, 10, 7), "quality"),
    "pixelate": Corruption(digital.pixelate, (1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8), "share kept"),
    "hair": Corruption(artefacts.hair, (5, 10, 20, 35, 60), "hairs", "skin"),
    "bubbles": Corruption(artefacts.bubbles, (3, 6, 12, 22, 40), "bubbles", "skin"),
    "ruler": Corruption(artefacts.ruler, (0.04, 0.07, 0.11, 0.16, 0.22), SHARE, "skin"),
    "drip": Corruption(artefacts.drip, (1, 2, 4, 7, 12), "drops", "fundus"),
    "vignette": Corruption(optics.vignette, (0.2, 0.4, 0.8, 1.4, 2.2), "(R / f)^2", "fundus"),
    "grid_artefact": Corruption(
        artefacts.grid_artefact, (0.015, 0.03, 0.05, 0.08, 0.12), "amplitude", "xray"
    ),
    "low_dose": Corruption(noise.low_dose, (2000, 800, 300, 120, 50), "photons a pixel", "xray"),
    "mixture": Corruption(mixture, (1, 2, 3, 4, 5), "highest severity"),
}
