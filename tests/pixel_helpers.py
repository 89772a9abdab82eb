"""Small segmenters whose logits can be worked out by hand."""

from __future__ import annotations

import numpy as np
from tensorflow import keras

from attnrobust.models.replicas import Replicas

SIDE, CLASSES = 8, 3


def linear(weights: np.ndarray, bias: np.ndarray, side: int = SIDE) -> Replicas:
    """A 1 x 1 convolution: the logits of a pixel are its colours times `weights` (3, K) + bias."""
    model = keras.Sequential(
        [keras.layers.Input((side, side, 3)), keras.layers.Conv2D(len(bias), 1)]
    )
    model.set_weights([np.asarray(weights, "f4").reshape(1, 1, 3, -1), np.asarray(bias, "f4")])
    return Replicas(model)


def bright(side: int = SIDE) -> Replicas:
    """Class 1 where a pixel's first channel is above 1/2, else class 0: logits 0 and r - 1/2."""
    return linear([[0, 1], [0, 0], [0, 0]], [0, -0.5], side)


def convolved(seed: int = 0, side: int = SIDE) -> Replicas:
    """Two 3 x 3 convolutions with random weights, to CLASSES classes, each about as common."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.layers.Input((side, side, 3)),
            keras.layers.Conv2D(8, 3, padding="same", activation="softplus"),
            keras.layers.Conv2D(CLASSES, 3, padding="same", kernel_initializer="he_normal"),
        ]
    )
    last = model.layers[-1]
    last.bias.assign(-model(images(8, seed=9, side=side)).numpy().mean(axis=(0, 1, 2)))
    return Replicas(model)


def images(number: int, seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Random images (number, side, side, 3)."""
    return np.random.default_rng(seed).random((number, side, side, 3)).astype(np.float32)


def labels_of(replicas: Replicas, images: np.ndarray) -> np.ndarray:
    """What the model itself sees: labels that it has right everywhere."""
    return replicas.forward(images).numpy().argmax(axis=-1)
