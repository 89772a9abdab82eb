"""Models whose robust accuracy is known, and one way to run an attack on them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import methods
from attnrobust.models.replicas import Replicas

SIDE = 6
_known: dict[keras.Model, Replicas] = {}


def linear(classes: int, scale: float = 1.0, offset: float = 0.5) -> keras.Model:
    """Logits W'(x - offset) for images (6, 6, 3)."""
    model = keras.Sequential(
        [keras.layers.Input((SIDE, SIDE, 3)), keras.layers.Flatten(), keras.layers.Dense(classes)]
    )
    weights = np.random.default_rng(classes).normal(size=(SIDE * SIDE * 3, classes)) * scale
    model.layers[-1].set_weights([weights, -offset * weights.sum(axis=0)])
    return model


def smooth(classes: int) -> keras.Model:
    """A small random network that is not linear, its classes mixed on the images of `noise`."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.layers.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
        ]
    )
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias - model(noise(256)).numpy().mean(axis=0)])
    return model


def noise(number: int, *, edges: bool = False) -> np.ndarray:
    """Images of uniform noise; with `edges` about a third of the pixels at 0 or at 1."""
    images = np.random.default_rng(0).random((number, SIDE, SIDE, 3))
    if edges:
        images = np.clip(1.5 * images - 0.25, 0, 1)
    return images.astype(np.float32)


def predicted(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images).numpy().argmax(axis=1))


def falls(model: keras.Model, images: np.ndarray, labels: np.ndarray, epsilon: float) -> np.ndarray:
    """Which images of a linear model have an L-inf adversarial in ball and box: exact."""
    weights = model.layers[-1].get_weights()[0].astype(np.float64)
    logits = model(images).numpy().astype(np.float64)
    flat = images.reshape(len(images), -1).astype(np.float64)
    fallen = np.zeros(len(images), bool)
    for row, label in enumerate(labels):
        for other in set(range(weights.shape[1])) - {label}:
            way = weights[:, other] - weights[:, label]
            room = np.where(way > 0, 1 - flat[row], flat[row])
            gain = np.abs(way) @ np.minimum(room, epsilon)
            gap = logits[row, label] - logits[row, other] - gain
            assert abs(gap) > 1e-4, "too near the edge to say"
            fallen[row] |= gap < 0
    return fallen


def replicas_of(model, spread=None):
    """The model's, made once: to compile a step takes longer than all its passes here."""
    if model not in _known:
        _known[model] = Replicas(model, spread)
    return _known[model]


def run(
    make, model, images, labels, epsilon, *, ids=None, restart=0, spread=None, seed=0, **settings
):
    """Adversarials, who fell as the model judges them anew, and queries; ball and box checked."""
    setting, replicas = methods.settled(config.Attack(**settings)), replicas_of(model, spread)
    attack = replicas.once((make, setting, seed), lambda: make(replicas, setting, seed))
    names = [f"image-{i}" for i in range(len(images))] if ids is None else ids
    made, queries = attack(tf.constant(images), tf.constant(labels), names, epsilon, restart)
    adversarials = np.asarray(made)
    assert adversarials.shape == images.shape
    assert adversarials.dtype == np.float32
    assert np.asarray(queries).shape == (len(images),)
    assert np.abs(adversarials - images).max() <= epsilon + 1e-6
    assert adversarials.min() >= 0
    assert adversarials.max() <= 1
    return adversarials, predicted(model, adversarials) != labels, np.asarray(queries)
