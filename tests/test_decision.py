"""Boundary and HopSkipJump: budget, starts, batches, and distances on an affine model."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import decision
from attnrobust.models.replicas import Replicas
from attnrobust.training import strategy

SHAPE = (4, 4, 3)
BOTH = [decision.boundary, decision.hopskipjump]


def affine(bias=0.0):
    """Two classes; without bias alike on grey."""
    weights = np.random.default_rng(0).normal(size=(48, 2)).astype(np.float32)
    model = keras.Sequential(
        [keras.layers.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.layers[-1].set_weights([weights, -0.5 * weights.sum(axis=0) + [bias, 0]])
    return model


def some(number):
    return np.random.default_rng(1).uniform(0.3, 0.7, (number, *SHAPE)).astype(np.float32)


def attacked(make, model, rows, labels, queries=150, seed=0, restart=0, spread=None):
    """On the images of these rows; image and id belong together."""
    images = some(8)[rows]
    attack = make(Replicas(model, spread), config.Attack(queries=queries), seed)
    made, spent = attack(
        tf.constant(images),
        tf.constant(labels[rows]),
        [f"image-{row}" for row in rows],
        np.inf,
        restart,
    )
    made = np.asarray(made)
    return made, spent, np.linalg.norm((made - images).reshape(len(rows), -1), axis=1)


def right(model):
    return model(some(8)).numpy().argmax(1)


def known(model):
    logits = model(some(8)).numpy()
    kernel = model.layers[-1].get_weights()[0]
    return np.abs(logits[:, 0] - logits[:, 1]) / np.linalg.norm(kernel[:, 0] - kernel[:, 1])


@pytest.mark.parametrize(
    ("make", "most"),
    [
        pytest.param(decision.boundary, 3, marks=pytest.mark.slow),  # a thousand single steps
        (decision.hopskipjump, 1.2),
    ],
)
def test_distances_come_near_what_is_known_within_the_budget(make, most):
    model, rows = affine(), list(range(8))
    labels = right(model)
    made, spent, size = attacked(make, model, rows, labels, queries=1000)
    assert (model(made).numpy().argmax(1) != labels).all()
    assert made.min() >= 0
    assert made.max() <= 1
    ratio = size / known(model)
    assert ratio.min() > 1 - 1e-3
    assert np.median(ratio) < most
    assert (spent <= 1000).all()
    assert (spent > 800).all()
    _, few, start = attacked(make, model, rows, labels, queries=120)
    assert (few <= 120).all()
    assert np.median(size / start) < 0.8, "queries are worth their while"


@pytest.mark.parametrize(
    "make", [pytest.param(decision.boundary, marks=pytest.mark.slow), decision.hopskipjump]
)
def test_an_image_is_attacked_alike_in_any_batch_and_on_replicas(make):
    model = affine()
    labels = right(model)
    labels[3] = 1 - labels[3]
    made, spent, size = attacked(make, model, list(range(8)), labels)
    assert size[3] == 0, "wrong already"
    assert (np.delete(size, 3) > 0).all()
    for rows in ([5, 5, 5, 5], [3, 6, 0, 3]):
        few, passes, _ = attacked(make, model, rows, labels)
        np.testing.assert_allclose(few, made[rows], atol=1e-3)
        assert passes.tolist() == spent[rows].tolist()
    with strategy.mirrored().scope():
        copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    spread, _, _ = attacked(make, copy, list(range(8)), labels, spread=strategy.mirrored())
    np.testing.assert_allclose(spread, made, atol=1e-3)
    for change in ({"seed": 1}, {"restart": 1}):
        other, _, _ = attacked(make, model, list(range(8)), labels, **change)
        assert np.abs(other - made).max() > 1e-2


@pytest.mark.parametrize("make", BOTH)
def test_the_image_itself_where_no_start_is_found(make):
    _, spent, size = attacked(make, affine(bias=1000), [0, 1], np.zeros(8, int))
    assert not size.any()
    assert (spent <= 150).all()


@pytest.mark.parametrize("make", BOTH)
def test_an_image_without_a_start_does_not_stop_its_neighbours(make, monkeypatch):
    model = affine()
    labels = right(model)
    real = decision._starts

    def hidden(*args, **settings):
        start, has, queries = real(*args, **settings)
        return start, has & (np.arange(len(has)) != 0), queries

    _, _, alone = attacked(make, model, [1, 2], labels)
    monkeypatch.setattr(decision, "_starts", hidden)
    _, _, size = attacked(make, model, [0, 1, 2], labels)
    assert size[0] == 0
    np.testing.assert_allclose(size[1:], alone, rtol=1e-2)


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("queries", [1, 30])
def test_a_tiny_budget_ends_in_an_adversarial_or_the_image(make, queries):
    model = affine()
    labels = right(model)
    made, spent, size = attacked(make, model, [0, 1], labels, queries=queries)
    wrong = model(made).numpy().argmax(1) != labels[:2]
    assert (wrong == (size > 0)).all()
    assert (spent <= decision.AROUND + 5 + queries).all()


def test_starts_are_adversarial_and_count_their_draws():
    model = affine(bias=2.0)  # noise mostly of class 0, so that some need more draws
    labels = tf.zeros(8, tf.int64)
    ids = [f"image-{row}" for row in range(8)]
    start, has, queries = decision._starts(
        Replicas(model),
        tf.constant(some(8)),
        labels,
        ids,
        attack="boundary",
        seed=0,
        restart=0,
        draws=40,
    )
    assert has.all()
    assert (model(start).numpy().argmax(1) == 1).all()
    wrong = model(some(8)).numpy().argmax(1) == 1
    moved = np.abs(start - some(8)).max(axis=(1, 2, 3)) > 0
    assert moved[~wrong].all()
    assert len(set(queries)) > 1
    few = decision._starts(
        Replicas(model),
        tf.constant(some(8)),
        labels,
        ids,
        attack="boundary",
        seed=0,
        restart=0,
        draws=1,
    )
    assert few[1].tolist() == (queries == queries.min()).tolist()
