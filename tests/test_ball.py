"""Lengths, unit vectors and projections, at sizes whose squares float32 does not hold."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from attnrobust.training import ball

ORDERS = {"l1": 1, "l2": 2, "linf": np.inf}
NORMAL = np.random.default_rng(0).standard_normal((5, 4, 4, 3))
# TensorFlow reads as 0 what is below the least normal float32, 1e-38.
SIZES = [1.0, 1e-13, 1e-25, 1e-30, 1e18, 1e35]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("norm", ORDERS)
def test_lengths_and_unit_vectors_of_any_size(norm, size):
    change = (size * NORMAL).astype(np.float32)
    exact = np.linalg.norm(change.reshape(5, -1).astype(float), ord=ORDERS[norm], axis=1)
    found = ball.length(tf.constant(change), norm).numpy()
    assert found.shape == (5, 1, 1, 1)
    np.testing.assert_allclose(found[:, 0, 0, 0], exact, rtol=1e-5)
    unit = ball.unit(tf.constant(change), norm).numpy()
    np.testing.assert_allclose(unit, change / exact[:, None, None, None], rtol=1e-5)
    step = ball.steepest(tf.constant(change), norm).numpy()
    np.testing.assert_allclose(step, np.sign(change) if norm == "linf" else unit)


@pytest.mark.parametrize("norm", ORDERS)
def test_zero_stays_zero_and_no_value_breaks_its_image(norm):
    change = NORMAL.astype(np.float32)
    change[0] = 0
    change[1] = 1e-40
    change[2, 0, 0, 0], change[2, 1, 0, 0] = np.nan, np.inf
    clean = np.where(np.isfinite(change), change, 0)
    for function in (ball.unit, ball.steepest):
        found = function(tf.constant(change), norm).numpy()
        np.testing.assert_array_equal(found[0], 0)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[2], function(tf.constant(clean), norm)[2])
        assert found[2, 0, 0, 0] == found[2, 1, 0, 0] == 0


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_projection(norm, dtype):
    images = np.clip(np.random.default_rng(1).uniform(-0.2, 1.2, NORMAL.shape), 0, 1).astype(dtype)
    inside = np.clip(images + 0.001 * NORMAL.astype(dtype) / 10, 0, 1)
    found = ball.project(tf.constant(inside), tf.constant(images), 0.1, norm).numpy()
    np.testing.assert_allclose(found, inside, atol=1e-7)
    far = images + NORMAL.astype(dtype)
    found = ball.project(tf.constant(far), tf.constant(images), 0.1, norm).numpy()
    assert found.dtype == dtype
    if norm == "linf":
        expected = images + np.clip(NORMAL, -0.1, 0.1)
    else:
        size = np.linalg.norm(NORMAL.reshape(5, -1), axis=1)
        expected = images + 0.1 * NORMAL / size[:, None, None, None]
    np.testing.assert_allclose(found, np.clip(expected, 0, 1), atol=1e-6)
    np.testing.assert_array_equal(
        ball.project(tf.constant(far), tf.constant(images), 0.0, norm), images
    )
