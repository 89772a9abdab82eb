"""Confident models and short gradients hide nothing: one network, its logits times 1 to 40."""

from __future__ import annotations

import attack_helpers as helpers
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, keyed
from attnrobust.attacks import descent
from attnrobust.attacks.methods import ATTACKS, settled
from attnrobust.models.replicas import Replicas
from attnrobust.task import graph
from attnrobust.training import inner, steps

SCALES = (1, 10, 20, 40)
EPSILONS = {"linf": 0.004, "l2": 0.03, "l0": 3}
# Without a gradient of a loss, or with one of probabilities; `cw` weighs a distance against a
# margin in units of the logits, by few weights, so that its answer depends a little on their scale.
OTHERS = {
    "square",
    "square_l2",
    "boundary",
    "hopskipjump",
    "jsma",
    "cw",
    "salt_and_pepper",
    "uniform_noise",
    "sign_noise",
    "gaussian_noise",
}
NAMES = [f"image-{i}" for i in range(64)]


class Scaled:
    """A small network whose logits can be multiplied without compiling anything anew."""

    def __init__(self, classes: int) -> None:
        self.model = helpers.smooth(classes)
        self.images = helpers.noise(64)
        self.labels = helpers.predicted(self.model, self.images)
        kernel, bias = self.model.layers[-1].get_weights()
        logits = np.sort(self.model(self.images).numpy(), axis=1)
        # A median gap of 10: 400 at 40 times, where float32 rounds every p to 0 or 1.
        size = 10 / np.median(logits[:, -1] - logits[:, -2])
        self.weights = size * kernel, size * bias
        self.replicas = Replicas(self.model)

    def times(self, scale: float) -> None:
        self.model.layers[-1].set_weights([scale * each for each in self.weights])

    def stands(self, adversarials: np.ndarray) -> int:
        return int((helpers.predicted(self.model, adversarials) == self.labels).sum())


@pytest.fixture(scope="module")
def two():
    return Scaled(2)


@pytest.fixture(scope="module")
def four():
    return Scaled(4)


def left(scaled: Scaled, make, epsilon: float, *, near: str = "") -> list[int]:
    """How many images stand at each scale."""
    found = []
    # Foolbox's loops take long, and nothing lies between.
    for scale in SCALES[:: 3 if near else 1]:
        scaled.times(scale)
        made, _ = make(
            tf.constant(scaled.images),
            tf.constant(scaled.labels),
            NAMES,
            np.inf if near else epsilon,
            0,
        )
        made = np.asarray(made)
        if near:
            order = {"linf": np.inf, "l2": 2}[near]
            size = np.linalg.norm((made - scaled.images).reshape(64, -1), ord=order, axis=1)
            made = np.where((size <= epsilon)[:, None, None, None], made, scaled.images)
        found.append(scaled.stands(made))
    return found


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in OTHERS])
def test_robust_accuracy_does_not_rise_with_the_scale_of_the_logits(name, two):
    row = ATTACKS[name]
    setting = config.Attack(name=name, steps=10, rel_stepsize=0.25, queries=5)
    attack = row.make(two.replicas, setting, 0)
    near = row.norm if row.kind == "minimal" else ""
    found = left(two, attack, EPSILONS[row.norm], near=near)
    assert 0 < found[0] < 64
    assert max(found) <= found[0], found


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("name", ["linf_pgd", "l2_pgd", "mi_fgsm"])
def test_with_more_classes_it_hardly_rises(name, early, four):
    """Times 40 the loss is next to the margin, whose way is another: a few images may differ."""
    setting = config.Attack(name=name, steps=10, rel_stepsize=0.25, early_stop=early)
    attack = ATTACKS[name].make(four.replicas, setting, 0)
    found = left(four, attack, 6 * EPSILONS[ATTACKS[name].norm])
    assert 0 < found[0] < 32
    assert max(found) <= found[0] + 2, found


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_nor_under_the_attack_inside_training(norm, two):
    epsilon = EPSILONS[norm]

    def attack(images, labels, *_):
        return inner.ascend(
            lambda x: graph.log_odds_against(two.model(x), labels),
            images,
            tf.zeros_like(images),
            norm=norm,
            epsilon=epsilon,
            stepsize=epsilon / 4,
            steps=10,
        ), None

    found = left(two, attack, epsilon)
    assert 0 < found[0] < 64
    assert max(found) <= found[0], found


def test_the_evaluation_fells_what_the_inner_attack_fells_on_a_gap_of_30():
    model, images = helpers.linear(2), 0.25 + helpers.noise(64) / 2
    labels = helpers.predicted(model, images)
    kernel, bias = model.layers[-1].get_weights()
    gap = np.abs(np.diff(model(images).numpy(), axis=1))[:, 0]
    epsilon = float(np.median(gap) / np.linalg.norm(kernel[:, 1] - kernel[:, 0]))
    model.layers[-1].set_weights([30 / np.median(gap) * each for each in (kernel, bias)])
    found = inner.ascend(
        lambda x: graph.log_odds_against(model(x), labels),
        images,
        np.zeros_like(images),
        norm="l2",
        epsilon=epsilon,
        stepsize=epsilon / 4,
        steps=10,
    )
    expected = helpers.predicted(model, found) != labels
    assert 20 < expected.sum() < 44
    for early in (True, False):
        setting = config.Attack(name="l2_pgd", steps=10, rel_stepsize=0.25, early_stop=early)
        attack = ATTACKS["l2_pgd"].make(Replicas(model), setting, 0)
        made, _ = attack(tf.constant(images), tf.constant(labels), NAMES, epsilon, 0)
        fell = helpers.predicted(model, np.asarray(made)) != labels
        assert not (expected & ~fell).any()


@pytest.mark.parametrize(
    ("name", "early"),
    [
        ("l2_pgd", True),
        ("l2_pgd", False),
        ("l2_fgm", True),
        ("l2_fgm", False),
        ("mi_fgsm", True),
        ("mi_fgsm", False),
        ("fab_t", True),
        ("ddn", True),
        ("apgd_ce", True),
    ],
)
def test_gradients_shorter_than_any_guard_are_followed(name, early):
    """A model whose logits differ by next to nothing is as easily fooled as another."""
    model, images = helpers.linear(2), 0.25 + helpers.noise(16) / 2
    labels = helpers.predicted(model, images)
    kernel, bias = model.layers[-1].get_weights()
    row = ATTACKS[name]
    gap = np.abs(np.diff(model(images).numpy(), axis=1))[:, 0]
    order = {"linf": 1, "l2": 2}[row.norm]
    epsilon = float(1.5 * gap.max() / np.linalg.norm(kernel[:, 1] - kernel[:, 0], ord=order))
    # Grey lies on the boundary, without a bias beside which such logits would round away.
    inputs = keras.layers.Input(images.shape[1:])
    model.layers[-1].set_weights([1e-30 * kernel, 0 * bias])
    faint = keras.Model(inputs, model(inputs - 0.5))
    assert (helpers.predicted(faint, images) == labels).all()
    setting = config.Attack(
        name=name, steps=30, rel_stepsize=0.25, early_stop=early, first_passes=()
    )
    attack = row.make(Replicas(faint), setting, 0)
    radius = np.inf if row.kind == "minimal" else epsilon
    made, _ = attack(tf.constant(images), tf.constant(labels), NAMES[:16], radius, 0)
    assert (helpers.predicted(faint, np.asarray(made)) != labels).all()


@pytest.mark.parametrize("gap", [1.0, 20.0, 60.0, 400.0])
def test_trades_climbs_the_way_of_its_divergence(gap):
    """The direction of KL's gradient, against float64 sums of small numbers alone."""
    rng = np.random.default_rng(0)
    clean, found = (rng.standard_normal((20, 5)).astype(np.float32) for _ in range(2))
    clean[:, 0] += np.float32(gap)
    found[:, 0] += np.float32(gap)
    found[15:] = found[15:, ::-1]  # the attack has got through
    with tf.GradientTape() as tape:
        x = tf.constant(found)
        tape.watch(x)
        value = tf.reduce_sum(steps.parting(tf.constant(clean), x))
    way = tape.gradient(value, x).numpy().astype(float)
    p, q = (scipy.special.log_softmax(each.astype(float), axis=1) for each in (clean, found))
    largest = np.maximum(p, q)[:, 1:].max(axis=1, keepdims=True)
    exact = np.exp(q - largest) - np.exp(p - largest)
    exact[:, 0] = -exact[:, 1:].sum(axis=1)
    way, exact = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (way, exact))
    np.testing.assert_allclose(way, exact, atol=1e-4)


def test_trades_stands_still_where_nothing_has_moved():
    logits = tf.constant([[3.0, 1.0, -2.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = steps.parting(tf.stop_gradient(logits), logits)
    assert tape.gradient(value, logits).numpy().tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_inner_attack_moves_in_half_precision_however_sure_the_network_is(policy):
    """Under a loss scale that confident training has let grow; what overflows backs off."""
    images, epsilon = 0.25 + helpers.noise(16) / 2, 0.02
    plain = helpers.linear(2)
    labels = helpers.predicted(plain, images)
    kernel, bias = plain.layers[-1].get_weights()
    model = keras.Sequential(
        [
            keras.layers.Input(images.shape[1:]),
            keras.layers.Flatten(dtype=policy),
            keras.layers.Dense(2, dtype=policy),
            keras.layers.Activation("linear", dtype="float32"),
        ]
    )
    model.layers[1].set_weights([40 * kernel, 40 * bias])
    found = inner.ascend(
        lambda x: graph.log_odds_against(model(x), labels),
        images,
        np.zeros_like(images),
        norm="linf",
        epsilon=epsilon,
        stepsize=epsilon,
        steps=3,
        scale=tf.constant(2.0**15),
    )
    way = (kernel[:, 1] - kernel[:, 0]) * np.where(labels == 0, 1, -1)[:, None]
    expected = images + epsilon * np.sign(way).reshape(images.shape)
    assert (np.abs(found - expected) < 1e-5).mean() > 0.98


def test_no_two_rows_share_random_numbers(monkeypatch):
    keys: dict[str, set] = {}
    real = keyed.generator
    model, images = helpers.linear(3), helpers.noise(2)
    labels = tf.constant(helpers.predicted(model, images))
    replicas = Replicas(model)
    for name, row in ATTACKS.items():
        if not row.random:
            continue
        seen = keys.setdefault(name, set())
        monkeypatch.setattr(keyed, "generator", lambda *key, seen=seen: seen.add(key) or real(*key))
        setting = settled(config.Attack(name=name, steps=1, queries=30, first_passes=()))
        radius = np.inf if row.kind == "minimal" else 1e-4
        row.make(replicas, setting, 0)(tf.constant(images), labels, ["a", "b"], radius, 1)
        assert seen, name
    every = [key for seen in keys.values() for key in seen]
    assert len(every) == len(set(every))


def test_another_loss_or_aim_of_an_attack_starts_elsewhere():
    asked = [{}, {"loss": "margin"}, {"loss": "dlr"}, {"target": "nv"}]
    keys = [descent._key(config.Attack(**each)) for each in asked]
    assert len(set(keys)) == len(asked)
    assert keys[0] == "linf_pgd"
