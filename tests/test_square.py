"""Square: its schedule and proposals by hand, and models without gradients."""

from __future__ import annotations

import attack_helpers as helpers
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust.attacks import apgd, square
from attnrobust.models.replicas import Replicas
from attnrobust.training import strategy


def rounding(model: keras.Model) -> keras.Model:
    """The same after rounding pixels to 32 levels: no gradient anywhere."""
    inputs = keras.layers.Input(model.input_shape[1:])
    return keras.Model(inputs, model(tf.round(inputs * 31) / 31))


def test_window_schedule_by_hand():
    # Of 100 x 100 pixels 80 %: side sqrt(8000) = 89.4, halved in area after 10, 50, … of 10,000.
    sides = [square.window(query, 10000, 100, 100) for query in (1, 10, 11, 51, 201, 8001)]
    assert sides == [89, 89, 63, 45, 32, 4]
    # Half the queries, half the time; never less than a pixel, never more than the image.
    assert [square.window(query, 5000, 100, 100) for query in (5, 6)] == [89, 63]
    assert square.window(999, 1000, 4, 4) == 1
    assert square.window(1, 1000, 2, 50) == 2


def test_window_is_where_it_was_drawn():
    covered = square._covered(tf.constant([0.0, 0.5, 0.999]), tf.constant(2), 5)
    assert tf.cast(covered, tf.int32).numpy().tolist() == [
        [1, 1, 0, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1],
    ]


def test_proposal_by_hand():
    """A window of one pixel on an image that the model scores by its mean."""
    model = keras.Sequential(
        [keras.layers.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.layers[-1].set_weights([np.repeat([[1.0, -1.0]], 12, axis=0), np.zeros(2)])
    step = square._proposal(Replicas(model))
    image = np.full((2, 2, 2, 3), 0.5, np.float32)
    # Row 1, column 0; R down, G up, B down: the sum falls by 0.1, the margin by twice that.
    down = [0.6, 0.2, 0.4, 0.6, 0.4]
    up = [0.6, 0.2, 0.6, 0.6, 0.6]
    best, margin, seen = step(
        image,
        np.zeros(2, np.int64),
        image,
        np.full(2, 12, np.float32),
        np.array([down, up], np.float32),
        tf.constant(1),
        tf.constant(0.1),
    )
    np.testing.assert_allclose(best[0, 1, 0], [0.4, 0.6, 0.4])
    np.testing.assert_allclose(margin, [11.8, 12], rtol=1e-6)
    changed = best.numpy() != image
    assert changed.sum() == 3
    assert not seen.wrong.numpy().any()


def test_finds_what_no_gradient_shows():
    model = rounding(helpers.linear(4))
    images = helpers.noise(32)
    labels = helpers.predicted(model, images)
    _, blind, _ = helpers.run(
        apgd.apgd_ce, model, images, labels, 0.1, steps=10, random_start=False
    )
    _, fell, _ = helpers.run(square.square, model, images, labels, 0.1, queries=300)
    assert blind.sum() == 0
    assert fell.sum() > 25


def test_comes_near_the_best_a_ball_allows():
    """Falls only where an adversarial exists, and in most of those places."""
    model, images = helpers.linear(3), helpers.noise(48, edges=True)
    labels = helpers.predicted(model, images)
    exact = helpers.falls(model, images, labels, 0.02)
    made, fell, queries = helpers.run(square.square, model, images, labels, 0.02, queries=600)
    assert not (fell & ~exact).any()
    assert fell.sum() >= 0.85 * exact.sum() > 10
    # The image itself, then one each.
    assert (queries[~fell] == 601).all()
    assert queries[fell].max() <= 601
    assert len(set(queries[fell])) > 3, "each image stops by itself"
    # Every pixel that is not at its bound is at the edge of the ball, since stripes start there.
    edge = np.isclose(np.abs(made - images), 0.02, atol=1e-6) | (made == 0) | (made == 1)
    assert edge.all()


@pytest.mark.parametrize("queries", [1, 2, 101])
def test_never_more_queries_than_allowed(queries):
    model, images = helpers.linear(3), helpers.noise(4)
    labels = helpers.predicted(model, images)
    labels[1] = (labels[1] + 1) % 3
    _, fell, spent = helpers.run(square.square, model, images, labels, 1e-5, queries=queries)
    assert fell.tolist() == [False, True, False, False]
    assert spent.tolist() == [queries + 1, 1, queries + 1, queries + 1]


def test_an_image_is_attacked_alike_in_any_batch():
    model, images = helpers.smooth(5), helpers.noise(32)
    labels = helpers.predicted(model, images)
    ids = [f"image-{i}" for i in range(32)]
    settings = {"queries": 150, "epsilon": 0.02}
    whole, fell, queries = helpers.run(square.square, model, images, labels, ids=ids, **settings)
    assert 0 < fell.sum() < 32
    for rows in ([20, 21, 22, 23, 24], [20, 21, 22, 23, 24] + [20] * 11):
        part, part_fell, part_queries = helpers.run(
            square.square,
            model,
            images[rows],
            labels[rows],
            ids=[ids[row] for row in rows],
            **settings,
        )
        np.testing.assert_array_equal(part_fell, fell[rows])
        np.testing.assert_array_equal(part_queries, queries[rows])
        np.testing.assert_allclose(part, whole[rows], atol=1e-6)
    other, _, _ = helpers.run(square.square, model, images, labels, ids=ids, seed=1, **settings)
    assert not np.array_equal(other, whole)


def test_two_replicas_fell_what_one_fells():
    found = []
    for spread in (tf.distribute.get_strategy(), strategy.mirrored()):
        with spread.scope():
            model = helpers.smooth(4)
        images = helpers.noise(16)
        labels = helpers.predicted(model, images)
        found.append(
            helpers.run(square.square, model, images, labels, 0.015, queries=60, spread=spread)
        )
    assert 0 < found[0][1].sum() < 16
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][2], found[1][2])
