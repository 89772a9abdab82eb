"""The report's small parts: ranges, numbers, places on the axis, sizes of pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from attnrobust.report import cells, figures, pictures, results, samples


def test_perturbation_is_scaled_by_its_own_maximum() -> None:
    clean = np.full((1, 2, 3), 0.5, np.float32)
    perturbed = clean + np.array([[[0.01, 0, -0.01], [0.005, -0.02, 0]]], np.float32)
    picture, factor = samples.scale_perturbation(clean, perturbed)
    expected = [[[0.75, 0.5, 0.25], [0.625, 0.0, 0.5]]]
    np.testing.assert_allclose(picture, expected, atol=1e-5)
    assert factor == pytest.approx(25, rel=1e-5)
    picture, factor = samples.scale_perturbation(clean, clean)
    assert factor == 0
    assert (picture == 0.5).all()


def test_heatmaps_without_evidence_stay_finite() -> None:
    zero = np.zeros((4, 4), np.float16)
    assert (samples.normalise(zero) == 0).all()
    half = samples.normalise(np.array([[0, 2], [1, np.nan]], np.float16))
    np.testing.assert_array_equal(half, np.array([[0, 1], [0.5, 0]]))
    blended = samples.overlay(np.full((8, 8, 3), 0.5, np.float32), samples.normalise(zero))
    assert np.isfinite(blended).all()
    assert blended.min() >= 0
    assert blended.max() <= 1


def test_numbers_are_written_in_full() -> None:
    values = (0.00125, 1e-5, 8 / 255, 0, 255 * 0.04, 2.0, 0.1)
    assert [results.number(value) for value in values] == [
        "0.00125",
        "0.00001",
        "0.03137",
        "0",
        "10.2",
        "2",
        "0.1",
    ]
    assert str(results.Estimate(0.785, 0.731, 0.832, 200)) == "0.785 (0.731–0.832)"
    assert str(results.Estimate(0.0, -1e-17, 0.017)) == "0.000 (0.000–0.017)"
    assert str(results.Estimate(0.5)) == "0.500"
    assert str(results.Estimate(np.nan)) == "–"


def test_axis_spaces_doublings_evenly() -> None:
    assert figures.positions([0.01, 0.005, 0.02]) == {0: 0, 0.005: 1, 0.01: 2, 0.02: 3}


def test_photographs_shrink_to_the_limit_and_curves_do_not() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    photo = pictures.Picture("p", noise, "alt", "caption", 256, photo=True)
    data = pictures.embed(photo, 30_000)
    assert len(data) <= 30_000
    assert pictures.embed(photo, 10**6) != data, "as well as fits"
    curve = pictures.Picture("c", noise, "alt", "caption", 256)
    kept = np.asarray(Image.open(io.BytesIO(pictures.embed(curve, 1))).convert("RGB"))
    np.testing.assert_array_equal(kept, noise)


def test_long_words_do_not_leave_their_cell() -> None:
    row = cells.Row(
        (("word " * 40, "#000"), ("x" * 200, "#000")),
        (cells.Cell(np.zeros((8, 8, 3), np.float32), "n" * 99),),
    )
    pixels, width = cells.draw([row], ["head"], side=64)
    assert pixels.shape[1] == width
    assert (pixels[:, -2 - cells.MARGIN :] == 255).all()
    edge = cells.MARGIN + cells.LEFT
    assert (pixels[:, edge - 8 : edge - 1] == 255).all()
