"""Metrics against scikit-learn, intervals against published numbers."""

import functools
import math
import warnings

import numpy as np
import pytest
from sklearn import metrics as reference

from attnrobust.measures import calibration, metrics

SEEDS = range(4)


def drawn(seed: int, *, n: int = 60, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Labels with every class, and rounded probabilities, so that there are ties."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    probability = np.round(rng.dirichlet(np.ones(classes), n) * 8) / 8 + 1e-3
    return labels, probability / probability.sum(axis=1, keepdims=True)


def judged(name: str, labels: np.ndarray, probability: np.ndarray) -> float:
    """The same measure by scikit-learn."""
    if name == "macro_auc":
        return float(
            reference.roc_auc_score(labels, probability, average="macro", multi_class="ovr")
        )
    prediction = probability.argmax(axis=1)
    if name == "quadratic_kappa":
        return float(reference.cohen_kappa_score(labels, prediction, weights="quadratic"))
    table = {
        "accuracy": reference.accuracy_score,
        "balanced_accuracy": reference.balanced_accuracy_score,
        "quadratic_kappa": functools.partial(reference.cohen_kappa_score, weights="quadratic"),
    }
    return float(table[name](labels, prediction))


JUDGED = ("accuracy", "balanced_accuracy", "macro_auc", "quadratic_kappa")


def test_every_metric_has_a_judge_here_or_in_test_calibration() -> None:
    assert set(metrics.METRICS) == {*JUDGED, *calibration.CALIBRATION}


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_metric_equals_scikit_learns(name: str, seed: int) -> None:
    labels, probability = drawn(seed)
    value = metrics.METRICS[name](labels, probability, np.ones((1, len(labels))))
    assert value.shape == (1,)
    assert value[0] == pytest.approx(judged(name, labels, probability), abs=1e-12)


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("seed", SEEDS)
def test_weights_are_repeated_rows(name: str, seed: int) -> None:
    labels, probability = drawn(seed)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(labels)))
    weights[:, : probability.shape[1]] += 1  # every class stays
    values = metrics.METRICS[name](labels, probability, weights.astype(float))
    for value, times in zip(values, weights, strict=True):
        repeated = np.repeat(np.arange(len(labels)), times)
        expected = judged(name, labels[repeated], probability[repeated])
        assert value == pytest.approx(expected, abs=1e-12)


def test_ties_count_half_by_hand() -> None:
    # Class 1 scores: positives 0.8 and 0.5, negatives 0.5 and 0.2: (1 + 1 + 0.5 + 1) / 4 pairs.
    probability = np.array([[0.2, 0.8], [0.5, 0.5], [0.5, 0.5], [0.8, 0.2]])
    labels = np.array([1, 1, 0, 0])
    assert metrics.macro_auc(labels, probability, np.ones((1, 4)))[0] == pytest.approx(3.5 / 4)
    same = np.full((4, 2), 0.5)
    assert metrics.macro_auc(labels, same, np.ones((1, 4)))[0] == 0.5


def test_kappa_by_hand() -> None:
    # Grades 0, 0, 2, 1 called 0, 1, 2, 1: squares 0, 1, 0, 0 of 4. Each label against each
    # prediction: 0 + 1 + 4 + 1, twice, 4 + 1 + 0 + 1 and 1 + 0 + 1 + 0, 20 of 16.
    labels, probability = np.array([0, 0, 2, 1]), np.eye(3)[[0, 1, 2, 1]]
    assert metrics.quadratic_kappa(labels, probability, np.ones((1, 4)))[0] == pytest.approx(0.8)
    same = np.full(3, 2)
    assert math.isnan(metrics.quadratic_kappa(same, np.eye(3)[same], np.ones((1, 3)))[0])


def test_a_class_without_examples_is_left_out_of_the_mean() -> None:
    labels = np.array([0, 0, 0, 1])
    probability = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.2, 0.7, 0.1]])
    ones = np.ones((1, 4))
    recalls = metrics.recalls(labels, probability, ones)[0]
    assert recalls[:2] == pytest.approx([2 / 3, 1])
    assert math.isnan(recalls[2])
    assert metrics.balanced_accuracy(labels, probability, ones)[0] == pytest.approx(5 / 6)
    # Class 0: positives .8 .7 .1 against .2: 2 of 3 pairs; class 1: .7 above .1 .2 .2: 3 of 3.
    assert metrics.macro_auc(labels, probability, ones)[0] == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # the first four: Newcombe 1998, table I, method 3 (Wilson without continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_gives_the_published_intervals(
    successes: int, n: int, low: float, high: float
) -> None:
    found = metrics.wilson(successes, n)
    assert found == pytest.approx((low, high), abs=5e-5)
    assert 0 <= found[0] <= successes / n <= found[1] <= 1


def test_wilson_of_nothing_is_not_defined() -> None:
    assert all(map(math.isnan, metrics.wilson(0, 0)))


def test_probabilities_are_the_softmax_and_bear_large_logits() -> None:
    found = metrics.probabilities(np.array([[0.0, math.log(3)], [5e4, 0.0]], np.float32))
    np.testing.assert_allclose(found, [[0.25, 0.75], [1.0, 0.0]], atol=1e-7)
    assert found.dtype == np.float64


def test_accuracy_comes_with_wilsons_interval() -> None:
    labels = np.array([0] * 29)
    probability = np.tile([0.3, 0.7], (29, 1))
    probability[4] = [0.6, 0.4]
    value, low, high, interval = metrics.measure(metrics.METRICS["accuracy"], labels, probability)
    assert value == pytest.approx(1 / 29)
    assert interval == "wilson"
    assert (low, high) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_auc"])
def test_a_bootstrap_holds_the_value_and_is_the_same_again(name: str) -> None:
    labels, probability = drawn(1, n=80)
    metric = metrics.METRICS[name]
    value, low, high, _ = found = metrics.measure(metric, labels, probability)
    assert value == pytest.approx(judged(name, labels, probability))
    assert low < value < high
    assert metrics.measure(metric, labels, probability) == found
    assert metrics.measure(metric, labels, probability, seed=1) != found


def test_the_bootstrap_interval_of_a_mean_is_the_textbook_one() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(3.0, 2.0, 400)

    def mean(labels: np.ndarray, probability: np.ndarray, weights: np.ndarray) -> np.ndarray:
        del labels
        return np.asarray(weights @ probability[:, 0] / weights.sum(axis=1))

    value, low, high, _ = metrics.measure(
        calibration.Row(mean), np.zeros(400, int), score[:, np.newaxis]
    )
    half = 1.96 * score.std() / 20
    assert value == pytest.approx(score.mean())
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.15 * half)


def test_a_measure_that_is_nowhere_defined_is_nan_without_a_warning() -> None:
    labels, probability = np.zeros(5, int), np.full((5, 1), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics.measure(metrics.METRICS["macro_auc"], labels, probability)
    assert all(map(math.isnan, found[:3]))


def grouped(rng: np.random.Generator, patients: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Hits and groups: 1 to 7 images a patient, of whom half are nearly always read wrong.

    A patient's number of images and difficulty are independent, so that the true share is 0.5.
    """
    number = rng.integers(1, 8, patients)
    easy = np.where(rng.random(patients) < 0.5, 0.95, 0.05)
    groups = np.repeat(np.arange(patients), number)
    return rng.random(len(groups)) < easy[groups], groups.astype(str)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 200)


@pytest.mark.usefixtures("few")
def test_a_group_bootstrap_covers_where_wilson_does_not() -> None:
    rng, draws = np.random.default_rng(0), 300
    covered = np.zeros(2)
    for _ in range(draws):
        hits, groups = grouped(rng)
        ends = (
            metrics.wilson(int(hits.sum()), len(hits)),
            metrics.proportion(hits, groups=groups)[1:3],
        )
        covered += [low <= 0.5 <= high for low, high in ends]
    wilson, group = covered / draws
    # Images of a patient taken as independent: about 0.7 for what is called 0.95.
    assert wilson < 0.8
    assert 0.91 <= group <= 0.98


def test_a_bootstrap_of_groups_resamples_whole_groups_by_hand() -> None:
    # Three groups of 2 right, 1 wrong, 1 wrong image: a resample takes each 0 to 3 times.
    hits, groups = np.array([1, 0, 1, 0], bool), np.array(["a", "b", "a", "c"])
    found = metrics.proportion(hits, groups=groups)
    # a never drawn (8 of 27): 0; a always (1 of 27): 1; so 2.5 and 97.5 % lie at these ends.
    assert found == (0.5, 0.0, 1.0, "group_bootstrap")
    assert metrics.mean(hits.astype(float), groups=groups) == found
    assert metrics.proportion(hits, groups=groups) == found, "the same again"
    one, *_ = metrics.METRICS.values()
    assert metrics.measure(one, np.zeros(4, int), np.eye(2)[1 - hits], groups=groups) == found


def test_few_groups_never_tell_more_than_independent_images() -> None:
    # Every pair one right and one wrong image: each resample is 0.5.
    hits, groups = np.arange(12) % 2 == 0, np.arange(12) // 2
    found = metrics.proportion(hits, groups=groups)
    assert found == (0.5, *metrics.wilson(6, 12), "group_bootstrap")


@pytest.mark.usefixtures("few")
def test_groups_of_one_image_change_nothing() -> None:
    labels, probability = drawn(1, n=80)
    alone = np.arange(80).astype(str)[::-1]
    for name, metric in metrics.METRICS.items():
        np.testing.assert_equal(
            metrics.measure(metric, labels, probability, groups=alone),
            metrics.measure(metric, labels, probability),
            name,
        )
    values = probability[:, 0]
    assert metrics.mean(values, groups=alone) == metrics.mean(values)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", metrics.METRICS)
def test_every_bootstrap_is_wider_where_images_of_a_group_are_copies(name: str) -> None:
    # Each image four times, as one patient's: a quarter of the images, so twice as wide.
    labels, probability = drawn(1, n=60)
    four = np.repeat(np.arange(60), 4)
    metric = metrics.METRICS[name]
    alone = metrics.measure(metric, labels[four], probability[four])
    together = metrics.measure(metric, labels[four], probability[four], groups=four)
    assert together.value == alone.value
    if metric.biased:
        assert together.interval == ""
        return
    assert together.interval == "group_bootstrap"
    assert together.high - together.low > 1.4 * (alone.high - alone.low)
    ours = metrics.measure(metric, labels, probability)
    if ours.interval == "bootstrap" and metric.plugin is None:
        assert together[:3] == pytest.approx(ours[:3]), "the same resamples of the same groups"


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_where_all_groups_agree_groups_count_as_images(right: float) -> None:
    hits, groups = np.full(20, right, bool), np.arange(20) // 4
    found = metrics.proportion(hits, groups=groups)
    assert found == (right, *metrics.wilson(round(5 * right), 5), "wilson")
    assert found.low < found.high


def test_resampling_holds_as_much_in_memory_for_many_images_as_for_few() -> None:
    sizes = []

    def mean(weights: np.ndarray) -> np.ndarray:
        sizes.append(weights.size)
        return weights.mean(axis=1)

    for n in (100, 30_000):
        metrics._Resampling(n, 0, None).ends(mean)
    assert max(sizes) <= 2_000_000
    assert sum(sizes) == metrics.RESAMPLES * 30_100
