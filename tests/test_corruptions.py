"""Every row of CORRUPTIONS under one contract, and each formula by hand or by another judge."""

import io
import math
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from attnrobust import corruptions
from attnrobust.corruptions import CORRUPTIONS, KINDS, SEVERITIES, corrupt, corrupt_at
from attnrobust.corruptions import __main__ as sheets
from attnrobust.corruptions.artefacts import SHIFT
from attnrobust.corruptions.digital import contrast
from attnrobust.corruptions.noise import is_grey
from attnrobust.corruptions.optics import field_of_view
from attnrobust.errors import UserError
from attnrobust.measures.corruption_error import corruption_errors, mean_corruption_error

COUNT = 16
IDS = [f"image-{index}" for index in range(COUNT)]
GREY_KINDS = ("any", "xray")


def drawn(kind: str, size: int = 64) -> np.ndarray:
    """Textured images of a kind: a disc on black for a fundus, grey for X-rays."""
    rng = np.random.default_rng(7)
    channels = 1 if kind == "xray" else 3
    coarse, fine = (rng.random((COUNT, side, side, channels)) for side in (6, size))
    images = [
        0.25 + 0.5 * cv2.resize(low, (size, size)).reshape(size, size, channels) + 0.1 * high
        for low, high in zip(coarse, fine, strict=True)
    ]
    found = np.broadcast_to(np.stack(images), (COUNT, size, size, 3)).astype(np.float32)
    if kind == "fundus":
        line = np.linspace(-1, 1, size)
        found *= (line[:, None] ** 2 + line**2 < 0.9)[..., None]
    return found


def uniform(value: float, size: int = 200) -> np.ndarray:
    return np.full((1, size, size, 3), value, np.float32)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_contract_of_every_row(name: str) -> None:
    row = CORRUPTIONS[name]
    assert row.kind in KINDS
    assert row.function.__name__ == name
    images = drawn(row.kind)[:3]
    before, state = images.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    for severity in SEVERITIES:
        found = corrupt(images, IDS[:3], name, severity, seed=1)
        assert (found.shape, found.dtype) == (images.shape, np.float32)
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= 1
        assert not np.array_equal(found, images)
        np.testing.assert_array_equal(images, before)
        np.testing.assert_array_equal(found, corrupt(images, IDS[:3], name, severity, seed=1))
        one = row(np.random.default_rng(0), images[0], severity=severity)
        assert (one.shape, one.dtype) == (images[0].shape, np.float32)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


# What a mixture draws is another corruption at each severity; it has a test of its own.
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "mixture"])
@pytest.mark.parametrize("size", [32, 128])
def test_severity_orders_the_damage(name: str, size: int) -> None:
    images = drawn(CORRUPTIONS[name].kind, size)
    damage = [
        float(np.mean((corrupt(images, IDS, name, severity) - images) ** 2))
        for severity in SEVERITIES
    ]
    assert all(np.diff([0.0, *damage]) > 0), damage


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_packing_does_not_matter(name: str) -> None:
    images = drawn(CORRUPTIONS[name].kind)[:4]
    whole = corrupt(images, IDS[:4], name, 3)
    other = corrupt(images[[2, 0]], [IDS[2], IDS[0]], name, 3)
    np.testing.assert_array_equal(other, whole[[2, 0]])


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in CORRUPTIONS
        if n
        not in (
            "defocus",
            "under_exposure",
            "over_exposure",
            "brightness",
            "contrast",
            "jpeg",
            "pixelate",
            "mixture",
        )
    ],
)
def test_chance_has_a_key_for_each_id_and_seed(name: str) -> None:
    images = drawn(CORRUPTIONS[name].kind)[:1].repeat(2, axis=0)
    found = corrupt(images, ["a", "b"], name, 3)
    assert not np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], corrupt(images, ["a", "b"], name, 3, seed=1)[0])


@pytest.mark.parametrize("name", [n for n, row in CORRUPTIONS.items() if row.kind in GREY_KINDS])
def test_a_grey_image_stays_grey(name: str) -> None:
    images = drawn("xray")[:2]
    assert is_grey(images)
    for severity in SEVERITIES:
        assert is_grey(corrupt(images, IDS[:2], name, severity))


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (30, 50)])
def test_small_and_oblong_images_are_borne(name: str, shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).random((1, *shape, 3), dtype=np.float32)
    for severity in (1, 5):
        assert corrupt(images, ["a"], name, severity).shape == images.shape


@pytest.mark.parametrize("severity", [0, 6, -1])
def test_a_wrong_severity_is_told(severity: int) -> None:
    with pytest.raises(UserError, match=f"severity {severity}: expected a whole number from 1 to"):
        corrupt(uniform(0.5, 8), ["a"], "jpeg", severity)


def test_a_wrong_name_level_or_array_is_told() -> None:
    with pytest.raises(UserError, match=r"no corruption 'speckel'; did you mean speckle.*low_dose"):
        corrupt(uniform(0.5, 8), ["a"], "speckel", 1)
    for level in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UserError, match=r"level .* of speckle: expected above 0 \(variance\)"):
            corrupt_at(uniform(0.5, 8), ["a"], "speckle", level)
    with pytest.raises(UserError, match=r"level 1.5 of salt_and_pepper: expected at most 1"):
        corrupt_at(uniform(0.5, 8), ["a"], "salt_and_pepper", 1.5)
    for wrong in (np.zeros((1, 8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.float32)):
        with pytest.raises(ValueError, match="float32"):
            corrupt(wrong, ["a"], "speckle", 1)


@pytest.mark.parametrize("name", ["gaussian_noise", "salt_and_pepper", "speckle"])
def test_the_ten_published_levels_can_be_had(name: str) -> None:
    assert [round(10 * level) for level in corruptions.NOISE_LEVELS] == list(range(1, 11))
    row, images = CORRUPTIONS[name], drawn("skin")
    assert set(row.levels) <= set(corruptions.NOISE_LEVELS)
    for severity in SEVERITIES:
        np.testing.assert_array_equal(
            corrupt(images, IDS, name, severity),
            corrupt_at(images, IDS, name, row.levels[severity - 1]),
        )
    found = [corrupt_at(images, IDS, name, level) for level in corruptions.NOISE_LEVELS]
    assert all(np.diff([np.mean((image - images) ** 2) for image in found]) > 0)


def test_gaussian_noise_and_speckle_have_their_variances() -> None:
    # Small enough not to be clipped; 120,000 draws tell a variance to about 0.4 %.
    flat = uniform(0.5)
    noise = corrupt_at(flat, ["a"], "gaussian_noise", 0.01) - flat
    assert noise.mean() == pytest.approx(0, abs=2e-3)
    assert noise.var() == pytest.approx(0.01, rel=0.02)
    assert np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1] == pytest.approx(1)
    coloured = uniform(0.5)
    coloured[..., 1] = 0.25
    noise = corrupt_at(coloured, ["a"], "speckle", 0.01) - coloured
    variance = noise.var(axis=(0, 1, 2))
    assert variance == pytest.approx([0.0025, 0.000625, 0.0025], rel=0.03)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 2].ravel())[0, 1]) < 0.03


def test_salt_and_pepper_takes_its_share() -> None:
    found = corrupt_at(uniform(0.5), ["a"], "salt_and_pepper", 0.3)[..., 0]
    assert (found == 0).mean() == pytest.approx(0.15, abs=0.01)
    assert (found == 1).mean() == pytest.approx(0.15, abs=0.01)
    assert (found == 0.5).mean() == pytest.approx(0.7, abs=0.01)
    assert set(np.unique(corrupt_at(uniform(0.5), ["a"], "salt_and_pepper", 1))) == {0, 1}


def test_rician_noise_has_its_second_moment() -> None:
    # E |x + n1 + i n2|^2 = x^2 + 2 sigma^2.
    for value in (0.0, 0.3):
        found = corrupt_at(uniform(value), ["a"], "rician", 0.1)
        assert (found.astype(float) ** 2).mean() == pytest.approx(value**2 + 0.02, rel=0.02)


def test_a_low_dose_counts_photons() -> None:
    # At x = 0.4, 500 exp(-1.2) = 150.6 photons reach a pixel; mean and variance are both that.
    found = corrupt_at(uniform(0.4), ["a"], "low_dose", 500)[..., 0].astype(float)
    counts = 500 * np.exp(-3 * found)
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-3)
    assert counts.mean() == pytest.approx(150.6, rel=0.01)
    assert counts.var() == pytest.approx(150.6, rel=0.05)


def impulse(size: int = 101) -> np.ndarray:
    image = np.zeros((1, size, size, 3), np.float32)
    image[0, size // 2, size // 2] = 1
    return image


def spread(image: np.ndarray) -> tuple[float, float]:
    """Standard deviations along the two main axes of a blurred point, px; its mass is 1."""
    mass = image[0, ..., 0].astype(float)
    assert mass.sum() == pytest.approx(1, abs=1e-4)
    row, column = np.indices(mass.shape) - mass.shape[0] // 2
    second = [[(mass * a * b).sum() for a in (row, column)] for b in (row, column)]
    small, large = np.linalg.eigvalsh(second)
    return math.sqrt(small), math.sqrt(large)


@pytest.mark.parametrize("id_", ["a", "b", "c"])
def test_motion_blur_is_a_line_of_its_length(id_: str) -> None:
    across, along = spread(corrupt_at(impulse(), [id_], "motion_blur", 0.2))
    # A line of L px has the standard deviation L / sqrt(12); interpolation adds a little to both.
    assert along == pytest.approx(0.2 * 101 / math.sqrt(12), rel=0.02)
    assert across < 0.5


def test_defocus_is_a_disc_of_its_radius() -> None:
    # Along an axis a round weight w has the variance (integral w r^3) / (2 integral w r).
    r = np.linspace(0, 7, 7001)
    w = np.clip(5.05 + 1 - r, 0, 1)
    expected = math.sqrt((w * r**3).sum() / (2 * (w * r).sum()))
    axes = spread(corrupt_at(impulse(), ["a"], "defocus", 0.05))
    assert axes == pytest.approx((expected, expected), rel=0.02)


def test_exposure_halves_or_doubles_the_light() -> None:
    # 2.2 stops are a factor of 2 in the pixel value.
    assert corrupt_at(uniform(0.6, 4), ["a"], "under_exposure", 2.2) == pytest.approx(0.3)
    assert corrupt_at(uniform(0.2, 4), ["a"], "over_exposure", 2.2) == pytest.approx(0.4)
    assert corrupt_at(uniform(0.6, 4), ["a"], "over_exposure", 2.2) == pytest.approx(1.0)


def test_brightness_contrast_and_pixelate_by_hand() -> None:
    image = np.array([[0, 0.2, 0.4, 0.4], [0.2, 0.4, 0.4, 0.4]], np.float32)
    image = np.repeat(image[np.newaxis, ..., np.newaxis], 3, axis=3)
    found = corrupt_at(image, ["a"], "brightness", 0.7)[0, ..., 0]
    np.testing.assert_allclose(found, [[0.7, 0.9, 1, 1], [0.9, 1, 1, 1]])
    found = contrast(np.random.default_rng(), image[0], 0.5)[..., 0]  # the mean is 0.3
    np.testing.assert_allclose(found, [[0.15, 0.25, 0.35, 0.35], [0.25] + [0.35] * 3], atol=1e-7)
    found = corrupt_at(image, ["a"], "pixelate", 0.5)[0, ..., 0]
    np.testing.assert_allclose(found, [[0.2, 0.2, 0.4, 0.4]] * 2)


def test_jpeg_as_pillow_stores_it() -> None:
    images = drawn("skin")[:1]
    file = io.BytesIO()
    Image.fromarray(np.rint(images[0] * 255).astype(np.uint8)).save(file, "JPEG", quality=30)
    expected = np.asarray(Image.open(file), np.float32) / 255
    assert np.abs(corrupt_at(images, ["a"], "jpeg", 30)[0] - expected).max() <= 3 / 255


def test_the_vignette_is_the_fourth_power_of_the_cosine() -> None:
    found = CORRUPTIONS["vignette"].at(np.random.default_rng(3), uniform(1.0, 51)[0], 0.5)[..., 0]
    shift = np.random.default_rng(3).uniform(-0.15, 0.15, 2) * 51
    for row, column in ((0, 0), (25, 25), (40, 7)):
        distance = np.hypot(column - 25 - shift[0], row - 25 - shift[1])
        focal = 25.5 / math.sqrt(0.5)
        expected = math.cos(math.atan(distance / focal)) ** 4
        assert found[row, column] == pytest.approx(expected, rel=1e-4)


def test_the_black_frame_of_a_fundus_stays_black() -> None:
    images = drawn("fundus")
    images[:, 30:34, 30:34] = 0  # a dark spot inside is no frame
    field = field_of_view(images[0])
    assert field[0, 0] == 0
    assert field[32, 32] == 1
    corner = images[:, :4, :4]
    for name in ("light_leakage", "drip", "vignette"):
        np.testing.assert_array_equal(corrupt(images, IDS, name, 5)[:, :4, :4], corner)
    spot = corrupt(images, IDS, "light_leakage", 5)[:, 30:34, 30:34]
    assert spot.mean() > 0.05


def test_a_mixture_is_one_of_four_at_a_severity_up_to_its_own() -> None:
    image = drawn("skin")[0]
    ids = [str(index) for index in range(400)]
    # Light leakage and motion blur have chance of their own: their mean tells neither apart from
    # the rest, exposures are told by what they make of the image.
    exposed = {
        (name, severity): CORRUPTIONS[name](np.random.default_rng(), image, severity=severity)
        for name in ("under_exposure", "over_exposure")
        for severity in SEVERITIES
    }
    for highest in (1, 4):
        found = corrupt(np.repeat(image[np.newaxis], 400, axis=0), ids, "mixture", highest)
        drawn_ = [
            key for one in found for key, other in exposed.items() if np.array_equal(one, other)
        ]
        assert {severity for _, severity in drawn_} == set(range(1, highest + 1))
        # 100 of each are expected, standard deviation 8.7.
        for name in ("under_exposure", "over_exposure"):
            assert 65 < sum(each == name for each, _ in drawn_) < 135
        # Motion blur keeps the mean, light leakage does not.
        rest = [
            one
            for one in found
            if not any(np.array_equal(one, other) for other in exposed.values())
        ]
        blurred = sum(abs(one.mean() - image.mean()) < 0.02 for one in rest)
        assert 65 < blurred < 135
        assert 65 < len(rest) - blurred < 135


def test_a_grid_has_its_frequency_and_amplitude() -> None:
    found = corrupt_at(uniform(0.5, 256), ["a"], "grid_artefact", 0.1)[0, ..., 0] - 0.5
    assert found.std() == pytest.approx(0.1 / math.sqrt(2), rel=0.05)
    power = np.abs(np.fft.fft2(found)) ** 2
    peak = np.unravel_index(power[:128, :128].argmax(), (128, 128))
    assert 19 <= math.hypot(*peak) <= 46


def test_a_grid_stays_visible_where_the_image_is_small() -> None:
    for index in range(20):
        found = corrupt_at(uniform(0.5, 32), [str(index)], "grid_artefact", 0.1)[0, ..., 0] - 0.5
        assert abs(found.mean()) < 0.01
        assert found.std() == pytest.approx(0.1 / math.sqrt(2), rel=0.1)


def test_hairs_and_ink_darken_and_a_ruler_counts_its_ticks() -> None:
    flat = uniform(0.8, 200)
    for name in ("hair", "ruler"):
        found = corrupt(flat, ["a"], name, 3)
        assert (found <= flat + 1e-6).all()
        assert 0.01 < (found < 0.5).mean() < 0.5
    assert SHIFT == 4
    image = corrupt(flat, ["a"], "ruler", 5)[0, ..., 0]
    lines: Iterable[np.ndarray] = (image[14], image[-15], image[:, 14], image[:, -15])
    ticks = [int((np.diff((line < 0.45).astype(int)) == 1).sum()) for line in lines]
    assert max(ticks) in (24, 25)


ERRORS = {"jpeg": (0.2, 0.4), "hair": (0.3, 0.3)}
BASELINE = {"hair": (0.2, 0.4), "jpeg": (0.4, 0.8)}


def test_mean_corruption_error_by_hand() -> None:
    # .6 / 1.2 and .6 / .6, mean .75.
    assert corruption_errors(ERRORS, BASELINE) == pytest.approx({"jpeg": 0.5, "hair": 1.0})
    assert mean_corruption_error(ERRORS, BASELINE) == pytest.approx(0.75)
    # Clean .1 and .2: (.1 + .3) / (.2 + .6) = .5 and (.2 + .2) / (0 + .2) = 2.
    assert mean_corruption_error(ERRORS, BASELINE, clean=(0.1, 0.2)) == pytest.approx(1.25)
    assert mean_corruption_error(BASELINE, BASELINE) == pytest.approx(1)


def test_error_tables_that_do_not_fit_are_told() -> None:
    with pytest.raises(UserError, match="against a baseline of hair: expected the same"):
        mean_corruption_error(ERRORS, {"hair": (0.1, 0.2)})
    with pytest.raises(UserError, match="expected the same corruptions"):
        mean_corruption_error({}, {})
    with pytest.raises(UserError, match="hair: 1 severities against 2 of the baseline"):
        mean_corruption_error({"hair": (0.1,)}, {"hair": (0.1, 0.2)})
    with pytest.raises(UserError, match="corruption hair: the baseline loses nothing"):
        mean_corruption_error({"hair": (0.1,)}, {"hair": (0.0,)})
    with pytest.raises(UserError, match="above its clean one"):
        mean_corruption_error({"hair": (0.1,)}, {"hair": (0.1,)}, clean=(0.1, 0.1))


def test_the_sheet_shows_the_rows_that_have_an_image(tmp_path: Path) -> None:
    for kind in ("skin", "xray"):
        picture = np.rint(drawn(kind)[0] * 255).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{kind}.png")
    out = tmp_path / "sheet.png"
    given = [f"--image={kind}={tmp_path / kind}.png" for kind in ("skin", "xray")]
    assert sheets.main([*given, "--out", str(out), "--tile", "20"]) == 0
    shown = sum(row.kind != "fundus" for row in CORRUPTIONS.values())
    with Image.open(out) as picture_:
        assert picture_.size == (118 + 6 * 23, 20 + shown * 23)


def test_a_sheet_of_no_image_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    out = ["--out", str(tmp_path / "sheet.png")]
    assert sheets.main([f"--image=skin={text}", *out]) == 1
    assert "expected an image" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        sheets.main(["--image=mri=a.png", *out])
    assert "expected KIND=FILE" in capsys.readouterr().err
