"""The attack inside a training step: closed forms, Foolbox as judge, ball and box, starts."""

from __future__ import annotations

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust.training import inner

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 8, 8, 3), dtype=np.float32)
LABELS = np.arange(6) % 2


def linear() -> tuple[keras.Model, np.ndarray]:
    """Two classes, and the weights' difference, other class minus label, for each image."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    difference = np.diff(model.get_weights()[0], axis=1).reshape(8, 8, 3)
    signs = np.where(LABELS == 0, 1, -1).astype(np.float32)
    return model, signs[:, None, None, None] * difference


def convolutional() -> keras.Model:
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 3)),
            keras.layers.Conv2D(6, 3, activation="softplus"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )


def loss_of(model: keras.Model) -> inner.Objective:
    return lambda x: tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, model(x))


def started(norm: str, epsilon: float) -> np.ndarray:
    batches = tf.data.Dataset.from_tensors((IMAGES, LABELS))
    (_, offsets), _ = next(iter(inner.starts(batches, norm, epsilon, (0, 0), gaussian=False)))
    return offsets.numpy()


def test_on_a_linear_model_the_linf_maximum_is_the_closed_form():
    model, direction = linear()
    found = inner.ascend(
        loss_of(model),
        IMAGES,
        started("linf", 0.1),
        norm="linf",
        epsilon=0.1,
        stepsize=0.03,
        steps=7,
    )
    np.testing.assert_allclose(found, np.clip(IMAGES + 0.1 * np.sign(direction), 0, 1), atol=1e-6)


def test_on_a_linear_model_the_l2_maximum_is_the_closed_form():
    model, direction = linear()
    images = 0.25 + IMAGES / 2  # so far inside that the box plays no part
    length = np.sqrt(np.square(direction).sum(axis=(1, 2, 3), keepdims=True))
    found = inner.ascend(
        loss_of(model),
        images,
        np.zeros_like(images),
        norm="l2",
        epsilon=0.2,
        stepsize=0.05,
        steps=7,
    )
    np.testing.assert_allclose(found, images + 0.2 * direction / length, atol=1e-5)


@pytest.mark.parametrize(
    ("norm", "epsilon", "stock"),
    [("linf", 0.05, foolbox.attacks.LinfPGD), ("l2", 0.6, foolbox.attacks.L2PGD)],
)
def test_it_walks_as_foolbox_does_and_stays_in_ball_and_box(norm, epsilon, stock):
    model = convolutional()
    attack = stock(rel_stepsize=0.3, steps=5, random_start=False)
    judge = attack.run(
        foolbox.TensorFlowModel(model, bounds=(0, 1), device="/CPU:0"),
        tf.constant(IMAGES),
        tf.constant(LABELS),
        epsilon=epsilon,
    )
    start = np.zeros_like(IMAGES)
    how = {"norm": norm, "epsilon": epsilon, "stepsize": 0.3 * epsilon, "steps": 5}
    found = inner.ascend(loss_of(model), IMAGES, start, **how).numpy()
    np.testing.assert_allclose(found, judge, atol=2e-6)

    found = inner.ascend(loss_of(model), IMAGES, started(norm, epsilon), **how).numpy()
    before, after = loss_of(model)(IMAGES).numpy(), loss_of(model)(found).numpy()
    assert (after > before).all()
    change = (found - IMAGES).reshape(6, -1)
    size = np.abs(change).max(1) if norm == "linf" else np.linalg.norm(change, axis=1)
    assert size.max() <= epsilon + 1e-6
    assert size.min() > 0.5 * epsilon
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("size", [1.0, 1e-10, 1e-30])
def test_an_l2_step_has_its_length_however_small_the_gradient(size):
    slope = (size * RNG.standard_normal(IMAGES.shape)).astype(np.float32)
    start = np.full_like(IMAGES, 0.5)
    found = inner.ascend(
        lambda x: tf.reduce_sum(x * slope, axis=(1, 2, 3)),
        start,
        0 * start,
        norm="l2",
        epsilon=0.5,
        stepsize=0.1,
        steps=3,
    )
    length = np.linalg.norm((found.numpy() - start).reshape(len(start), -1), axis=1)
    np.testing.assert_allclose(length, 0.3, rtol=1e-4)
    still = inner.ascend(
        lambda x: tf.reduce_sum(0 * x, axis=(1, 2, 3)),
        start,
        0 * start,
        norm="l2",
        epsilon=0.5,
        stepsize=0.1,
        steps=3,
    )
    np.testing.assert_array_equal(still, start)


def test_a_pixel_whose_gradient_overflows_stands_still():
    def objective(x):
        rows = tf.where(tf.range(8)[:, None, None] < 4, 1.0, np.inf)
        return tf.reduce_sum(x * tf.constant(1e30) * rows, axis=(1, 2, 3))

    images = np.full((2, 8, 8, 3), 0.5, np.float32)
    found = inner.ascend(
        objective, images, np.zeros_like(images), norm="linf", epsilon=0.1, stepsize=0.1, steps=1
    )
    np.testing.assert_allclose(found[:, :4], 0.6, rtol=1e-6)
    np.testing.assert_array_equal(found[:, 4:], 0.5)


def test_a_loss_scale_saves_gradients_that_float16_loses():
    def objective(x):
        return tf.cast(tf.reduce_sum(tf.cast(x, tf.float16), axis=(1, 2, 3)), tf.float32) * 1e-8

    images = np.full((1, 4, 4, 3), 0.5, np.float32)
    how = {"norm": "linf", "epsilon": 0.1, "stepsize": 0.1, "steps": 1}
    lost = inner.ascend(objective, images, np.zeros_like(images), **how)
    saved = inner.ascend(objective, images, np.zeros_like(images), **how, scale=2.0**15)
    np.testing.assert_array_equal(lost, images)
    np.testing.assert_allclose(saved, 0.6, rtol=1e-6)


def test_starts_are_the_same_for_a_key_in_the_ball_and_beside_their_images():
    images = RNG.random((40, 8, 8, 3), dtype=np.float32)
    batches = tf.data.Dataset.from_tensor_slices((images, np.arange(40))).batch(16)

    def draw(norm, key, gaussian=False):
        made = list(inner.starts(batches, norm, 0.5, key, gaussian=gaussian))
        np.testing.assert_array_equal(np.concatenate([x for (x, _), _ in made]), images)
        assert np.concatenate([y for _, y in made]).tolist() == list(range(40))
        return np.concatenate([offsets for (_, offsets), _ in made])

    cube, ball, noise = draw("linf", (3, 1)), draw("l2", (3, 1)), draw("l2", (3, 1), gaussian=True)
    np.testing.assert_array_equal(cube, draw("linf", (3, 1)))
    assert not np.allclose(cube, draw("linf", (3, 2)))
    assert not np.allclose(cube[:16], cube[16:32])
    assert np.abs(cube).max() <= 0.5
    assert cube.std() == pytest.approx(1 / np.sqrt(12), rel=0.02)
    # In n dimensions the length of a uniform point of the ball is 0.5 u^(1/n): mean n / (n + 1).
    lengths = np.linalg.norm(ball.reshape(40, -1), axis=1)
    assert lengths.max() <= 0.5
    assert lengths.mean() == pytest.approx(0.5 * 192 / 193, rel=0.005)
    assert noise.std() == pytest.approx(0.001, rel=0.02)
