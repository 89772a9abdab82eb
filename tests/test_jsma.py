"""JSMA on affine models, whose saliency is their weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks.jsma import jsma
from attnrobust.models.replicas import Replicas
from attnrobust.training import strategy

SHAPE = (2, 2, 3)
# Class 1 minus class 0, for each value: the largest are values 1 and 7, then 4 and 10.
WEIGHTS = np.array([0.1, 4, -1, 0.2, 2, -2, 0.3, 3, -3, 0.0, 1, -4], np.float32)


def affine(columns, bias):
    model = keras.Sequential(
        [
            keras.layers.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(len(bias)),
        ]
    )
    model.layers[-1].set_weights([np.stack(columns, axis=1), np.array(bias, np.float32)])
    return model


def two_classes(gap):
    """At an image that is 0.5 everywhere the logit of class 0 leads by `gap`."""
    return affine([0 * WEIGHTS, WEIGHTS], [0, -gap - 0.5 * WEIGHTS.sum()])


def attacked(model, images, labels, spread=None, epsilons=(1.0,), **settings):
    attack = jsma(Replicas(model, spread), config.Attack(epsilons=epsilons), 0, **settings)
    made, queries = attack(tf.constant(images), tf.constant(labels), ["a"] * len(images), np.inf, 0)
    return np.asarray(made), queries


def grey(number=1):
    return np.full((number, *SHAPE), 0.5, np.float32)


def changed(made, images):
    return [sorted(np.flatnonzero(row)) for row in (made != images).reshape(len(images), -1)]


@pytest.mark.parametrize(
    ("gap", "expected", "passes"),
    [(3.4, [1, 7], 3), (3.6, [1, 4, 7, 10], 4), (4.9, [1, 4, 7, 10], 4)],
)
def test_pairs_are_changed_by_weight_until_the_prediction_falls(gap, expected, passes):
    # A value goes from 0.5 to 1, so a pair gains half its weights: 3.5, then 1.5.
    made, queries = attacked(two_classes(gap), grey(), [0], gamma=1.0)
    assert changed(made, grey()) == [expected]
    assert set(made[made != 0.5]) == {1.0}
    assert queries.tolist() == [passes]


def test_a_negative_theta_darkens_what_speaks_against_the_target():
    made, _ = attacked(two_classes(3.4), grey(), [0], theta=-1.0, gamma=1.0)
    assert changed(made, grey()) == [[8, 11]]
    assert set(made[made != 0.5]) == {0.0}


def test_a_small_theta_changes_a_value_again_until_it_is_full():
    # Each pass gains 0.3 of the pair's 7 and the last what is left: 2.1, then 3.5 in all.
    made, queries = attacked(two_classes(3.4), grey(), [0], theta=0.3, gamma=1.0)
    assert changed(made, grey()) == [[1, 7]]
    assert queries.tolist() == [4]
    made, _ = attacked(two_classes(2.0), grey(), [0], theta=0.3, gamma=1.0)
    np.testing.assert_allclose(made.ravel()[[1, 7]], 0.8, rtol=1e-6)


def test_a_full_value_is_no_use():
    images = grey()
    images.reshape(-1)[1] = 1.0
    # The gap here is 2 smaller; 7 and 4 gain 2.5.
    made, _ = attacked(two_classes(4.4), images, [0], gamma=1.0)
    assert changed(made, images) == [[4, 7]]


def test_the_image_itself_where_nothing_is_found():
    # All values at 1 gain half of the positive weights: 5.3.
    made, queries = attacked(two_classes(9.0), grey(), [0], gamma=1.0)
    np.testing.assert_array_equal(made, grey())
    assert queries[0] > 4
    made, queries = attacked(two_classes(3.6), grey(), [0], gamma=2 / 12, epsilons=(0.5,))
    np.testing.assert_array_equal(made, grey())
    assert queries.tolist() == [3], "the image, the pair allowed, and what came of it"
    white = np.ones((1, *SHAPE), np.float32)
    made, queries = attacked(two_classes(9.0), white, [0])
    np.testing.assert_array_equal(made, white)
    assert queries.tolist() == [2]


def test_a_radius_that_gamma_leaves_out_is_searched_all_the_same():
    made, _ = attacked(two_classes(3.6), grey(), [0], gamma=0.01, epsilons=(1.0, 2.0))
    assert changed(made, grey()) == [[1, 4, 7, 10]]


def test_wrong_images_stay_and_neighbours_do_not_matter():
    model = affine(
        [0 * WEIGHTS, WEIGHTS, np.roll(WEIGHTS, 1)],
        [0, -3 - 0.5 * WEIGHTS.sum(), -3.1 - 0.5 * WEIGHTS.sum()],
    )
    images = np.clip(grey(6) + np.random.default_rng(0).normal(0, 0.1, (6, *SHAPE)), 0, 1)
    images = images.astype(np.float32)
    labels = model(images).numpy().argmax(1)
    labels[2] = (labels[2] + 1) % 3
    made, queries = attacked(model, images, labels)
    np.testing.assert_array_equal(made[2], images[2])
    assert queries[2] == 2, "one pass for the classes, one in the loop"
    assert (model(made).numpy().argmax(1) != labels).all()
    for row in range(6):
        alone, passes = attacked(model, images[[row] * 4], labels[[row] * 4])
        np.testing.assert_array_equal(alone[0], made[row])
        assert passes[0] == queries[row]
    with strategy.mirrored().scope():
        copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    spread, _ = attacked(copy, images, labels, strategy.mirrored())
    np.testing.assert_array_equal(spread, made)


def test_great_confidence_hides_no_saliency():
    # The probability's own derivative is 0 in float32 here.
    model = affine([0 * WEIGHTS, 1000 * WEIGHTS], [0, 1000 * (-3.4 - 0.5 * WEIGHTS.sum())])
    assert tf.nn.softmax(model(grey()))[0, 1] == 0
    made, _ = attacked(model, grey(), [0])
    assert changed(made, grey()) == [[1, 7]]
