"""SSIM by hand and by its formula, and noise of the same SSIM image by image."""

import numpy as np
import pytest

from attnrobust.attacks import similarity
from attnrobust.errors import UserError

SIDE = 24


@pytest.fixture(scope="module")
def images():
    """Smooth pictures of contrast between low and high, one of them without any."""
    rng = np.random.default_rng(0)
    few = rng.random((6, 4, 4, 3))
    made = (
        few.repeat(SIDE // 4, axis=1).repeat(SIDE // 4, axis=2)
        * np.linspace(0, 1, 6)[:, None, None, None]
    )
    return made.astype(np.float32)


def test_ssim_of_two_plain_images_is_that_of_their_means():
    """Without contrast only the first factor is left: (2ab + c) / (a² + b² + c), c = 0.01²."""
    one, other = (np.full((1, SIDE, SIDE, 3), value, np.float32) for value in (0.2, 0.6))
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4)
    # float32 leaves variances of plain images at about 1e-7, beside c = 9e-4.
    assert similarity.ssim(one, other) == pytest.approx([expected], abs=2e-4)
    assert similarity.ssim(one, one) == pytest.approx([1], abs=1e-6)


def test_ssim_of_one_window_is_its_formula():
    """An image as large as the window: one place, means and variances under the Gaussian."""
    rng = np.random.default_rng(1)
    one, other = rng.random((2, 1, 11, 11, 1)).astype(np.float32)
    side = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    weights = np.outer(side, side) / np.outer(side, side).sum()
    a, b = one[0, ..., 0], other[0, ..., 0]

    def mean(values):
        return (weights * values).sum()

    x, y = mean(a), mean(b)
    xx, yy, xy = mean(a * a) - x * x, mean(b * b) - y * y, mean(a * b) - x * y
    expected = (2 * x * y + 1e-4) * (2 * xy + 9e-4)
    expected /= (x * x + y * y + 1e-4) * (xx + yy + 9e-4)
    assert similarity.ssim(one, other) == pytest.approx([expected], abs=1e-4)


def test_noise_has_the_ssim_that_is_asked_image_by_image(images):
    targets = np.array([0.97, 0.99, 0.98, 0.97, 0.9, 1.0])
    ids = list("abcdef")
    noisy, reached = similarity.matched_noise(images, targets, ids, key=("x", 0))
    np.testing.assert_allclose(reached, targets, atol=1e-4)
    np.testing.assert_allclose(similarity.ssim(images, noisy), reached, atol=1e-6)
    assert (noisy >= 0).all()
    assert (noisy <= 1).all()
    np.testing.assert_array_equal(noisy[5], images[5])
    size = np.abs(noisy - images).mean(axis=(1, 2, 3))
    assert (size[:5] > 0).all()
    assert size[4] > size[1], "less alike, more noise"
    # The inside of a picture, where nothing is clipped: Gaussian, of one deviation.
    inside = (images[4] > 0.3) & (images[4] < 0.7)
    change = (noisy[4] - images[4])[inside]
    assert abs(change.mean()) < 0.2 * change.std()


def test_noise_depends_on_the_image_and_the_key_alone(images):
    targets = np.full(6, 0.95)
    whole, _ = similarity.matched_noise(images, targets, list("abcdef"), key=1)
    part, _ = similarity.matched_noise(images[2:4], targets[2:4], ["c", "d"], key=1)
    other, _ = similarity.matched_noise(images[2:4], targets[2:4], ["c", "d"], key=2)
    np.testing.assert_allclose(part, whole[2:4], atol=2e-3)
    assert np.abs(other - part).max() > 0.01


def test_what_no_noise_reaches_gets_the_nearest_that_there_is(images):
    _, reached = similarity.matched_noise(images[4:], np.array([-1.0, -1.0]), ["a", "b"], key=0)
    assert (reached < 0.3).all()


def test_images_below_the_window_are_refused():
    similarity.require(11)
    with pytest.raises(UserError, match=r"data\.image_size = 10: SSIM needs at least 11"):
        similarity.require(10)
