"""Heatmap measures against xplique 1.5.2 and Quantus 0.6.0, which are installed on Python 3.11.

Both are fed maps of two dimensions: with channels xplique averages them, Quantus flattens them.
"""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest

from attnrobust import stack
from attnrobust.explanations import faithfulness
from attnrobust.measures import maps

pytestmark = pytest.mark.skipif(stack.NEW, reason="xplique 1.5.2 wants TensorFlow 2.15")
RNG = np.random.default_rng(0)
HEAT = RNG.permutation(64 * 5).reshape(5, 8, 8).astype(np.float32) / 320
MASKS = RNG.random((5, 8, 8)) < 0.3


def oracle(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow Probability's, which xplique imports
        return importlib.import_module(name)


def test_gini_is_that_of_xplique():
    theirs = oracle("xplique.metrics.complexity").Sparseness().detailed_evaluate(HEAT)
    np.testing.assert_allclose([maps.gini(each) for each in HEAT], theirs, atol=1e-5)


def test_gini_is_that_of_quantus():
    sparseness = oracle("quantus").Sparseness(disable_warnings=True, normalise=False)
    theirs = sparseness.evaluate_batch(x_batch=HEAT, a_batch=HEAT)
    np.testing.assert_allclose([maps.gini(each) for each in HEAT], theirs, atol=1e-5)


def test_rank_correlation_is_that_of_xplique():
    """What its model randomisation compares maps by; with ties."""
    theirs = oracle("xplique.metrics.randomization").batched_spearman
    one, other = np.round(HEAT * 9), np.round(HEAT[::-1] * 5)
    expected = np.array(theirs(one.reshape(5, -1), other.reshape(5, -1)))
    found = [maps.spearman(*pair) for pair in zip(one, other, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_localisation_is_that_of_quantus():
    quantus = oracle("quantus")
    for ours, theirs in (
        (maps.rank_accuracy, quantus.RelevanceRankAccuracy),
        (maps.mass_inside, quantus.RelevanceMassAccuracy),
        (maps.pointing, quantus.PointingGame),
    ):
        judge = theirs(disable_warnings=True, normalise=False)
        expected = judge.evaluate_batch(
            a_batch=HEAT[:, None].astype(np.float64), s_batch=MASKS[:, None]
        )
        found = [ours(heat, mask) for heat, mask in zip(HEAT, MASKS, strict=True)]
        np.testing.assert_allclose(found, np.array(expected, float), atol=1e-6)


def test_deletion_and_insertion_are_those_of_xplique():
    fidelity = oracle("xplique.metrics.fidelity")
    keras = importlib.import_module("tensorflow.keras")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    images = RNG.random((5, 8, 8, 3)).astype(np.float32)
    model(images)
    targets = np.array([0, 1, 2, 0, 1])
    found = faithfulness.causal(
        lambda frames: model(frames).numpy(), images, HEAT, targets, baseline=0 * images
    )
    for row in range(5):
        for ours, theirs in zip(found, (fidelity.Deletion, fidelity.Insertion), strict=True):
            judge = theirs(
                model,
                images[row : row + 1],
                np.eye(3, dtype=np.float32)[targets[row : row + 1]],
                activation="softmax",
            )
            assert ours[row] == pytest.approx(float(judge(HEAT[row : row + 1])), abs=1e-5)
