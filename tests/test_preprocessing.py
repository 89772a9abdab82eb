"""Rectangles to squares, with pixels worked out by hand."""

import numpy as np
import pytest

from attnrobust.data import preprocessing


def grey(rows: list[list[int]]) -> np.ndarray:
    """Rows of grey values as RGB."""
    return np.repeat(np.array(rows, np.uint8)[..., np.newaxis], 3, axis=2)


@pytest.mark.parametrize("fit", preprocessing.FITS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (7, 4), (33, 50), (16, 16)])
def test_every_fit_gives_uint8_squares_of_the_asked_size(fit: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    before = image.copy()
    found = preprocessing.FITS[fit](image, 16)
    assert found.shape == (16, 16, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("fit", preprocessing.FITS)
def test_a_square_of_the_right_size_stays_as_it_is(fit: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(preprocessing.FITS[fit](image, 16), image)


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("shape", [(9, 40), (40, 9), (64, 48)])
def test_one_colour_stays_that_colour(fit: str, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (10, 200, 77), np.uint8)
    found = preprocessing.FITS[fit](image, 16)
    np.testing.assert_array_equal(found, np.broadcast_to(image[:1, :1], (16, 16, 3)))


def test_shrinking_averages_over_the_source_pixels() -> None:
    image = np.zeros((6, 6), int)
    image[0, 0] = 90  # one pixel of the nine that become one
    image[0, 3:] = 30
    image[3:, :3] = 200
    found = preprocessing.stretch(grey(image.tolist()), 2)
    np.testing.assert_array_equal(found, grey([[10, 10], [200, 0]]))


def test_stretch_keeps_the_whole_image() -> None:
    image = grey([[10, 20, 30, 40, 50, 60, 70, 80]] * 2)
    np.testing.assert_array_equal(preprocessing.stretch(image, 2), grey([[25, 65]] * 2))


def test_crop_takes_the_centre() -> None:
    wide = grey([[1, 2, 3, 4, 5, 6]] * 2)
    np.testing.assert_array_equal(preprocessing.crop(wide, 2), grey([[3, 4]] * 2))
    high = wide.transpose(1, 0, 2)
    np.testing.assert_array_equal(preprocessing.crop(high, 2), grey([[3, 3], [4, 4]]))
    odd = grey([[1, 2, 3, 4, 5]] * 2)
    np.testing.assert_array_equal(preprocessing.crop(odd, 2), grey([[2, 3]] * 2))


def test_pad_centres_the_whole_image_on_black() -> None:
    wide = grey([[9, 8, 7, 6], [5, 4, 3, 2]])
    expected = grey([[0, 0, 0, 0], [9, 8, 7, 6], [5, 4, 3, 2], [0, 0, 0, 0]])
    np.testing.assert_array_equal(preprocessing.pad(wide, 4), expected)
    np.testing.assert_array_equal(
        preprocessing.pad(wide.transpose(1, 0, 2), 4), expected.transpose(1, 0, 2)
    )
    odd = grey([[9, 8, 7]] * 2)
    np.testing.assert_array_equal(
        preprocessing.pad(odd, 3), grey([[9, 8, 7], [9, 8, 7], [0, 0, 0]])
    )
