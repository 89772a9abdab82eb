"""What DAG goes for: class maps that differ from the label in the pixels that are to change.

(labels (N, H, W), number of classes, a generator for each image) to maps (N, H, W). No TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

Target = Callable[[np.ndarray, int, Sequence[np.random.Generator]], np.ndarray]

# Share of the pixels that `random_class` changes: "a small percentage" in the paper.
SHARE = 0.1
# The structure grows by this part of the image's shorter side on every side, at least a pixel.
GROWTH = 1 / 32


def background(labels: np.ndarray, classes: int, rngs: Sequence[np.random.Generator]) -> np.ndarray:
    """Background everywhere (type A of Paschali et al. 2018)."""
    return np.zeros_like(labels)


def random_class(
    labels: np.ndarray, classes: int, rngs: Sequence[np.random.Generator]
) -> np.ndarray:
    """A tenth of the pixels, drawn at random, becomes one class, drawn for the image (type B)."""
    made = labels.copy()
    for one, rng in zip(made, rngs, strict=True):
        class_ = rng.integers(classes)
        one[rng.random(one.shape) < SHARE] = class_
    return made


def dilated(labels: np.ndarray, classes: int, rngs: Sequence[np.random.Generator]) -> np.ndarray:
    """One structure, drawn from those of the image, grows over what is around it (type C).

    An image without a structure is its own target: nothing is to change.
    """
    made = labels.copy()
    growth = max(1, round(min(labels.shape[1:]) * GROWTH))
    for one, rng in zip(made, rngs, strict=True):
        structures = np.setdiff1d(one, [0])
        if len(structures):
            class_ = rng.choice(structures)
            one[ndimage.binary_dilation(one == class_, iterations=growth)] = class_
    return made
