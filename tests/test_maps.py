"""Measures of one heatmap, and of two models on the same images: numbers computed by hand."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from scipy import stats

from attnrobust.errors import UserError
from attnrobust.measures import maps, metrics
from attnrobust.measures.maps import MAP_METRICS
from attnrobust.measures.paired import difference

POINT = np.array([[0.0, 0, 0], [0, 4, 0]])
FLAT = np.full((2, 3), 0.5)
NOTHING = np.zeros((2, 3))
LEFT = np.array([[True, False, False], [True, False, False]])


def test_gini_goes_from_a_flat_map_to_one_pixel() -> None:
    assert maps.gini(FLAT) == pytest.approx(0)
    assert maps.gini(POINT) == pytest.approx(1 - 1 / 6)
    # 1, 2, 3, 4: 2 (1 + 4 + 9 + 16) / (4 x 10) - 5/4.
    assert maps.gini(np.array([[4.0, 1], [3, 2]])) == pytest.approx(0.25)


def test_gini_is_half_the_mean_difference_of_two_pixels_over_the_mean() -> None:
    values = np.random.default_rng(0).exponential(size=(7, 9))
    apart = np.abs(values.ravel()[:, None] - values.ravel()).mean()
    assert maps.gini(values) == pytest.approx(apart / (2 * values.mean()))


def test_total_variation_is_the_mean_step_between_neighbours_over_the_mean() -> None:
    assert maps.total_variation(FLAT) == 0
    # Of 7 pairs of neighbours 3 differ, by 4; the mean is 4/6.
    assert maps.total_variation(POINT) == pytest.approx((12 / 7) / (4 / 6))
    board = np.indices((4, 4)).sum(axis=0) % 2
    assert maps.total_variation(board) == pytest.approx(2), "every neighbour differs by 1; mean 0.5"
    assert maps.total_variation(np.kron(board, np.ones((2, 2)))) < 2


def test_pointing_asks_where_the_largest_pixel_is() -> None:
    assert maps.pointing(POINT, LEFT) == 0
    assert maps.pointing(POINT, ~LEFT) == 1
    assert maps.pointing(np.array([[6.0, 5, 1], [2, 3, 4]]), LEFT) == 1
    assert maps.pointing(FLAT, LEFT) == pytest.approx(1 / 3), "all are largest, a third is inside"


def test_rank_accuracy_takes_as_many_pixels_as_the_mask_has() -> None:
    heat = np.array([[6.0, 5, 1], [2, 3, 4]])
    assert maps.rank_accuracy(heat, LEFT) == 1 / 2, "6 and 5, of which 6 is inside"
    assert maps.rank_accuracy(heat, heat > 2) == 1
    assert maps.rank_accuracy(FLAT, LEFT) == pytest.approx(1 / 3), "chance"
    assert maps.rank_accuracy(POINT, ~LEFT) == 1 / 4, "pixels of value 0 are never among them"


def test_mass_inside() -> None:
    heat = np.array([[6.0, 5, 1], [2, 3, 4]])
    assert maps.mass_inside(heat, LEFT) == pytest.approx(8 / 21)


def test_spearman_is_scipys() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.integers(0, 5, (6, 7)), rng.integers(0, 5, (6, 7))
    judged = stats.spearmanr(one.ravel(), other.ravel()).statistic
    assert maps.spearman(one, other) == pytest.approx(judged)
    assert maps.spearman(one, np.exp(one)) == pytest.approx(1)
    assert math.isnan(maps.spearman(one, np.ones((6, 7))))


@pytest.mark.parametrize("name", [name for name, row in MAP_METRICS.items() if not row.scored])
def test_contract_of_every_measure_of_a_map(name: str) -> None:
    heat, of = np.random.default_rng(2).random((2, 3)), functools.partial(maps.measure, name)
    assert of(heat, LEFT) == pytest.approx(of(heat * 1000, LEFT)), "a scale has no meaning"
    assert math.isnan(of(NOTHING, LEFT))
    assert math.isnan(of(heat, ~LEFT & LEFT)) == MAP_METRICS[name].masked
    with pytest.raises(UserError, match="mask: 3 x 2, expected 2 x 3, the heatmap's size"):
        of(heat, LEFT.T)
    with pytest.raises(UserError, match="heatmap: 6 of 6 pixels are not finite"):
        of(heat * np.nan, LEFT)


def test_a_difference_is_taken_image_by_image() -> None:
    """Images differ by far more than models do: what is common falls out of the interval."""
    rng = np.random.default_rng(0)
    first = rng.normal(0, 100, 50)
    second = first + 1 + rng.normal(0, 0.1, 50)
    found = difference(first, second)
    assert found.value == pytest.approx((second - first).mean())
    assert 0.9 < found.low < found.value < found.high < 1.1
    assert found.n == 50
    back = difference(second, first)
    assert (back.value, back.n) == (pytest.approx(-found.value), 50)
    assert found[:3] == tuple(metrics.mean(second - first)[:3])


def test_a_difference_counts_only_images_that_have_both_and_draws_groups() -> None:
    first, second = np.zeros(13), np.repeat([1.0, 3.0, 9.0], [6, 6, 1])
    first[12] = np.nan
    groups = np.repeat(["p", "q", "r"], [6, 6, 1])
    found = difference(first, second, groups)
    assert (found.value, found.n) == (2, 12)
    assert (found.low, found.high) == (1, 3), "one patient alone, in half of all resamples"
    alone = difference(first, second)
    assert 1 < alone.low < 2 < alone.high < 3
    with pytest.raises(ValueError, match="13 and 4 numbers"):
        difference(first, second[:4])
