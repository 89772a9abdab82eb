"""Rectangles to squares and filters, with pixels worked out by hand."""

import numpy as np
import pytest
from scipy import ndimage

from attnrobust.data import preprocessing

# What is looked for must be there; tests/test_fundus.py gives `disc` some eyes.
FITS = [name for name, fit in preprocessing.FITS.items() if not fit.moves]


def grey(rows: list[list[int]]) -> np.ndarray:
    """Rows of grey values as RGB."""
    return np.repeat(np.array(rows, np.uint8)[..., np.newaxis], 3, axis=2)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (7, 4), (33, 50), (16, 16)])
def test_every_fit_gives_uint8_squares_of_the_asked_size(fit: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    before = image.copy()
    found = preprocessing.FITS[fit].make(image, 16)[0]
    assert found.shape == (16, 16, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("fit", FITS)
def test_a_square_of_the_right_size_stays_as_it_is(fit: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(preprocessing.FITS[fit].make(image, 16)[0], image)


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("shape", [(9, 40), (40, 9), (64, 48)])
def test_one_colour_stays_that_colour(fit: str, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (10, 200, 77), np.uint8)
    found = preprocessing.FITS[fit].make(image, 16)[0]
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


@pytest.mark.parametrize("name", preprocessing.FILTERS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (64, 64)])
def test_every_filter_keeps_shape_and_type_and_its_input(name: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    before = image.copy()
    found = preprocessing.FILTERS[name].apply(image)
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # OpenCV mirrors a row a, b, c to … c b a b c b a …, period 4, which sigma 20 blurs to its
        # mean (a + 2b + c) / 4. Here x = 0, 140, 255 and its mean is 133.75:
        # 4 * (140 - 133.75) + 128 = 153; 0 and 255 leave [0, 255] and are clipped.
        ([0, 140, 255], [0, 153, 255]),
        # The same after min-max: (106 - 50) * 255 / 102 = 140.
        ([50, 106, 152], [0, 153, 255]),
        # x = 0, 120, 255, mean 123.75: 4 * (120 - 123.75) + 128 = 113.
        ([0, 120, 255], [0, 113, 255]),
        # Two values: x = 0, 255, mean 127.5: -382 and 638 before they are clipped.
        ([7, 8], [0, 255]),
    ],
)
def test_the_high_pass_by_hand(row: list[int], expected: list[int]) -> None:
    for image in (grey([row]), grey([row]).transpose(1, 0, 2)):
        found = preprocessing.gaussian_high_pass(image)
        np.testing.assert_array_equal(found.ravel(), grey([expected]).ravel())


def test_the_high_pass_as_scipy_blurs() -> None:
    image = np.random.default_rng(1).integers(60, 200, (90, 70), np.uint8)
    image[20:50, 10:60] //= 3
    x = (image - float(image.min())) * 255 / (float(image.max()) - float(image.min()))
    expected = 4 * x - 4 * ndimage.gaussian_filter(x, 20, mode="mirror", truncate=4) + 128
    found = preprocessing.gaussian_high_pass(grey(image.tolist()))
    assert np.abs(found[..., 0] - np.clip(expected, 0, 255)).max() <= 0.51
    np.testing.assert_array_equal(found[..., 0], found[..., 2])


@pytest.mark.parametrize("value", [0, 1, 77, 255])
def test_the_high_pass_of_one_colour_is_128(value: int) -> None:
    image = np.full((9, 12, 3), value, np.uint8)
    np.testing.assert_array_equal(preprocessing.gaussian_high_pass(image), image * 0 + 128)


def test_the_high_pass_by_size_is_the_papers_at_the_size_of_the_x_rays() -> None:
    rng = np.random.default_rng(0)
    image = np.repeat(rng.integers(0, 256, (64, 1024, 1), np.uint8), 3, axis=2)
    np.testing.assert_array_equal(
        preprocessing.gaussian_high_pass_by_size(image), preprocessing.gaussian_high_pass(image)
    )


def test_the_high_pass_by_size_does_the_same_to_a_smaller_copy() -> None:
    """A smooth picture, filtered and made smaller, or made smaller and filtered."""
    y, x = np.mgrid[:1024, :1024] / 1024
    wave = 128 + 60 * np.sin(9 * x) * np.cos(7 * y) + 40 * (np.hypot(x - 0.5, y - 0.5) < 0.3)
    image = np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)
    first = preprocessing.stretch(preprocessing.gaussian_high_pass(image), 256).astype(int)
    then = preprocessing.gaussian_high_pass_by_size(preprocessing.stretch(image, 256)).astype(int)
    assert np.abs(first - then).mean() < 2
    wide = preprocessing.gaussian_high_pass(preprocessing.stretch(image, 256)).astype(int)
    assert np.abs(first - wide).mean() > 10
