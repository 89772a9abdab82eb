"""FAB-T and the ensemble: known answers, and no weaker than any of its members."""

from __future__ import annotations

import attack_helpers as helpers
import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import linprog
from test_square import rounding

from attnrobust import config
from attnrobust.attacks import autoattack, fab
from attnrobust.models.replicas import Replicas
from attnrobust.training import strategy

EPSILONS = {2: 0.02, 3: 0.02, 4: 0.015, 10: 0.008}
FEW = {"steps": 20, "queries": 60}


@pytest.mark.parametrize("classes", EPSILONS)
def test_finds_every_adversarial_of_a_linear_model(classes):
    model, images = helpers.linear(classes), helpers.noise(40, edges=True)
    labels = helpers.predicted(model, images)
    labels[3] = (labels[3] + 1) % classes
    exact = helpers.falls(model, images, labels, EPSILONS[classes])
    made, fell, _ = helpers.run(
        autoattack.autoattack, model, images, labels, EPSILONS[classes], **FEW
    )
    np.testing.assert_array_equal(fell, exact)
    np.testing.assert_array_equal(made[3], images[3])


@pytest.mark.parametrize("name", ["smooth", "rounding"])
def test_no_weaker_than_its_members_and_one_sees_what_the_first_does_not(name):
    """The rounding model has no gradient."""
    model, epsilon = {
        "smooth": (helpers.smooth(5), 0.005),
        "rounding": (rounding(helpers.linear(4)), 0.1),
    }[name]
    images = helpers.noise(32)
    labels = helpers.predicted(model, images)
    fell = {
        make.__name__: helpers.run(make, model, images, labels, epsilon, **FEW)[1]
        for make in (*autoattack.MEMBERS, autoattack.autoattack)
    }
    ensemble = fell.pop("autoattack")
    for member in fell.values():
        assert not (member & ~ensemble).any()
    if name == "rounding":
        assert ensemble.sum() > fell["apgd_ce"].sum() + 3


def test_projection_is_the_least_change_a_linear_program_finds():
    rng = np.random.default_rng(0)
    x = np.clip(rng.uniform(-0.3, 1.3, (40, 12)), 0, 1)
    slope = rng.normal(size=(40, 12))
    rise = rng.uniform(-3, 3, 40)
    change = fab.project_plane(*(tf.constant(a, tf.float32) for a in (x, slope, rise))).numpy()
    hard = 0
    for row in range(40):
        # Least t with -t <= change <= t, 0 <= x + change <= 1, slope · change = rise.
        eye, one = np.eye(12), -np.ones((12, 1))
        best = linprog(
            np.append(np.zeros(12), 1),
            A_ub=np.block([[eye, one], [-eye, one]]),
            b_ub=np.zeros(24),
            A_eq=[np.append(slope[row], 0)],
            b_eq=[rise[row]],
            bounds=[*zip(-x[row], 1 - x[row], strict=True), (0, None)],
        )
        after = x[row] + change[row]
        assert after.min() >= -1e-6
        assert after.max() <= 1 + 1e-6
        if best.success:
            assert np.abs(change[row]).max() == pytest.approx(best.fun, abs=1e-5)
            assert slope[row] @ change[row] == pytest.approx(rise[row], abs=1e-4)
            hard += bool((np.abs(change[row]) < best.fun - 1e-4).any())
        else:
            assert (np.isclose(after, 0, atol=1e-6) | np.isclose(after, 1, atol=1e-6)).all()
    assert hard > 10, "bounds matter in many rows"


@pytest.mark.parametrize(("restart", "steps"), [(0, 15), (1, 80)])
def test_fab_finds_the_distance_of_a_linear_model(restart, steps):
    model, images = helpers.linear(4), 0.25 + helpers.noise(24) / 2
    labels = helpers.predicted(model, images)
    weights, logits = model.layers[-1].get_weights()[0], model(images).numpy()
    made, fell, queries = helpers.run(
        fab.fab_t, model, images, labels, np.inf, steps=steps, restart=restart
    )
    assert fell.all()
    found = np.abs(made - images).reshape(24, -1).max(axis=1)
    for row, label in enumerate(labels):
        exact = min(
            (logits[row, label] - logits[row, other])
            / np.abs(weights[:, label] - weights[:, other]).sum()
            for other in {0, 1, 2, 3} - {label}
        )
        # And what the slack adds, 1e-4 of the largest logit.
        assert found[row] == pytest.approx(exact, rel=2e-3, abs=4e-6)
    # The image, 3 targets x the steps x 2, the bisection with both its ends, and the one found.
    assert queries.tolist() == [1 + 6 * steps + fab.SEARCH + 2 + 1] * 24


def test_fab_in_a_ball_stops_at_the_first_adversarial_in_it():
    model, images = helpers.smooth(4), helpers.noise(32)
    labels = helpers.predicted(model, images)
    nearest, fell, _ = helpers.run(fab.fab_t, model, images, labels, np.inf, steps=20)
    distance = np.abs(nearest - images).reshape(32, -1).max(axis=1)
    made, within, queries = helpers.run(fab.fab_t, model, images, labels, 0.01, steps=20)
    clear = np.abs(distance - 0.01) > 2e-4  # the bisection is not made in a ball
    np.testing.assert_array_equal(within[clear], (fell & (distance < 0.01))[clear])
    assert 5 < within.sum() < 32
    assert (queries[~within] == 121).all()
    assert queries[within].max() < 121
    np.testing.assert_array_equal(made[~within], images[~within])


def test_queries_are_the_sum_of_the_members():
    model, images = helpers.linear(3), helpers.noise(4)
    labels = helpers.predicted(model, images)
    labels[1] = (labels[1] + 1) % 3
    _, fell, queries = helpers.run(
        autoattack.autoattack, model, images, labels, 1e-5, steps=5, queries=20
    )
    assert fell.tolist() == [False, True, False, False]
    # The image, and again in each member, each judged once more: 1 + 4 x 2; then two targets.
    spent = 9 + 6 + 2 * 6 + 2 * 5 * 2 + 20
    assert queries.tolist() == [spent, 1, spent, spent]


def test_an_image_is_attacked_alike_in_any_batch():
    model, images = helpers.smooth(5), helpers.noise(24)
    labels = helpers.predicted(model, images)
    ids = [f"image-{i}" for i in range(24)]
    _, fell, queries = helpers.run(
        autoattack.autoattack, model, images, labels, 0.004, ids=ids, **FEW
    )
    assert 0 < fell.sum() < 24
    for rows in ([12, 13, 14, 15, 16], [12, 13, 14, 15, 16] + [12] * 11):
        _, part, part_queries = helpers.run(
            autoattack.autoattack,
            model,
            images[rows],
            labels[rows],
            0.004,
            ids=[ids[row] for row in rows],
            **FEW,
        )
        np.testing.assert_array_equal(part, fell[rows])
        np.testing.assert_array_equal(part_queries, queries[rows])


@pytest.mark.slow
def test_two_replicas_fell_what_one_fells():
    found = []
    for spread in (tf.distribute.get_strategy(), strategy.mirrored()):
        with spread.scope():
            model = helpers.smooth(4)
        images = helpers.noise(16)
        labels = helpers.predicted(model, images)
        found.append(
            helpers.run(
                autoattack.autoattack,
                model,
                images,
                labels,
                0.004,
                steps=6,
                queries=20,
                spread=spread,
            )
        )
    assert 0 < found[0][1].sum() < 16
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][2], found[1][2])


def test_weights_are_left_alone_and_nothing_is_compiled_twice():
    model, images = helpers.smooth(4), helpers.noise(8)
    before = [weight.copy() for weight in model.get_weights()]
    labels = helpers.predicted(model, images)
    replicas = Replicas(model)
    compiled = []
    replicas.map = lambda function: compiled.append(tf.function(function)) or compiled[-1]
    attack = autoattack.autoattack(replicas, config.Attack(steps=5, queries=10), 0)
    ids = [str(row) for row in range(8)]
    for epsilon in (0.001, 0.002, 0.004):
        attack(tf.constant(images), tf.constant(labels), ids, epsilon, 0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # Sizes 8 and 4, whatever epsilon is.
    assert len(compiled) == 4
    assert max(function.experimental_get_tracing_count() for function in compiled) <= 2


def test_a_restart_of_fab_starts_at_half_of_the_nearest_so_far_or_of_epsilon(monkeypatch):
    model, images = helpers.linear(2), 0.25 + helpers.noise(8) / 2
    labels = tf.constant(helpers.predicted(model, images))
    replicas, walk, starts = Replicas(model), fab._walk, []
    monkeypatch.setattr(
        fab, "_walk", lambda *a, start, **how: starts.append(start) or walk(*a, start=start, **how)
    )
    attack = fab.fab_t(replicas, config.Attack(steps=10), 0)

    def run(attack, epsilon, restart):
        made, _ = attack(tf.constant(images), labels, list("abcdefgh"), epsilon, restart)
        return [np.abs(each - images).reshape(8, -1).max(axis=1) for each in (made, starts[-1])]

    nearest, start = run(attack, np.inf, 0)
    assert (nearest > 0).all()
    np.testing.assert_array_equal(start, 0)
    _, start = run(attack, np.inf, 1)
    np.testing.assert_allclose(start, nearest / 2, rtol=0.02)  # without the bisection
    np.testing.assert_allclose(run(attack, np.inf, 1)[1], start)  # whatever came before
    np.testing.assert_allclose(run(attack, 1e-3, 1)[1], 5e-4, rtol=1e-3)
    # Nothing known yet.
    alone = fab.fab_t(replicas, config.Attack(steps=10), 0)
    np.testing.assert_allclose(run(alone, np.inf, 1)[1], fab.START / 2, rtol=1e-3)
