"""JSMA on affine models, whose saliency is their weights; judged by the paper's own loops."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import methods
from attnrobust.attacks.jsma import best_pair, jsma
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
    return affine([-WEIGHTS / 2, WEIGHTS / 2], [0, -gap - 0.5 * WEIGHTS.sum()])


def attacked(model, images, labels, spread=None, epsilons=(1.0,), target=None, **settings):
    asked = methods.settled(config.Attack("jsma", epsilons=epsilons, **settings))
    attack = jsma(Replicas(model, spread), asked, 0, target=target)
    made, queries = attack(tf.constant(images), tf.constant(labels), ["a"] * len(images), np.inf, 0)
    return np.asarray(made), queries


def grey(number=1):
    return np.full((number, *SHAPE), 0.5, np.float32)


def changed(made, images):
    return [sorted(np.flatnonzero(row)) for row in (made != images).reshape(len(images), -1)]


@pytest.mark.parametrize("saliency", ["logits", "probabilities"])
@pytest.mark.parametrize(
    ("gap", "expected", "passes"),
    [(3.4, [1, 7], 3), (3.6, [1, 4, 7, 10], 4), (4.9, [1, 4, 7, 10], 4)],
)
def test_pairs_are_changed_by_weight_until_the_prediction_falls(gap, expected, passes, saliency):
    # A value goes from 0.5 to 1, so a pair gains half its weights: 3.5, then 1.5.
    made, queries = attacked(two_classes(gap), grey(), [0], gamma=1.0, saliency=saliency)
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
    made, _ = attacked(model, grey(), [0], saliency="probabilities")
    assert changed(made, grey()) == [[1, 7]]


def published_pair(target, others):
    """Algorithm 3 of Papernot et al. 2016, for values that grow: two loops, word for word."""
    found, most = (), 0.0
    for p in range(len(target)):
        for q in range(p + 1, len(target)):
            alpha, beta = target[p] + target[q], others[p] + others[q]
            if alpha > 0 and beta < 0 and -alpha * beta > most:
                found, most = (p, q), -alpha * beta
    return found


def test_the_best_pair_is_that_of_two_loops_over_all():
    rng = np.random.default_rng(0)
    for number, alike in ((2, 0), (3, 0.5), (40, 0), (40, 0.9), (40, -0.9), (40, -1), (40, 1)):
        for _ in range(20):
            target, other = rng.normal(size=(2, number))
            others = -alike * target + (1 - alike**2) ** 0.5 * other
            expected = published_pair(target, others)
            if expected:
                assert set(best_pair(target, -others)) == set(expected)


def test_where_the_paper_finds_no_pair_what_a_softmax_favours_is_taken():
    target, others = np.array([5.0, 1.0, 4.0, -9.0]), np.array([1.0, 3.0, 0.5, 0.0])
    assert published_pair(target, others) == ()
    assert set(best_pair(target, -others)) == {0, 2}
    assert not len(best_pair(-target[:3], -others[:3])), "nothing helps"
    assert not len(best_pair(target[:1], -others[:1]))


def published_walk(weights, bias, image, label, aim, theta):
    """Algorithm 2 on an affine model, ended at any wrong class: its derivatives are its weights."""
    x = image.astype(np.float64).ravel()
    while (x @ weights + bias).argmax() == label:
        free = np.flatnonzero(x != (theta > 0))
        target = np.sign(theta) * weights[free, aim]
        others = np.sign(theta) * (weights.sum(axis=1)[free] - weights[free, aim])
        pair = published_pair(target, others)
        if not pair:
            return None
        x[free[list(pair)]] = np.clip(x[free[list(pair)]] + theta, 0, 1)
    return x.reshape(image.shape)


@pytest.mark.parametrize("theta", [1.0, -1.0, 0.3])
def test_the_walk_is_the_published_one_and_the_nearest_over_all_classes_is_kept(theta):
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(12, 4)).astype(np.float32)
    bias = (-0.5 * weights.sum(axis=0)).astype(np.float32)
    model = affine(weights.T, bias)
    images = rng.uniform(0.2, 0.8, (12, *SHAPE)).astype(np.float32)
    labels = model(images).numpy().argmax(1)
    made, _ = attacked(model, images, labels, theta=theta, gamma=1.0)
    likeliest, _ = attacked(model, images, labels, theta=theta, gamma=1.0, aims="likeliest")
    fewer = judged = 0
    for row, image in enumerate(images):
        ranked = [c for c in np.argsort(-model(image[None]).numpy()[0]) if c != labels[row]]
        contexts = [published_walk(weights, bias, image, labels[row], aim, theta) for aim in ranked]
        if any(context is None for context in contexts):
            continue  # beyond what is published
        judged += 1
        np.testing.assert_allclose(likeliest[row], contexts[0], atol=1e-6)
        sizes = [(abs(context - image) > 1e-6).any(axis=-1).sum() for context in contexts]
        np.testing.assert_allclose(made[row], contexts[int(np.argmin(sizes))], atol=1e-6)
        fewer += min(sizes) < sizes[0]
    assert judged > len(images) / 2
    assert fewer, "otherwise one class would do"


def test_a_target_is_gone_for_past_other_wrong_classes():
    weights = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
    model = affine(weights.T, -0.5 * weights.sum(axis=0))
    images = np.random.default_rng(2).uniform(0.3, 0.7, (8, *SHAPE)).astype(np.float32)
    labels = model(images).numpy().argmax(1)
    made, _ = attacked(model, images, labels, gamma=1.0, target=2)
    moved = (made != images).any(axis=(1, 2, 3))
    assert moved.sum() > 3
    assert (model(made).numpy().argmax(1)[moved] == 2).all()
