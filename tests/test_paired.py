"""Two models on the same images: by hand, against statsmodels and SciPy, and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import bootstrap, norm, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from attnrobust.measures import metrics, paired, paired_tests, power, spread

# Seeds of either model, and how far they lie apart (standard deviation of the logit).
SEED_CASES = [(1, 0), (2, 0), (2, 0.4), (3, 0), (3, 0.4), (5, 0), (5, 0.4)]


def split(only_first: int, only_second: int, n: int, both: int = 0) -> tuple[np.ndarray, ...]:
    """Whether each of n images is right, of two models (N,)."""
    place = np.arange(n)
    first = place < only_first + both
    second = (place >= only_first) & (place < only_first + both + only_second)
    return first, second


def one(first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None) -> paired.Paired:
    """Of a seed of each and one condition."""
    return paired.compare(first[None, None], second[None, None], groups)[0]


def test_a_difference_by_hand() -> None:
    # Ten images: both right on 2, only the first on 1, only the second on 5.
    found = one(*split(1, 5, 10, both=2))
    assert found.value == pytest.approx(0.4)
    assert (found.only_first, found.only_second, found.n) == (1, 5, 10)
    # Of six fair coins at most one is heads, or at least five: 2 (1 + 6) / 64.
    assert found.p == pytest.approx(14 / 64)
    assert (found.interval, found.test) == ("bootstrap", "mcnemar")
    assert found.low < 0 < found.value < found.high


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 5), (3, 0, 9), (7, 19, 40), (40, 41, 300)])
def test_the_p_of_images_is_mcnemars_exact_one(b: int, c: int, n: int) -> None:
    expected = mcnemar([[0, b], [c, n - b - c]], exact=True).pvalue
    assert one(*split(b, c, n)).p == pytest.approx(expected)


def test_the_p_of_groups_counts_every_turn_of_their_signs() -> None:
    apart = np.array([3, -1, 2, 2, 0, 1, -2])
    turns = [abs(np.dot(signs, apart)) for signs in itertools.product((-1, 1), repeat=7)]
    expected = np.mean([each >= 5 for each in turns])
    assert paired_tests.sign_flips(apart) == pytest.approx(expected)
    # As right answers: groups of three images, of which so many are right.
    groups = np.repeat(np.arange(7), 3)
    first = np.concatenate([np.arange(3) < max(0, -each) for each in apart])
    second = np.concatenate([np.arange(3) < max(0, each) for each in apart])
    found = one(first, second, groups)
    assert found.p == pytest.approx(expected)
    assert (found.test, found.interval) == ("group_sign_flips", "group_bootstrap")
    assert found.value == pytest.approx(5 / 21)


def test_holm_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 9):
        p = np.append(rng.random(count) ** 3, [1.0, 0.01, 0.01])
        assert paired_tests.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_the_interval_of_images_is_scipys_bootstrap() -> None:
    first, second = split(30, 55, 300, both=100)
    apart = second.astype(float) - first
    ends = bootstrap((apart,), np.mean, method="percentile", n_resamples=20000, rng=0)
    found = one(first, second)
    expected = (ends.confidence_interval.low, ends.confidence_interval.high)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.006)


def test_images_of_a_group_tell_no_more_than_one() -> None:
    first, second = split(6, 12, 60, both=20)
    alone = one(first, second)
    groups = np.repeat(np.arange(60), 4)
    together = one(first.repeat(4), second.repeat(4), groups)
    assert together.n == 240
    assert together.p == pytest.approx(alone.p)
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    sure = one(first.repeat(4), second.repeat(4))
    assert sure.high - sure.low < 0.6 * (together.high - together.low)
    apart = together.low, together.value, together.high
    theirs = one(second.repeat(4), first.repeat(4), groups)
    assert (theirs.high, theirs.value, theirs.low) == pytest.approx([-x for x in apart], abs=0.02)


def test_where_nothing_tells_them_apart_the_interval_is_not_empty() -> None:
    none = np.zeros(40, bool)
    found = one(none, none)
    end = metrics.wilson(0, 40)[1]
    assert (found.low, found.value, found.high, found.p) == pytest.approx((-end, 0, end, 1))
    patients = one(none, none, np.arange(40) // 4)
    assert patients.high == pytest.approx(metrics.wilson(0, 10)[1]), "ten patients, not forty"


@pytest.mark.parametrize(("b", "c", "n"), [(5, 14, 60), (6, 14, 60), (0, 6, 9), (30, 51, 400)])
def test_tangos_interval_leaves_out_0_where_mcnemars_normal_test_does(
    b: int, c: int, n: int
) -> None:
    low, high = paired_tests.tango(b, c, n)
    told = mcnemar([[0, b], [c, n - b - c]], exact=False, correction=False).pvalue < 0.05
    assert (low > 0 or high < 0) == told
    assert -1 <= low < (c - b) / n < high <= 1
    assert paired_tests.tango(c, b, n) == pytest.approx((-high, -low))


def test_tangos_score_is_of_the_likeliest_shares_with_that_difference() -> None:
    """At each end, by trying all of them."""
    b, c, n = 7, 19, 80
    for end in paired_tests.tango(b, c, n):
        shares = np.linspace(1e-6, 1 - 1e-6, 400_001)  # only the first right
        shares = shares[(shares + end > 0) & (2 * shares + end < 1)]
        chance = c * np.log(shares + end) + b * np.log(shares)
        chance += (n - b - c) * np.log(1 - 2 * shares - end)
        best = shares[chance.argmax()]
        spread = np.sqrt(n * (2 * best + end - end**2))
        assert abs((c - b - n * end) / spread) == pytest.approx(norm.ppf(0.975), abs=1e-4)


def test_conditions_do_not_see_each_other() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 3, 4, 50)) < 0.6
    groups = rng.integers(0, 20, 50)
    together = paired.compare(first, second, groups)
    for level, found in enumerate(together):
        alone = paired.compare(first[:, level, None], second[:, level, None], groups)
        assert found == pytest.approx(alone[0]) or found == alone[0]


def test_seeds_are_resampled_too() -> None:
    first, second = split(6, 12, 60, both=20)
    alike = paired.compare(np.tile(first, (3, 1, 1)), np.tile(second, (3, 1, 1)))[0]
    alone = one(first, second)
    assert (alike.interval, alike.test) == ("seeds_and_groups", "t")
    assert (alike.value, alike.only_first) == pytest.approx((alone.value, alone.only_first))
    assert (alike.low, alike.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    # Seeds of the first model lie far apart: 11, 26 and 41 of 60 right.
    apart = np.stack([np.arange(60) < count for count in (11, 26, 41)])[:, None]
    wide = paired.compare(apart, np.tile(second, (3, 1, 1)))[0]
    assert wide.high - wide.low > 1.5 * (alike.high - alike.low)
    assert wide.p > alike.p
    unequal = paired.compare(apart, second[None, None])[0]
    assert unequal.value == pytest.approx(wide.value), "one seed against three"


def test_an_interval_ends_where_numbers_do() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, 1, 20)) * 3 + [[[[0]]], [[[5]]]]
    found = paired.compare(first, second, most=np.inf)[0]
    assert found.low < found.value < found.high
    assert found.value == pytest.approx((second - first).mean())
    assert paired.compare(first, second, most=found.value)[0].high == found.value


def test_other_images_and_single_ones_are_told() -> None:
    with pytest.raises(ValueError, match="expected the same images"):
        paired.compare(np.ones((1, 1, 3), bool), np.ones((1, 1, 4), bool))
    lonely = one(np.zeros(3, bool), np.ones(3, bool), np.zeros(3))
    assert lonely.value == 1
    assert np.isnan([lonely.low, lonely.high, lonely.p]).all(), "one patient tells nothing"


def test_what_seeds_do_by_chance_on_each_image_is_counted_once() -> None:
    """Against a two-way analysis of variance by hand."""
    rng = np.random.default_rng(3)
    first, second = rng.random((2, 4, 1, 200)) < rng.random(200)
    sides = paired.Sides(first, second, None)
    found = spread.spread(
        sides.values(0),
        [each[:, :, 0] for each in sides.draws(np.random.default_rng(0), 20_000)],
        200,
    )
    for chance, (seeds, own), each in zip(
        found.chance, found.seeds, (first[:, 0], second[:, 0]), strict=True
    ):
        rest = each - each.mean(axis=0) - each.mean(axis=1, keepdims=True) + each.mean()
        # Mean square of what is left, of the mean over 4 seeds and 200 images.
        assert chance == pytest.approx((rest**2).sum() / (3 * 199) / 800, rel=0.05)
        assert (seeds, own) == (pytest.approx(each.mean(axis=1).var(ddof=1) / 4), 3)
    apart = second[:, 0].mean(axis=0) - first[:, 0].mean(axis=0)
    assert found.groups == pytest.approx(apart.var(ddof=1) / 200, rel=0.05)
    assert found.variance == pytest.approx(
        max(0, found.groups - sum(found.chance)) + sum(part for part, _ in found.seeds)
    )


def test_a_ratio_is_told_by_a_multiple() -> None:
    """70 of 100 against 20: surely twice as many, not eight times."""
    first, second = split(0, 50, 100, both=20)
    twice, eight = (
        paired.compare(first[None, None], second[None, None], factor=factor)[0] for factor in (2, 8)
    )
    assert (twice.value, eight.value) == pytest.approx((0.3, -0.9))
    assert twice.low > 0
    assert eight.high < 0
    none = np.zeros(50, bool)
    empty = paired.compare(none[None, None], none[None, None], factor=20)[0]
    assert empty.low < -0.5 < 0 < empty.high, "nothing of 50 may be a few of a thousand"
    assert (empty.low, empty.high) == pytest.approx(
        (-20 * metrics.wilson(0, 50)[1], metrics.wilson(0, 50)[1])
    )


def test_numbers_that_are_no_shares_are_compared_by_their_means() -> None:
    rng = np.random.default_rng(5)
    first = rng.random((1, 1, 80))
    second = np.clip(first + rng.normal(0.05, 0.1, first.shape), 0, 1)
    found = paired.compare(first, second)[0]
    test = ttest_rel(second.ravel(), first.ravel())
    ends = test.confidence_interval()
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=0.004)
    assert found.p == pytest.approx(test.pvalue, rel=0.5)
    assert found.test == "t"
    assert found.only_second == (second > first).sum()


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, 5, -5])
@pytest.mark.parametrize(("seeds", "spread_"), SEED_CASES)
def test_intervals_cover_as_often_as_they_say(level: int, seeds: int, spread_: float) -> None:
    """2,000 draws of 60 patients of 1 to 10 images each, whose images are alike.

    About half of all images are right, or one to two in a hundred, or all but so many; every seed
    has other images wrong by chance, and is better or worse than others where `spread_` says so.
    """
    rng, groups, draws = np.random.default_rng([seeds, int(10 * spread_), 5 + level]), 60, 250
    place = np.repeat(np.arange(groups), rng.integers(1, 11, groups))
    n, shift = len(place), 0.4

    def model(hard: np.ndarray, by: float) -> np.ndarray:
        own = rng.normal(0, 0.6, (draws, groups))[:, place]
        chance = expit(hard + own + by + rng.normal(0, 1, (seeds, draws, 1)) * spread_)
        return rng.random((seeds, draws, n)) < chance

    everybody = rng.normal(level, np.sqrt(1.2**2 + 1 + 0.6**2 + spread_**2), 2_000_000)
    truth = (expit(everybody + shift) - expit(everybody)).mean()
    found, naive = [], []
    for _ in range(2000 // draws):
        hard = rng.normal(level, 1.2, (draws, groups))[:, place] + rng.normal(0, 1, (draws, n))
        first, second = model(hard, 0), model(hard, shift)
        found += paired.compare(first, second, place)
        if seeds == 1 and not level:
            naive += paired.compare(first, second)
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=0.015)
    assert all(-1 <= each.low <= each.value <= each.high <= 1 for each in found)
    if naive:
        assert np.mean([each.low <= truth <= each.high for each in naive]) < 0.93, "images alone"


@pytest.mark.parametrize(("b", "c", "n"), [(20, 30, 268), (10, 40, 200), (1, 2, 200)])
def test_as_many_images_are_needed_as_the_normal_distribution_says(b: int, c: int, n: int) -> None:
    """Connor (1987), without continuity correction."""
    apart, either = (c - b) / n, (b + c) / n
    z = norm.ppf([0.975, 0.8]).sum()
    expected = z**2 * (either - apart**2) / apart**2
    first, second = split(b, c, n)
    assert power.needed(first[None], second[None]) == pytest.approx(expected, rel=0.12)


def test_more_images_are_needed_of_groups_and_none_do_where_nothing_differs() -> None:
    first, second = split(10, 40, 200)
    alone = power.needed(first[None], second[None])
    groups = np.repeat(np.arange(200), 4)
    together = power.needed(first.repeat(4)[None], second.repeat(4)[None], groups)
    assert alone is not None
    assert together == pytest.approx(4 * alone, rel=0.12)
    assert power.needed(first[None], first[None]) is None
    # A difference of 0.15 is told from 0.1 harder than from 0; seeds far apart tell nothing.
    nearer = power.needed(first[None], second[None], least=0.1)
    assert nearer is not None
    assert nearer > 4 * alone
    seeds = np.stack([np.arange(200) < count for count in (20, 100, 180)])
    assert power.needed(seeds, second[None]) is None
