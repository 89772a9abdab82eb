"""Rician noise by its moments, and of the same SSIM image by image."""

import numpy as np
import pytest
import tensorflow as tf

from attnrobust.attacks import similarity
from attnrobust.attacks.similarity import RICIAN


def test_a_dark_image_becomes_rayleigh_noise():
    """Where the image is 0 the mean is sigma sqrt(pi / 2), and nothing is below 0."""
    noise = np.random.default_rng(0).standard_normal((1, 2, 200, 200)).astype(np.float32)
    black = np.zeros((1, 200, 200, 3), np.float32)
    made = RICIAN.add(black, np.float32(0.1), noise)
    assert made.min() >= 0
    assert made.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.01)
    # Far above sigma it is the image with Gaussian noise.
    grey = black + 0.5
    made = RICIAN.add(grey, np.float32(0.01), noise)
    assert (made - 0.5).std() == pytest.approx(0.01, rel=0.02)
    np.testing.assert_array_equal(made[..., 0], made[..., 2])


def test_noise_has_the_ssim_that_is_asked_image_by_image():
    few = np.random.default_rng(1).random((3, 4, 4, 1)).astype(np.float32)
    images = tf.image.resize(np.repeat(few, 3, axis=3), (24, 24)).numpy()
    targets = np.array([0.97, 0.99, 1.0])
    noisy, reached = similarity.matched_noise(
        images, targets, list("abc"), key=("x", 0), noise=RICIAN
    )
    np.testing.assert_allclose(reached, targets, atol=2e-4)
    np.testing.assert_allclose(
        tf.image.ssim(images, noisy, max_val=1.0).numpy(), reached, atol=1e-5
    )
    assert noisy.dtype == np.float32
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    np.testing.assert_array_equal(noisy[2], images[2])
    alone, _ = similarity.matched_noise(
        images[1:2], targets[1:2], ["b"], key=("x", 0), noise=RICIAN
    )
    np.testing.assert_allclose(alone[0], noisy[1], atol=1e-5)
    other, _ = similarity.matched_noise(
        images[1:2], targets[1:2], ["b"], key=("x", 1), noise=RICIAN
    )
    assert np.abs(other[0] - noisy[1]).max() > 0.01
