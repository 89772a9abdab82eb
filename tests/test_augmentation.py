"""Augmentation: geometry judged by SciPy, colours by Pillow, draws by their ranges."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf
from data_helpers import SIZE, colours
from PIL import Image, ImageEnhance
from scipy import ndimage

from attnrobust.data import augmentation

COLOURS = [
    name for name, row in augmentation.AUGMENTATIONS.items() if isinstance(row, augmentation.Colour)
]
GEOMETRY = [name for name in augmentation.AUGMENTATIONS if name not in COLOURS]
KEY = tf.constant([3, 4], tf.int64)


def pictures(number: int, size: int = SIZE) -> np.ndarray:
    return np.stack([colours(100 + n, size, size) for n in range(number)]).astype(np.float32) / 255


def fixed(rows: Sequence[Sequence[float]]) -> augmentation.Matrices:
    """An augmentation row that is the same matrix for every image."""
    return lambda key, number, size: tf.tile(tf.constant([rows], tf.float32), [number, 1, 1])


def moved(x: float, y: float) -> augmentation.Matrices:
    return fixed([[1, 0, x], [0, 1, y], [0, 0, 1]])


def augmented(images: np.ndarray, *rows: augmentation.Matrices) -> np.ndarray:
    return augmentation.augment(tf.constant(images), rows, KEY).numpy()


@pytest.mark.parametrize("size", [SIZE, 17])
def test_matrices_move_pixels_about_the_centre(size: int) -> None:
    images = pictures(2, size)
    still = augmented(images, fixed(np.eye(3).tolist()))
    np.testing.assert_allclose(still, images, atol=1e-6)
    mirrored = augmented(images, fixed([[-1, 0, 0], [0, 1, 0], [0, 0, 1]]))
    np.testing.assert_allclose(mirrored, np.flip(images, 2), atol=1e-6)
    upside_down = augmented(images, fixed([[1, 0, 0], [0, -1, 0], [0, 0, 1]]))
    np.testing.assert_allclose(upside_down, np.flip(images, 1), atol=1e-6)
    turned = augmented(images, fixed([[0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    np.testing.assert_allclose(turned, np.rot90(images, axes=(1, 2)), atol=1e-6)


def test_a_shift_by_whole_pixels_fills_with_the_nearest() -> None:
    images = pictures(2)
    expected = np.concatenate([images[:, :, 3:], np.repeat(images[:, :, -1:], 3, 2)], axis=2)
    np.testing.assert_allclose(augmented(images, moved(3, 0)), expected, atol=1e-6)
    expected = np.concatenate([np.repeat(images[:, :1], 2, 1), images[:, :-2]], axis=1)
    np.testing.assert_allclose(augmented(images, moved(0, -2)), expected, atol=1e-6)


def test_rows_are_joined_so_that_pixels_are_resampled_once() -> None:
    images = pictures(2)
    there_and_back = augmented(images, moved(5.5, -3.25), moved(-5.5, 3.25))
    np.testing.assert_allclose(there_and_back, images, atol=1e-5)
    np.testing.assert_allclose(augmented(images), images, atol=1e-6)


def drawn(name: str, number: int = 400, size: int = SIZE) -> np.ndarray:
    """Matrices of a row, for many images."""
    matrices = augmentation.AUGMENTATIONS[name](KEY, tf.constant(number), size).numpy()
    assert matrices.shape == (number, 3, 3)
    np.testing.assert_array_equal(matrices[:, 2], np.tile([0, 0, 1], (number, 1)))
    return matrices


def test_flip_is_by_either_axis_for_half_of_the_images_each() -> None:
    matrices = drawn("flip")
    signs = Counter((int(m[0, 0]), int(m[1, 1])) for m in matrices)
    assert signs.keys() == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    assert min(signs.values()) > 70  # of 400 in four kinds; five standard deviations
    assert not matrices[:, [0, 0, 1, 1], [1, 2, 0, 2]].any()


def test_rotate_is_by_any_angle() -> None:
    matrices = drawn("rotate")
    turned = matrices[:, :2, :2]
    np.testing.assert_allclose(turned @ turned.transpose(0, 2, 1), [np.eye(2)] * 400, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(turned), 1, atol=1e-6)
    assert not matrices[:, :2, 2].any()
    angles = np.degrees(np.arctan2(turned[:, 1, 0], turned[:, 0, 0]))
    counts = np.histogram(angles, bins=8, range=(-180, 180))[0]
    assert counts.sum() == 400
    assert counts.min() > 20


def test_zoom_is_by_90_to_110_per_cent_of_both_sides() -> None:
    matrices = drawn("zoom")
    factors = matrices[:, 0, 0]
    np.testing.assert_array_equal(factors, matrices[:, 1, 1])
    assert 0.9 <= factors.min() < 0.91
    assert 1.09 < factors.max() <= 1.1
    assert not matrices[:, [0, 0, 1, 1], [1, 2, 0, 2]].any()


def test_shift_is_by_up_to_a_tenth_of_the_side() -> None:
    matrices = drawn("shift", size=50)
    np.testing.assert_array_equal(matrices[:, :2, :2], [np.eye(2)] * 400)
    for offset in (matrices[:, 0, 2], matrices[:, 1, 2]):
        assert -5 <= offset.min() < -4.8
        assert 4.8 < offset.max() <= 5
    assert abs(np.corrcoef(matrices[:, 0, 2], matrices[:, 1, 2])[0, 1]) < 0.2


@pytest.mark.parametrize("name", GEOMETRY)
def test_a_row_moves_pixels_as_scipy_does_with_its_matrices(name: str) -> None:
    images, centre = pictures(6), (SIZE - 1) / 2
    matrices: list[np.ndarray] = []

    def kept(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
        matrices.append(augmentation.AUGMENTATIONS[name](key, number, size))
        return matrices[0]

    found = augmented(images, kept)
    assert np.abs(found - images).max() > 0.05
    for image, after, matrix in zip(images, found, matrices[0].numpy(), strict=True):
        # SciPy counts rows first, the matrix counts columns (x) first.
        linear = matrix[:2, :2][::-1, ::-1]
        offset = centre - linear @ [centre, centre] + matrix[:2, 2][::-1]
        for channel in range(3):
            expected = ndimage.affine_transform(
                image[..., channel], linear, offset, order=1, mode="nearest"
            )
            np.testing.assert_allclose(after[..., channel], expected, atol=2e-4)


def test_each_batch_and_each_row_has_draws_of_its_own() -> None:
    images = np.repeat(pictures(1), 8, axis=0)
    row = augmentation.AUGMENTATIONS["shift"]
    first = augmentation.augment(tf.constant(images), [row], tf.constant([3, 0], tf.int64)).numpy()
    second = augmentation.augment(tf.constant(images), [row], tf.constant([3, 1], tf.int64)).numpy()
    every = [image.tobytes() for image in (*first, *second)]
    assert len(set(every)) == 16
    keys: list[bytes] = []

    def kept(key: tf.Tensor, number: tf.Tensor, size: int) -> tf.Tensor:
        keys.append(key.numpy().tobytes())
        return row(key, number, size)

    augmentation.augment(tf.constant(images), [kept, kept], KEY)
    assert len(set(keys)) == 2


def moves(matrices: np.ndarray, neutral: Sequence[Sequence[float]] = np.eye(3).tolist()) -> float:
    """Share of the matrices that are another than the neutral one."""
    return float(np.mean(np.abs(matrices - neutral).max(axis=(1, 2)) > 1e-7))


# Half of 2000, five standard deviations of 22.4.
HALF = (0.444, 0.556)


def test_wu_flips_half_of_the_images_left_to_right() -> None:
    matrices = drawn("wu_flip", 2000)
    assert HALF[0] < moves(matrices) < HALF[1]
    mirrored = matrices[matrices[:, 0, 0] < 0]
    np.testing.assert_array_equal(mirrored, np.tile(np.diag([-1, 1, 1]), (len(mirrored), 1, 1)))


def test_wu_scales_half_of_the_images_to_90_to_110_per_cent() -> None:
    matrices = drawn("wu_scale", 2000)
    assert HALF[0] < moves(matrices) < HALF[1]
    size = 1 / matrices[:, 0, 0]
    np.testing.assert_array_equal(matrices[:, 0, 0], matrices[:, 1, 1])
    assert 0.9 - 1e-6 <= size.min() < 0.902
    assert 1.098 < size.max() <= 1.1 + 1e-6


def test_wu_shifts_half_of_the_images_by_up_to_5_per_cent_of_the_side() -> None:
    matrices = drawn("wu_shift", 2000, size=100)
    assert HALF[0] < moves(matrices) < HALF[1]
    for offset in (matrices[:, 0, 2], matrices[:, 1, 2]):
        assert -5 <= offset.min() < -4.9
        assert 4.9 < offset.max() <= 5


@pytest.mark.parametrize(("name", "low", "high"), [("wu_rotate", -30, 10), ("wu_shear", -10, 10)])
def test_wu_turns_and_shears_half_of_the_images(name: str, low: float, high: float) -> None:
    matrices = drawn(name, 2000)
    assert HALF[0] < moves(matrices) < HALF[1]
    sine = matrices[:, 1, 0] if name == "wu_rotate" else matrices[:, 0, 1]
    cosine = matrices[:, 1, 1]
    angles = np.degrees(np.arctan2(sine, cosine))
    assert low - 1e-4 <= angles.min() < low + 0.3
    assert high - 0.3 < angles.max() <= high + 1e-4


def test_margeloiu_turns_by_the_sum_of_two_angles() -> None:
    matrices = drawn("margeloiu_rotate", 2000)
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert -60 <= angles.min() < -52
    assert 52 < angles.max() <= 60
    # Variance of the sum: (100^2 + 20^2) / 12; five standard deviations of its estimate.
    assert abs(angles.std() - math.sqrt(10_400 / 12)) < 2


@pytest.mark.parametrize("factor", [0.8, 0.85, 1.0, 1.15, 1.2])
@pytest.mark.parametrize(
    ("change", "judge"),
    [
        (augmentation.brightened, ImageEnhance.Brightness),
        (augmentation.contrasted, ImageEnhance.Contrast),
        (augmentation.saturated, ImageEnhance.Color),
    ],
)
def test_colours_change_as_pillow_changes_them(change, judge, factor: float) -> None:
    images = np.stack([colours(n) for n in range(2)])
    found = change(tf.constant(images / 255, tf.float32), tf.constant([factor, 1.0])).numpy() * 255
    # Pillow truncates the result, and rounds grey and its mean.
    expected = np.asarray(judge(Image.fromarray(images[0])).enhance(factor)).astype(float)
    assert np.abs(found[0] - expected).max() < 2
    np.testing.assert_allclose(found[1], images[1], atol=1e-3)


@pytest.mark.parametrize("name", ["wu_brightness", "wu_contrast"])
def test_wu_changes_the_light_of_half_of_the_images_by_15_per_cent(name: str) -> None:
    # Mean 0.5, so that brightness and contrast are read off the same two pixels; nothing clips.
    images = np.tile(np.array([0.4, 0.6], np.float32)[None, None, :, None], (2000, 1, 1, 3))
    row = augmentation.AUGMENTATIONS[name]
    found = augmentation.augment(tf.constant(images), [row], KEY).numpy()
    same = np.abs(found - images).max(axis=(1, 2, 3)) < 1e-6
    assert HALF[0] < same.mean() < HALF[1]
    factors = (found[:, 0, 1, 0] - found[:, 0, 0, 0]) / 0.2
    assert 0.85 - 1e-5 <= factors.min() < 0.852
    assert 1.148 < factors.max() <= 1.15 + 1e-5
    means = found.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, 0.5 * factors if name == "wu_brightness" else 0.5, atol=1e-5)


def test_margeloiu_changes_brightness_by_20_per_cent() -> None:
    # Of one grey, contrast and saturation have nothing to change.
    images = np.full((2000, 1, 1, 3), 0.5, np.float32)
    row = augmentation.AUGMENTATIONS["margeloiu_colour"]
    found = augmentation.augment(tf.constant(images), [row], KEY).numpy()
    assert 0.4 - 1e-5 <= found.min() < 0.401
    assert 0.599 < found.max() <= 0.6 + 1e-5


@pytest.mark.parametrize("name", augmentation.AUGMENTATIONS)
def test_a_row_is_the_same_for_its_key_alone_and_stays_in_range(name: str) -> None:
    images = tf.constant(pictures(8))
    row = augmentation.AUGMENTATIONS[name]
    first = augmentation.augment(images, [row], KEY).numpy()
    np.testing.assert_array_equal(first, augmentation.augment(images, [row], KEY))
    assert not np.array_equal(first, augmentation.augment(images, [row], KEY + 1))
    assert first.min() >= 0
    assert first.max() <= 1
    assert first.dtype == np.float32


def test_colours_come_after_the_geometry_in_any_order() -> None:
    images = tf.constant(pictures(8))
    rows = [augmentation.AUGMENTATIONS["wu_contrast"], moved(3.0, 0.0)]
    expected = augmentation.augment(tf.constant(augmented(pictures(8), rows[1])), rows[:1], KEY)
    np.testing.assert_allclose(augmentation.augment(images, rows, KEY), expected, atol=1e-6)
