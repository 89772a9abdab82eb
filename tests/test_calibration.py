"""Calibration by hand, against uncertainty-calibration's numbers and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from attnrobust.measures import calibration, metrics
from attnrobust.measures.calibration import CALIBRATION

LABELS = np.array([0, 1, 0, 0])
HALVES = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])


def value(name: str, labels: np.ndarray, probability: np.ndarray) -> float:
    found = CALIBRATION[name](labels, probability, np.ones((1, len(labels))))
    assert found.shape == (1,)
    return float(found[0])


def drawn(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels from flatter probabilities than the ones told: too sure of itself."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 2.0
    told = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = np.exp(logits * 0.6) / np.exp(logits * 0.6).sum(axis=1, keepdims=True)
    return np.array([rng.choice(classes, p=row) for row in true]), told


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Confidence .9 with accuracy 1/2, confidence .6 with accuracy 1: both off by .4.
        ("ece", 0.4),
        ("adaptive_ece", 0.4),
        ("rmsce_top_plugin", 0.4),
        # .16 - (1/2 * 1/2) / 1 and .16 - 0, two images each: mean .035.
        ("rmsce_top", math.sqrt(0.035)),
        # Of two classes each has the same bins, read from the other end.
        ("rmsce_plugin", 0.4),
        ("rmsce", math.sqrt(0.035)),
        # 2 * .01, 2 * .81, 2 * .16 twice.
        ("brier", (0.02 + 1.62 + 0.32 + 0.32) / 4),
        ("nll", -(math.log(0.9) + math.log(0.1) + 2 * math.log(0.6)) / 4),
        (
            "entropy",
            -(0.9 * math.log(0.9) + 0.1 * math.log(0.1) + 0.6 * math.log(0.6) + 0.4 * math.log(0.4))
            / 2,
        ),
    ],
)
def test_by_hand(name: str, expected: float) -> None:
    assert value(name, LABELS, HALVES) == pytest.approx(expected, abs=1e-12)


def test_equal_mass_bins_by_hand() -> None:
    # 16 images, 15 shares, so the first holds two: (.5 + .52) / 2 against 1 of 2; of the others the
    # seven right ones are off by 1 - c and the seven wrong ones by c.
    confidence = 0.5 + np.arange(16) * 0.02
    right = np.arange(16) % 2 == 0
    probability = np.stack([confidence, 1 - confidence], axis=1)
    off = np.where(right, 1 - confidence, confidence)[2:]
    expected = (2 * abs(0.51 - 0.5) + off.sum()) / 16
    assert value("adaptive_ece", np.where(right, 0, 1), probability) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n", "classes", "seed", "expected"),
    [  # computed once by uncertainty-calibration 0.1.4 on the same arrays
        (
            300,
            2,
            0,
            {
                "ece": 0.08534630405481634,
                "adaptive_ece": 0.09643282186084906,
                "rmsce": 0.07025612625141946,
                "rmsce_plugin": 0.11621574211117822,
                "rmsce_top": 0.06576512968406498,
                "rmsce_top_plugin": 0.1139812219140879,
            },
        ),
        (
            500,
            7,
            2,
            {
                "ece": 0.13841435385118883,
                "adaptive_ece": 0.14099204075238064,
                "rmsce": 0.06314541006635689,
                "rmsce_plugin": 0.0837174167250948,
                "rmsce_top": 0.13257539029829649,
                "rmsce_top_plugin": 0.15635964153052706,
            },
        ),
    ],
)
def test_equal_to_uncertainty_calibration(
    n: int, classes: int, seed: int, expected: dict[str, float]
) -> None:
    labels, probability = drawn(n, classes, seed)
    for name, number in expected.items():
        assert value(name, labels, probability) == pytest.approx(number, abs=1e-12), name


def test_nll_is_scikit_learns() -> None:
    labels, probability = drawn(100, 4, 0)
    assert value("nll", labels, probability) == pytest.approx(log_loss(labels, probability))


@pytest.mark.parametrize("name", CALIBRATION)
@pytest.mark.parametrize("classes", [2, 5])
def test_weights_are_repeated_rows(name: str, classes: int) -> None:
    labels, probability = drawn(60, classes, 1)
    probability = np.round(probability, 2) + 1e-3  # ties, which share a bin
    probability /= probability.sum(axis=1, keepdims=True)
    weights = np.random.default_rng(0).integers(0, 4, (3, 60)).astype(float)
    weights[2, 5:] = 0  # fewer images than bins
    for found, times in zip(CALIBRATION[name](labels, probability, weights), weights, strict=True):
        again = np.repeat(np.arange(60), times.astype(int))
        assert found == pytest.approx(value(name, labels[again], probability[again]), abs=1e-7)


def test_certainty_is_borne() -> None:
    labels, probability = np.array([0, 0]), np.array([[1.0, 0.0], [0.0, 1.0]])
    for name in ("ece", "adaptive_ece", "rmsce_top_plugin"):
        assert value(name, labels, probability) == pytest.approx(0.5), name
    # Both are class 0, told 1 and 0 of it: squares 0 and 1.
    assert value("rmsce_plugin", labels, probability) == pytest.approx(math.sqrt(0.5))
    # Both images of the top bin: (1 - 1/2)^2 - 1/4 = 0.
    assert value("rmsce_top", labels, probability) == 0
    assert value("brier", labels, probability) == 1
    assert value("entropy", labels, probability) == 0
    assert value("nll", labels, probability) == pytest.approx(-math.log(np.finfo(float).eps) / 2)


def test_one_image_and_a_rounding_error_above_one() -> None:
    probability = np.array([[1 + 1e-15, 0.0, 0.0]])
    for name in CALIBRATION:
        assert value(name, np.array([0]), probability) == pytest.approx(0, abs=1e-12), name


def test_a_reliability_diagram_by_hand() -> None:
    probability = np.array([[0.9, 0.1], [0.92, 0.08], [0.6, 0.4], [0.0, 1.0]])
    found = calibration.reliability(np.array([0, 1, 0, 1]), probability)
    # .9 lies in (13/15, 14/15], .6 = 9/15 at the upper end of the ninth bin, 1 in the last.
    count = np.zeros(15, int)
    count[[13, 8, 14]] = 2, 1, 1
    np.testing.assert_array_equal(found["count"], count)
    full = count > 0
    np.testing.assert_allclose(found["confidence"][full], [0.6, 0.91, 1.0])
    np.testing.assert_allclose(found["accuracy"][full], [1.0, 0.5, 1.0])
    assert np.isnan(found["confidence"][~full]).all()
    assert np.isnan(found["accuracy"][~full]).all()
    np.testing.assert_allclose(found["lower"][1:], found["upper"][:-1])
    assert (found["lower"][0], found["upper"][-1]) == pytest.approx((0, 1))


def test_the_temperature_by_hand() -> None:
    # Always 2 ahead, right 3 times of 4: best where sigmoid(2 / T) = 3/4, so T = 2 / log 3.
    logits = np.tile(np.array([2.0, 0.0], np.float32), (4, 1))
    found = calibration.temperature(np.array([0, 0, 0, 1]), logits)
    assert found == pytest.approx(2 / math.log(3), rel=1e-5)
    sure = calibration.temperature(np.array([0, 0]), logits[:2])
    assert sure == 0.01, "the end itself: the likelihood only grows towards 0"
    unsure = calibration.temperature(np.array([1, 1]), logits[:2])
    assert unsure == 100
    assert [calibration.is_at_end(each) for each in (sure, unsure, found)] == [True, True, False]
    # Right by so little that the end is reached on a slope, not on a plain.
    assert calibration.temperature(np.array([0, 0]), logits[:2] / 1000) == 0.01


def test_the_temperature_undoes_a_factor() -> None:
    labels, told = drawn(4000, 3, 0)  # its logits are 1 / 0.6 times too large
    assert calibration.temperature(labels, np.log(told)) == pytest.approx(1 / 0.6, rel=0.1)


def test_intervals_only_where_one_holds() -> None:
    labels, probability = drawn(300, 3, 3)
    for name, metric in CALIBRATION.items():
        found, low, high, _ = metrics.measure(metric, labels, probability)
        assert found == value(name, labels, probability)
        if metric.biased:
            assert math.isnan(low)
            assert math.isnan(high)
        else:
            assert 0 <= low < found < high, name


def test_the_debiased_interval_covers_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 200)
    # A percentile bootstrap covers it in fewer than one of five such samples.
    labels, probability = drawn(60_000, 3, 0)
    truth = value("rmsce", labels, probability)
    covered = 0
    for start in range(0, 4000, 200):
        mine = slice(start, start + 200)
        _, low, high, _ = metrics.measure(CALIBRATION["rmsce"], labels[mine], probability[mine])
        covered += low <= truth <= high
    assert covered >= 17
