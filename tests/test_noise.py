"""Noise baselines: their size, their randomness, and that they are weaker than an attack."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import noise
from attnrobust.attacks.methods import ATTACKS, settled
from attnrobust.models.replicas import Replicas

SHAPE = (8, 8, 3)
FIXED = [noise.uniform_noise, noise.sign_noise, noise.gaussian_noise]


def affine(seed=0):
    """Two classes, alike on grey."""
    weights = np.random.default_rng(seed).normal(size=(192, 2)).astype(np.float32)
    model = keras.Sequential(
        [keras.layers.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.layers[-1].set_weights([weights, -0.5 * weights.sum(axis=0)])
    return model


def some(number, low=0.3, high=0.7):
    return np.random.default_rng(1).uniform(low, high, (number, *SHAPE)).astype(np.float32)


def names(number):
    return [f"image-{i}" for i in range(number)]


def drawn(make, images, epsilon, ids=None, labels=None, seed=0, restart=0, model=None):
    attack = make(Replicas(model or affine()), settled(config.Attack()), seed)
    labels = np.zeros(len(images), int) if labels is None else labels
    ids = ids or names(len(images))
    made, queries = attack(tf.constant(images), tf.constant(labels), ids, epsilon, restart)
    return np.asarray(made), queries


def test_sizes():
    images = some(16)
    uniform, queries = drawn(noise.uniform_noise, images, 0.1)
    assert queries.tolist() == [1] * 16
    change = uniform - images
    assert np.abs(change).max() == pytest.approx(0.1, abs=1e-3)
    assert change.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.05)
    sign, _ = drawn(noise.sign_noise, images, 0.1)
    np.testing.assert_allclose(np.abs(sign - images), 0.1, rtol=1e-5)
    assert abs((sign > images).mean() - 0.5) < 0.03
    gaussian, _ = drawn(noise.gaussian_noise, images, 1.5)
    change = (gaussian - images).reshape(16, -1)
    np.testing.assert_allclose(np.linalg.norm(change, axis=1), 1.5, rtol=1e-5)
    # Kurtosis 3, which of a uniform draw would be 1.8.
    assert np.mean((change / change.std()) ** 4) == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("epsilon", [0.5, 5.0])
def test_gaussian_noise_spends_its_budget_on_black_images_too(epsilon):
    images = np.zeros((4, *SHAPE), np.float32)
    made, _ = drawn(noise.gaussian_noise, images, epsilon)
    size = np.linalg.norm((made - images).reshape(4, -1), axis=1)
    np.testing.assert_allclose(size, epsilon, rtol=1e-4)
    assert (size <= epsilon + 1e-6).all()
    assert made.max() <= 1


def test_gaussian_noise_larger_than_the_box_fills_it():
    images = np.full((2, *SHAPE), 0.5, np.float32)
    made, _ = drawn(noise.gaussian_noise, images, 100.0)
    np.testing.assert_allclose(made, np.round(made), atol=1e-6)


@pytest.mark.parametrize("make", FIXED)
def test_box_ball_and_key(make):
    images = some(6, 0, 1)
    images[0] = np.round(images[0])
    epsilon, order = 0.2, 2 if make is noise.gaussian_noise else np.inf
    made, _ = drawn(make, images, epsilon)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    size = np.linalg.norm((made - images).reshape(6, -1), ord=order, axis=1)
    assert (size <= epsilon + 1e-6).all()
    alone, _ = drawn(make, images[[3, 3]], epsilon, ids=["image-3"] * 2)
    np.testing.assert_array_equal(alone[0], made[3])
    assert not np.array_equal(made, drawn(make, images, epsilon, seed=1)[0])
    assert not np.array_equal(made, drawn(make, images, epsilon, restart=1)[0])


def test_noise_is_weaker_than_pgd():
    model = affine()
    images = some(64)
    labels = model(images).numpy().argmax(1)
    fallen = {}
    makes = {"uniform": noise.uniform_noise, "sign": noise.sign_noise}
    makes["pgd"] = ATTACKS["linf_pgd"].make
    for name, make in makes.items():
        made, _ = drawn(make, images, 0.03, labels=labels, model=model)
        fallen[name] = (model(made).numpy().argmax(1) != labels).mean()
    assert fallen["uniform"] < fallen["pgd"] / 2
    assert fallen["sign"] < fallen["pgd"] / 2
    assert fallen["pgd"] > 0.9


def bright():
    """Class 1 as soon as the image's sum passes 64 pixels' worth of grey, and a bit."""
    model = keras.Sequential(
        [keras.layers.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    weights = np.zeros((192, 2), np.float32)
    weights[:, 1] = 1
    model.layers[-1].set_weights([weights, np.array([0, -30.5], np.float32)])
    return model


def test_salt_and_pepper_finds_the_fewest_pixels_of_its_order():
    # On black, pepper does nothing and a grain of salt adds 3: eleven are needed.
    images = np.zeros((16, *SHAPE), np.float32)
    made, queries = drawn(noise.salt_and_pepper, images, np.inf, model=bright())
    assert set(np.unique(made)) == {0.0, 1.0}
    assert ((made != images).any(axis=-1).sum(axis=(1, 2)) == 11).all()
    assert (made[..., 0] == made[..., 2]).all()
    # The image, 0, 1, 2, … 32, 64 pixels, then six halvings.
    assert queries.tolist() == [15] * 16
    alone, _ = drawn(noise.salt_and_pepper, images[:2], np.inf, ids=["image-5"] * 2, model=bright())
    np.testing.assert_array_equal(alone[1], made[5])
    assert len(np.unique(made.reshape(16, -1), axis=0)) == 16


def test_salt_and_pepper_leaves_what_is_wrong_or_never_falls():
    model = bright()
    images = some(2)
    labels = np.array([0, 1])
    weights = model.layers[-1].get_weights()
    assert model(images).numpy().argmax(1).tolist() == [1, 1]
    made, _ = drawn(noise.salt_and_pepper, images, np.inf, labels=labels, model=model)
    np.testing.assert_array_equal(made[0], images[0])
    model.layers[-1].set_weights([weights[0], np.array([0, 1], np.float32)])
    made, _ = drawn(noise.salt_and_pepper, images, np.inf, labels=labels, model=model)
    np.testing.assert_array_equal(made, images)


@pytest.mark.parametrize("largest", [1, 2, 3, 7, 8, 9, 100])
def test_the_ladder_finds_every_threshold(largest):
    thresholds = np.arange(largest + 2)
    found, queries = noise._fewest(lambda amount: amount >= thresholds, largest + 2, largest)
    assert found.tolist() == [*range(largest + 1), -1]
    assert queries <= 2 * largest.bit_length() + 2
