"""APGD: models whose answer is known, its schedule, and what it must not depend on."""

from __future__ import annotations

import functools
import logging

import attack_helpers as helpers
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import apgd, losses, packing
from attnrobust.attacks.methods import ATTACKS
from attnrobust.models.replicas import Replicas
from attnrobust.training import strategy

EPSILONS = {2: 0.02, 3: 0.02, 4: 0.015, 10: 0.008}


@pytest.mark.parametrize("classes", EPSILONS)
def test_targeted_finds_every_adversarial_of_a_linear_model(classes):
    model, images = helpers.linear(classes), helpers.noise(40, edges=True)
    labels = helpers.predicted(model, images)
    exact = helpers.falls(model, images, labels, EPSILONS[classes])
    assert 5 < exact.sum() < 35
    _, fell, _ = helpers.run(apgd.apgd_t, model, images, labels, EPSILONS[classes], steps=20)
    np.testing.assert_array_equal(fell, exact)


def test_cross_entropy_finds_every_adversarial_of_two_classes():
    model, images = helpers.linear(2), helpers.noise(40, edges=True)
    labels = helpers.predicted(model, images)
    _, fell, _ = helpers.run(apgd.apgd_ce, model, images, labels, 0.02, steps=20)
    np.testing.assert_array_equal(fell, helpers.falls(model, images, labels, 0.02))


@pytest.mark.parametrize("make", [apgd.apgd_ce, apgd.apgd_t])
def test_l2_finds_every_adversarial_of_a_linear_model(make):
    model, images = helpers.linear(2), 0.25 + helpers.noise(40) / 2
    labels = helpers.predicted(model, images)
    weights = model.layers[-1].get_weights()[0]
    gap = np.abs(np.diff(model(images).numpy(), axis=1))[:, 0]
    radius = gap / np.linalg.norm(weights[:, 1] - weights[:, 0])
    epsilon = float(np.median(radius))
    assert np.abs(radius - epsilon).min() > 1e-5
    made, fell, _ = helpers.run(
        functools.partial(make, norm="l2"), model, images, labels, epsilon, steps=30
    )
    assert np.linalg.norm((made - images).reshape(40, -1), axis=1).max() <= epsilon + 1e-6
    np.testing.assert_array_equal(fell, radius < epsilon)


def test_checkpoints_are_those_of_the_paper():
    assert apgd.checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert apgd.checkpoints(1) == [1]
    assert apgd.checkpoints(5) == [1, 2, 3, 4, 5]


def test_halving_by_hand():
    """Window of 4: few rises halve; many do not, unless the best stays the same a second time."""
    x, best = (np.full((4, 1, 1, 1), value, np.float32) for value in (1, 2))
    rows = {
        "rises": np.array([3, 4, 4, 4]),
        "halved": np.array([False, False, False, True]),
        "best_then": np.array([0, 0, 5, 5.0]),
        "best_loss": np.array([5, 5, 5, 5.0]),
        "size": np.ones(4, np.float32),
        "x": x,
        "best": best,
        "slope": x,
        "best_slope": best,
    }
    apgd.halve(rows, 4)
    assert rows["size"].tolist() == [0.5, 1, 0.5, 1]
    assert rows["halved"].tolist() == [True, False, True, False]
    assert rows["x"].numpy().ravel().tolist() == [2, 1, 2, 1]
    assert rows["slope"].numpy().ravel().tolist() == [2, 1, 2, 1]
    assert rows["rises"].tolist() == [0] * 4
    assert rows["best_then"].tolist() == [5] * 4


def test_losses_by_hand():
    logits = tf.constant([[4.0, 1.0, 3.0, 0.0, 2.0], [1.0, 5.0, 0.0, 2.0, 2.0]])
    labels, targets = tf.constant([0, 1], tf.int64), tf.constant([1, 4], tf.int64)
    # (1 - 4) / (4 - (2 + 1) / 2) and (2 - 5) / (5 - (2 + 1) / 2).
    np.testing.assert_allclose(losses.targeted_dlr(logits, labels, targets), [-1.2, -3 / 3.5])
    short = losses.targeted_dlr(logits[:, :3], labels, tf.constant([2, 0], tf.int64))
    np.testing.assert_allclose(short, [-1, -4])
    np.testing.assert_allclose(
        apgd.against_label(logits, labels, targets),
        np.log(np.exp(logits).sum(axis=1) - np.exp([4, 5])) - [4, 5],
        rtol=1e-5,
    )


def test_targets_go_by_descending_logit():
    logits = np.array([[4, 1, 3, 0], [1, 5, 0, 2]], np.float32)
    assert packing.targets(logits, np.array([0, 0])).tolist() == [[2, 1, 3], [1, 3, 2]]
    assert packing.targets(np.zeros((1, 20)), np.array([3])).shape == (1, 9)


def test_two_and_three_classes_are_told(caplog):
    with caplog.at_level(logging.INFO, "attnrobust"):
        helpers.run(
            apgd.apgd_t, helpers.linear(3), helpers.noise(2), np.zeros(2, int), 0.01, steps=1
        )
    assert "targeted DLR needs 4 classes; with 3" in caplog.text


def published(loss, slope, images, start, epsilon, steps, norm):
    """Auto-PGD, algorithm 1 of Croce and Hein 2020 with its authors' windows; every iterate.

    `loss` and `slope` take points (N, D); so are the iterates that come back, (steps, N, D).
    """

    def project(points):
        change = points - images
        if norm == "linf":
            change = np.clip(change, -epsilon, epsilon)
        else:
            size = np.linalg.norm(change, axis=1, keepdims=True)
            change = change * np.minimum(1, epsilon / np.maximum(size, 1e-12))
        return np.clip(images + change, 0, 1)

    x, before, best, path = start, start, start.copy(), []
    value = highest = loss(x)
    size, rises = np.full((len(x), 1), 2 * epsilon), np.zeros(len(x))
    window, since = max(int(0.22 * steps), 1), 0
    rested, then = np.ones(len(x), bool), highest
    for k in range(steps):
        way = slope(x)
        way = np.sign(way) if norm == "linf" else way / np.linalg.norm(way, axis=1, keepdims=True)
        ahead = project(x + size * way)
        after = ahead if k == 0 else project(x + 0.75 * (ahead - x) + 0.25 * (x - before))
        before, x, now = x, after, loss(after)
        path.append(x)
        rises, value, since = rises + (now > value), now, since + 1
        best[now > highest], highest = x[now > highest], np.maximum(now, highest)
        if since == window:
            halve = (rises <= 0.75 * window) | (~rested & (highest <= then))
            size[halve] /= 2
            x = np.where(halve[:, None], best, x)
            rested, then, rises, since = halve, highest, 0 * rises, 0
            window = max(window - max(int(0.03 * steps), 1), int(0.06 * steps), 1)
    return np.stack(path)


def bowl(noise):
    """A model whose class 1 comes nearest to 0, but never falls, at a point; its NumPy twins."""
    rng = np.random.default_rng(0)
    curves, lowest = rng.uniform(0.2, 3, noise.shape[1]), rng.uniform(0.2, 0.8, noise.shape[1])
    inputs = keras.layers.Input((helpers.SIDE, helpers.SIDE, 3))
    away = keras.layers.Flatten()(inputs) - lowest.astype(np.float32)
    height = -tf.reduce_sum(curves.astype(np.float32) * away**2, axis=1, keepdims=True)
    model = keras.Model(inputs, tf.concat([0 * height + 0.1, height], axis=1))
    return (
        model,
        np.clip(lowest + noise, 0, 1).astype(np.float32),
        lambda x: -(curves * (x - lowest) ** 2).sum(axis=1),
        lambda x: -2 * curves * (x - lowest),
    )


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.05), ("l2", 0.5)])
@pytest.mark.parametrize("steps", [20, 50])
def test_it_walks_as_published(norm, epsilon, steps, monkeypatch):
    """Halving, checkpoints, momentum and first step: every iterate is the NumPy port's."""
    model, images, loss, slope = bowl(np.random.default_rng(1).normal(0, 0.05, (24, 108)))
    iterates, mapped = [], Replicas.map

    def spied(self, function):
        step = mapped(self, function)

        def spy(*rows):
            made = step(*rows)
            if isinstance(made, tuple):
                iterates.append(made[0].numpy().reshape(24, -1))
            return made

        return spy

    monkeypatch.setattr(Replicas, "map", spied)
    attack = apgd.apgd_ce(Replicas(model), config.Attack(steps=steps), 0, norm)
    shaped = images.reshape(24, helpers.SIDE, helpers.SIDE, 3)
    _, queries = attack(
        tf.constant(shaped), np.zeros(24, int), [str(i) for i in range(24)], epsilon, 0
    )
    assert (queries == steps + 2).all(), "none falls"
    start, *walked = iterates
    size = np.linalg.norm(start - images, ord={"linf": np.inf, "l2": 2}[norm], axis=1)
    assert size.max() == pytest.approx(epsilon, rel=1e-3)
    assert np.median(size) == pytest.approx(epsilon, rel=1e-3), "all but where the box cuts"
    path = published(loss, slope, images.astype(float), start.astype(float), epsilon, steps, norm)
    apart = np.abs(np.stack(walked) - path).max(axis=(1, 2))
    assert apart.max() < 1e-4


def test_no_weaker_than_pgd():
    """Targeted APGD fells what PGD fells; on the cross-entropy it climbs at least as high.

    It need not fell the same images there: at a larger cross-entropy the label may still win.
    """
    model, images = helpers.smooth(4), helpers.noise(64)
    labels = helpers.predicted(model, images)

    def loss(adversarials):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(adversarials)).numpy()

    for epsilon in (0.002, 0.005, 0.01):
        (pgd, fell, _), (ours, ours_fell, _), (_, targeted, _) = (
            helpers.run(make, model, images, labels, epsilon, steps=steps, rel_stepsize=0.25)
            for make, steps in (
                (ATTACKS["linf_pgd"].make, 10),
                (apgd.apgd_ce, 40),
                (apgd.apgd_t, 40),
            )
        )
        assert 0 < fell.sum() < 64
        assert not (fell & ~targeted).any()
        assert ours_fell.sum() >= fell.sum() - 1
        standing = ~fell & ~ours_fell  # what falls stops climbing
        # Given back is the point of largest margin, not of largest loss.
        assert loss(ours)[standing].mean() >= loss(pgd)[standing].mean() - 1e-4


@pytest.mark.parametrize("make", [apgd.apgd_ce, apgd.apgd_t])
def test_saturated_logits_hide_nothing(make):
    images = helpers.noise(40, edges=True)
    model = helpers.linear(2, scale=500)
    labels = helpers.predicted(model, images)
    _, fell, _ = helpers.run(make, model, images, labels, 0.02, steps=20)
    np.testing.assert_array_equal(fell, helpers.falls(model, images, labels, 0.02))


def test_queries_are_counted():
    model, images = helpers.linear(3), helpers.noise(4)
    labels = helpers.predicted(model, images)
    labels[2] = (labels[2] + 1) % 3
    settings = {"steps": 7, "epsilon": 1e-5}
    _, fell, queries = helpers.run(apgd.apgd_ce, model, images, labels, **settings)
    assert fell.tolist() == [False, False, True, False]
    # The image, the start, seven iterations; what is wrong to begin with is left alone.
    assert queries.tolist() == [9, 9, 1, 9]
    made, _, queries = helpers.run(apgd.apgd_t, model, images, labels, **settings)
    assert queries.tolist() == [17, 17, 1, 17]
    np.testing.assert_array_equal(made[2], images[2])
    # Without a random start a huge ball is left by the first step: image, start, step.
    _, fell, queries = helpers.run(
        apgd.apgd_ce, model, images, labels, 0.9, steps=7, random_start=False
    )
    assert fell.all()
    assert queries.tolist() == [3, 3, 1, 3]


@pytest.mark.parametrize("make", [apgd.apgd_ce, apgd.apgd_t])
def test_an_image_is_attacked_alike_in_any_batch(make):
    model, images = helpers.smooth(5), helpers.noise(32)
    labels = helpers.predicted(model, images)
    ids = [f"image-{i}" for i in range(32)]
    settings = {"steps": 12, "epsilon": 0.005}
    whole, fell, queries = helpers.run(make, model, images, labels, ids=ids, **settings)
    assert 0 < fell.sum() < 32
    # Rows 20 to 24 alone, and in a batch that copies of the first fill up.
    for rows in ([20, 21, 22, 23, 24], [20, 21, 22, 23, 24] + [20] * 11):
        part, part_fell, part_queries = helpers.run(
            make, model, images[rows], labels[rows], ids=[ids[row] for row in rows], **settings
        )
        np.testing.assert_array_equal(part_fell, fell[rows])
        np.testing.assert_array_equal(part_queries, queries[rows])
        assert np.mean(np.abs(part - whole[rows]) > 1e-5) < 0.01
    again, _, _ = helpers.run(make, model, images, labels, ids=ids, **settings)
    np.testing.assert_array_equal(again, whole)
    other, _, _ = helpers.run(make, model, images, labels, ids=ids, restart=1, **settings)
    assert not np.array_equal(other, whole)


def test_two_replicas_fell_what_one_fells():
    found = []
    for spread in (tf.distribute.get_strategy(), strategy.mirrored()):
        with spread.scope():
            model = helpers.smooth(4)
        images = helpers.noise(16)
        labels = helpers.predicted(model, images)
        found.append(helpers.run(apgd.apgd_t, model, images, labels, 0.004, steps=6, spread=spread))
    assert 0 < found[0][1].sum() < 16
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_sizes_are_few_and_fit_the_replicas():
    assert [packing.fitting(number, 32, 1) for number in (32, 17, 16, 9, 5, 1)] == [
        32,
        32,
        16,
        16,
        8,
        1,
    ]
    assert packing.fitting(1, 12, 2) == 6
    assert packing.fitting(1, 10, 1) == 5
    assert packing.fitting(1, 3, 1) == 3


def test_packing_keeps_positions():
    rows = {"value": np.arange(16), "image": tf.range(16)}
    pack = packing.Packed.of(rows, np.array([1, 3, 5, 7, 9, 11]), 1)
    assert pack.where.tolist() == [1, 3, 5, 7, 9, 11, 1, 1]
    assert pack.live.tolist() == [True] * 6 + [False] * 2
    assert pack.shrunk() is pack
    pack.live[[0, 2, 4]] = False
    smaller = pack.shrunk()
    assert smaller.where.tolist() == [3, 7, 11, 3]
    assert smaller.live.tolist() == [True] * 3 + [False]
    assert smaller.rows["image"].numpy().tolist() == [3, 7, 11, 3]
