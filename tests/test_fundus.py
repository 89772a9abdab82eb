"""The eye's disc on drawn photographs of known centre and radius; Graham's formula by hand."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from scipy import ndimage

from attnrobust.data import fundus, graham, preprocessing, rims
from attnrobust.data.images import UnusableImageError


def eye(
    height: int,
    width: int,
    x: float,
    y: float,
    radius: float,
    *,
    level: float = 1.0,
    noise: int = 3,
) -> np.ndarray:
    """A photograph of an eye: darker to one side, spots in it, noise all over."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    shade = 0.75 + 0.2 * (columns - x) / radius
    image = np.stack([200 * shade, 110 * shade, 60 * shade], axis=-1) * level
    inside = np.hypot(columns - x, rows - y) <= radius
    spots = np.hypot(columns - x - radius / 3, rows - y) < radius / 8
    image[spots] *= 0.05
    image *= inside[..., None]
    image += rng.integers(0, noise + 1, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def cut_by_bars(image: np.ndarray) -> np.ndarray:
    image[: len(image) // 5] = 0
    image[-len(image) // 5 :] = 0
    return image


def notched(image: np.ndarray) -> np.ndarray:
    found = image.copy()
    cv2.rectangle(found, (340, 60), (365, 80), (180, 100, 60), -1)
    return found


# Height, width, x, y, radius.
WHOLE = (400, 500, 250.0, 200.0, 150.0)
CASES: dict[str, tuple[tuple[int, int, float, float, float], Callable | None]] = {
    "whole": (WHOLE, None),
    "off the centre, between pixels": ((400, 500, 180.4, 230.7, 120.3), None),
    "small in the frame": ((400, 500, 260, 190, 70), None),
    "cropped to the disc": ((256, 256, 127.5, 127.5, 127.5), None),
    "top and bottom cut by the frame": ((300, 500, 240, 150, 200), None),
    "cut by three sides": ((300, 400, 230, 150, 200), None),
    "cut by black bars": (WHOLE, cut_by_bars),
    "upside down": (WHOLE, np.flipud),
    "with a notch": (WHOLE, notched),
    "with a notch, upside down": (WHOLE, lambda image: notched(image)[::-1]),
    "grey": (WHOLE, lambda image: np.repeat(image[..., :1], 3, axis=2)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_disc_is_found_within_two_pixels(case: str) -> None:
    shape, change = CASES[case]
    image = eye(*shape)
    found = fundus.find_disc(np.ascontiguousarray(change(image)) if change else image)
    _, _, x, y, radius = shape
    if change is np.flipud or "upside" in case:
        y = shape[0] - 1 - y
    assert np.abs(np.array(found[:3]) - (x, y, radius)).max() < 2


def test_a_dim_photograph_as_large_as_the_raw_ones() -> None:
    found = fundus.find_disc(eye(1800, 2700, 1300, 930, 850, level=0.3))
    # Two pixels of the copy in which it is looked for.
    assert np.abs(np.array(found[:3]) - (1300, 930, 850)).max() < 2 * 2700 / fundus.WORKING_SIDE


def light(
    height: int,
    width: int,
    x: float,
    y: float,
    radius: float,
    *,
    inside: Callable,
    outside: Callable = np.zeros_like,
    noise: int = 3,
    seed: int = 0,
) -> np.ndarray:
    """A brownish photograph whose light depends on the distance from the centre, in radii."""
    rows, columns = np.mgrid[:height, :width]
    far = np.hypot(columns - x, rows - y) / radius
    shade = np.where(far <= 1, inside(far), outside(far))[..., None] * (220, 180, 140)
    shade += np.random.default_rng(seed).integers(0, noise + 1, shade.shape)
    return np.clip(shade, 0, 255).astype(np.uint8)


def spot(far: np.ndarray) -> np.ndarray:
    """Bright in the middle of an eye that is dim elsewhere."""
    return 0.15 + 0.8 * np.exp(-((far / 0.4) ** 2))


def even(far: np.ndarray) -> np.ndarray:
    return np.full_like(far, 0.9)


# Width and height of the frame around the centre, in radii; whether it is cut by all four sides.
FRAMES = [(2.4, 2.2), (2.2, 1.6), (1.9, 1.42), (1.8, 1.8), (1.8, 1.35), (1.7, 1.5), (1.5, 1.75)]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("radius", [90, 200])
@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        (spot, np.zeros_like),
        (lambda far: spot(np.abs(far - 0.2)), np.zeros_like),
        (lambda far: 0.9 - 0.6 * far, np.zeros_like),
        (even, np.zeros_like),
        # A flare that fades from the rim on, weak and strong.
        (even, lambda far: 0.15 * np.exp(3 * (1 - far))),
        (even, lambda far: 0.35 * np.exp(3 * (1 - far))),
        # A halo with an edge of its own, on a ground that is not black.
        (even, lambda far: np.where(far < 1.15, 0.35, 0.2)),
        (even, lambda far: np.where(far < 1.3, 0.4, 0.1)),
    ],
)
def test_the_rim_is_found_not_another_edge_of_light(
    frame: tuple[float, float], radius: float, inside: Callable, outside: Callable
) -> None:
    width, height = (round(side * radius) for side in frame)
    x, y = width / 2 - 0.06 * radius, height / 2 + 0.02 * radius
    image = light(height, width, x, y, radius, inside=inside, outside=outside)
    found = fundus.find_disc(image)
    assert np.abs(np.array(found[:3]) - (x, y, radius)).max() < 0.03 * radius
    assert found.seen >= rims.SEEN


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "fading",
    [
        lambda far: np.exp(-((far / 0.6) ** 2)),
        lambda far: np.maximum(0, 1 - far),
        lambda far: np.cos(np.minimum(far, 2) * np.pi / 4) ** 2,
        lambda far: 1 / (1 + (2 * far) ** 2),
        even,
    ],
)
def test_light_that_only_fades_shows_no_eye(fading: Callable, seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width, radius = rng.integers(150, 400), rng.integers(150, 400), rng.integers(80, 200)
    image = light(
        height,
        width,
        width * rng.uniform(0.3, 0.7),
        height * rng.uniform(0.3, 0.7),
        radius,
        inside=fading,
        outside=fading,
        noise=6,
        seed=seed,
    )
    with pytest.raises(UnusableImageError, match="no eye disc found"):
        fundus.find_disc(image)


@pytest.mark.parametrize(("ground", "nerve"), [(60, 170), (100, 200), (150, 240)])
def test_an_optic_nerve_in_a_frame_without_a_rim_is_no_eye(ground: int, nerve: int) -> None:
    image = np.full((400, 400, 3), ground, np.uint8)
    cv2.circle(image, (170, 210), 60, (nerve,) * 3, cv2.FILLED)
    with pytest.raises(UnusableImageError, match="no eye disc found"):
        fundus.find_disc(image)


def test_how_much_of_the_rim_is_seen_is_told() -> None:
    assert fundus.find_disc(eye(*WHOLE)).seen > 0.99
    hidden = eye(*WHOLE)
    hidden[180:220, 395:430] = 150
    # 2 x 7.6 degrees of 360.
    assert fundus.find_disc(hidden).seen == pytest.approx(0.955, abs=0.03)


def test_a_bright_noisy_background_is_not_the_eye() -> None:
    found = fundus.find_disc(eye(*WHOLE, noise=45))
    assert np.abs(np.array(found[:3]) - (250, 200, 150)).max() < 2


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((90, 120, 3), np.uint8), "black photograph"),
        (np.full((90, 120, 3), 9, np.uint8), "black photograph: 99 % of its pixels are below 16"),
        (np.full((90, 120, 3), 200, np.uint8), "no eye disc found"),
        (np.zeros((1, 1, 3), np.uint8), "black photograph"),
        (np.full((1, 1, 3), 255, np.uint8), "no eye disc found"),
        (np.full((3, 200, 3), 255, np.uint8), "no eye disc found"),
        (
            np.pad(np.full((60, 60, 3), 200, np.uint8), ((90, 90), (40, 140), (0, 0))),
            "no eye disc found: no circle whose rim shows an edge",
        ),
        (np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8), "no eye disc found"),
    ],
)
def test_what_is_no_eye_is_said(image: np.ndarray, reason: str) -> None:
    with pytest.raises(UnusableImageError, match=reason):
        fundus.find_disc(image)


def test_the_disc_touches_all_four_sides_and_black_stands_where_it_was_cut() -> None:
    square = fundus.centred(eye(300, 500, 240, 150, 200, noise=0))
    side = len(square)
    assert square.shape == (side, side, 3)
    assert abs(side - 400) <= 3
    lit = square.max(axis=2) > 0
    assert abs(np.flatnonzero(lit.any(axis=0))[[0, -1]] - (0, side - 1)).max() <= 2
    rows = np.flatnonzero(lit.any(axis=1))
    assert abs(len(rows) - 300) <= 1
    assert abs(rows[0] - (side - 300) / 2) <= 2


def test_eyes_of_any_size_and_place_come_out_alike() -> None:
    first = preprocessing.disc(eye(400, 500, 250, 200, 150, noise=0), 64)[0].astype(int)
    second = preprocessing.disc(eye(800, 900, 400, 420, 300, noise=0), 64)[0].astype(int)
    y, x = np.mgrid[:64, :64] - 31.5
    inside = np.hypot(x, y) < 28
    # The spots' edges may fall on other pixels.
    assert np.abs(first - second)[inside].mean() < 2
    assert abs(first[32, 32, 0] - 150) < 4  # 200 * 0.75 in the middle


def test_graham_as_scipy_blurs() -> None:
    image = np.random.default_rng(1).integers(60, 200, (90, 90, 3), np.uint8)
    image[20:50, 10:60] //= 3
    own = image.astype(float)
    # Sigma 45 / 30; OpenCV's kernel reaches 4 sigma.
    blurred = ndimage.gaussian_filter(own, (1.5, 1.5, 0), mode="constant", truncate=4)
    expected = np.clip(4 * own - 4 * blurred + 128, 0, 255)
    y, x = np.mgrid[:90, :90] - 44.5
    expected[np.hypot(x, y) > 0.95 * 45] = 128
    assert np.abs(graham.graham(image) - expected).max() <= 0.51


def test_graham_of_one_colour_is_grey_but_for_the_rim() -> None:
    found = graham.graham(np.full((120, 120, 3), (200, 90, 10), np.uint8))
    y, x = np.mgrid[:120, :120] - 59.5
    # Sigma 2: nothing of the black outside is seen 8 pixels from the sides.
    np.testing.assert_array_equal(found[np.maximum(abs(x), abs(y)) < 51], 128)
    np.testing.assert_array_equal(found[np.hypot(x, y) > 57], 128)
    assert (found[3:5, 60, 0] > 128).all()


@pytest.mark.parametrize("size", [64, 256, 0])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("bars", [0, 30])
def test_graham_of_one_colour_is_grey_to_the_frame_that_cuts_the_eye(
    size: int, turned: bool, bars: int
) -> None:
    """A disc of radius 160 in the middle of 360 x 240, black bars around or not, is no band."""
    y, x = np.mgrid[:240, :360]
    image = np.where((np.hypot(x - 179.5, y - 119.5) <= 160)[..., None], (200, 90, 10), 0)
    image = np.pad(image.astype(np.uint8), ((bars, bars), (0, 0), (0, 0)))
    image = fundus.centred(image.transpose(1, 0, 2) if turned else image)
    found = graham.graham(preprocessing.stretch(image, size) if size else image)
    found = found.transpose(1, 0, 2) if turned else found
    np.testing.assert_array_equal(found[:, len(found) // 2], 128)


def test_graham_leaves_no_band_where_the_frame_cuts_a_lit_eye() -> None:
    """What lies near the cut looks as it does in the whole eye."""
    whole = eye(500, 500, 250, 250, 200, noise=0)
    cut = whole[120:380]
    expected, found = (graham.graham(fundus.centred(image)) for image in (whole, cut))
    assert abs(len(expected) - len(found)) <= 2
    # 20 rows inside the cut, in the disc's middle half.
    top = len(found) // 2 - 130
    near = found[top + 6 : top + 26, 150:250].astype(int)
    likewise = expected[top + 6 : top + 26, 150:250].astype(int)
    assert np.abs(near - likewise).mean() < 8
    assert ((near == 0) | (near == 255)).mean() < 0.01


@pytest.mark.parametrize("size", [64, 256])
def test_graham_sees_an_eye_that_is_all_but_dark_at_one_side(size: int) -> None:
    """Lit by 6 % on the left, over a fifth of its width: dark beside the rest, but no black bar."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    shade = np.clip(0.06 + 0.94 * (columns / size + 0.3) / 0.2, 0.06, 1)
    shade *= 1 + 0.5 * (np.hypot(rows, columns + 0.4 * size) < 0.02 * size)  # a spot in the dark
    image = np.where((np.hypot(rows, columns) <= size / 2)[..., None], (200, 120, 60), 0)
    image = (image * shade[..., None]).astype(np.uint8)
    assert graham.photographed(image, image.max(axis=2) > 0).all()
    found = graham.graham(image)
    assert found[size // 2, size // 10, 0] > 132, "the spot is seen"
    image[:, : size // 8] = np.random.default_rng(0).integers(0, 7, (size, size // 8, 3))
    inside = np.hypot(rows, columns) <= size / 2
    shown = graham.photographed(image, inside)
    assert not shown[:, : size // 8].any(), "a bar, with a camera's noise in it"
    assert shown[:, size // 8 + size // 16 :].all()


def test_graham_at_the_stored_size_is_graham_at_full_size_made_smaller() -> None:
    photograph = fundus.centred(eye(800, 900, 400, 420, 300, noise=0))
    small = graham.graham(preprocessing.stretch(photograph, 128)).astype(int)
    large = preprocessing.stretch(graham.graham(photograph), 128)
    y, x = np.mgrid[:128, :128] - 63.5
    inside = np.hypot(x, y) < 55
    assert np.abs(small - large)[inside].mean() < 3
    assert small[inside].std() > 10, "a grey image would prove nothing"
