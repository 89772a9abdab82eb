"""Attacks on segmenters: DAG by hand, losses of pixels by hand, contracts over every row."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pixel_helpers as helpers
import pytest
import tensorflow as tf
from scipy.spatial.distance import jensenshannon

from attnrobust import config, task
from attnrobust.attacks import methods
from attnrobust.attacks.row import Attack
from attnrobust.attacks.segmentation import climb, dag, losses, targets
from attnrobust.attacks.segmentation.methods import SEGMENTATION_ATTACKS
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas

STEP = 1 / 256  # exact in float32, as are its multiples
EPSILON = 0.05


def made(
    name: str, replicas: Replicas, *, epsilon: float = EPSILON, **changes: object
) -> tuple[Attack, config.Attack]:
    """The attack of that row, and its settings."""
    asked = config.Attack(name, epsilons=(epsilon,), **changes)  # type: ignore[arg-type]
    setting = methods.settled(asked)
    return methods.row_of(setting).make(replicas, setting, 0), setting


def call(attack: Attack, images: np.ndarray, labels: np.ndarray, epsilon: float = EPSILON):
    """Adversarials and passes."""
    ids = [f"image {place}" for place in range(len(images))]
    found, passes = attack(tf.constant(images), tf.constant(labels, tf.int64), ids, epsilon, 0)
    return np.asarray(found), passes


def dice(replicas: Replicas, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return task.score(replicas.forward(images).numpy(), labels)


def spots(*above: float) -> tuple[np.ndarray, np.ndarray]:
    """An image of `bright`'s and its label: pixels of class 1, so many steps above the border."""
    image = np.full((1, helpers.SIDE, helpers.SIDE, 3), 0.25, np.float32)
    for place, steps in enumerate(above):
        image[0, place, place, 0] = 0.5 + steps * STEP
    return image, (image[..., 0] > 0.5).astype(np.int64)


def test_dag_by_hand():
    """Of the gradient, -1 in the red of every active pixel, a step is as long as gamma says."""
    images, labels = spots(0.5, 2.5)
    attack, _ = made("dag_background", helpers.bright(), abs_stepsize=STEP)
    found, passes = call(attack, images, labels, 1.0)
    # The first pixel is right until the first step, the second until the third; a fourth pass
    # finds none active. And the judge's pass.
    expected = images.copy()
    expected[0, 0, 0, 0] -= STEP
    expected[0, 1, 1, 0] -= 3 * STEP
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(passes, [4 + 1])


def test_dag_goes_no_further_than_its_limit_and_its_ball():
    images, labels = spots(5.5)
    attack, _ = made("dag_background", helpers.bright(), abs_stepsize=STEP, steps=2)
    found, passes = call(attack, images, labels, 1.0)
    assert np.abs(found - images).max() == 2 * STEP
    np.testing.assert_array_equal(passes, [2 + 1])
    attack, _ = made("dag_background", helpers.bright(), abs_stepsize=STEP)
    found, _ = call(attack, images, labels, 3 * STEP)
    assert np.abs(found - images).max() == 3 * STEP


def test_dag_leaves_alone_what_is_wrong_and_what_is_its_target():
    images, labels = spots(0.5, 2.5)
    labels[0, 1, 1] = 0  # the model has this one wrong; and the target is its label
    attack, _ = made("dag_background", helpers.bright(), abs_stepsize=STEP)
    found, _ = call(attack, images, labels, 1.0)
    assert (found != images).any(axis=-1)[0].sum() == 1
    np.testing.assert_array_equal(found[0, 1, 1], images[0, 1, 1])


def test_the_active_set_shrinks():
    replicas = helpers.convolved()
    images = helpers.images(3)
    labels = helpers.labels_of(replicas, images)
    aims = targets.background(labels, helpers.CLASSES, [])
    pull = replicas.map(dag._pull(replicas))

    def active(found: np.ndarray) -> np.ndarray:
        return pull(found, labels, aims)[1].numpy()

    counts = [active(images)]
    np.testing.assert_array_equal(counts[0], (labels != 0).sum(axis=(1, 2)))
    for steps in (2, 8, 200):
        attack, _ = made("dag_background", replicas, abs_stepsize=0.01, steps=steps)
        counts.append(active(call(attack, images, labels, 1.0)[0]))
    assert (np.diff(counts, axis=0) <= 0).all()
    assert (counts[-1] < counts[0] / 2).all()


def test_a_step_in_the_norm_of_the_batch_couples_its_images():
    images, labels = (np.concatenate(pair) for pair in zip(spots(9.5), spots(9.5), strict=True))

    def moved(number: int, step_norm: str) -> float:
        attack, _ = made(
            "dag_background",
            helpers.bright(),
            abs_stepsize=STEP,
            steps=1,
            step_norm=step_norm,
        )
        return float(
            np.abs(call(attack, images[:number], labels[:number], 1.0)[0][0] - images[0]).max()
        )

    assert moved(1, "image_linf") == moved(2, "image_linf") == STEP
    assert moved(1, "batch_l2") == pytest.approx(STEP)
    assert moved(2, "batch_l2") == pytest.approx(STEP / math.sqrt(2), rel=1e-4)


def test_padding_does_not_weigh_in_the_norm_of_the_batch():
    """Three images and a copy of the first: three gradients of length 1 count, not four."""
    images, labels = spots(9.5)
    attack, _ = made(
        "dag_background", helpers.bright(), abs_stepsize=STEP, steps=1, step_norm="batch_l2"
    )
    full = (tf.constant(np.repeat(each, 4, axis=0)) for each in (images, labels))
    found, passes = attack(*full, ["a", "b", "c", "a"], 1.0, 0)
    size = np.abs(found - images).max(axis=(1, 2, 3))
    assert size == pytest.approx([STEP / math.sqrt(3)] * 4, rel=1e-4)
    np.testing.assert_array_equal(passes, [2] * 4)


def test_targets():
    labels = np.zeros((2, 32, 32), np.int64)
    labels[0, 8:12, 8:12], labels[0, 20:24, 20:24] = 1, 2
    rngs = [np.random.default_rng(place) for place in range(2)]
    assert not targets.background(labels, 3, rngs).any()
    drawn = targets.random_class(labels, 3, rngs)
    for one, label in zip(drawn, labels, strict=True):
        assert len(np.unique(one[one != label])) <= 1
        assert 0 < (one != label).mean() < 0.15
    grown = targets.dilated(labels, 3, rngs)
    # A square of 4 grows by a pixel on each side; corners stay, as the neighbours are four.
    assert (grown[0] != labels[0]).sum() == 16
    assert len(np.unique(grown[0][grown[0] != labels[0]])) == 1
    np.testing.assert_array_equal(grown[1], labels[1])


# Two pixels: the first right with probability 0.8, the second wrong with 0.3 for its label.
LOGITS = np.log(np.array([[[[0.8, 0.2], [0.7, 0.3]]]], np.float32))
LABELS = np.array([[[0, 1]]])
FIRST, SECOND = -math.log(0.8), -math.log(0.3)
LIKE = (0.8 / math.hypot(0.8, 0.2), 0.3 / math.hypot(0.7, 0.3))
# Half-way, SegPGD's weight of wrong pixels is 1/4.
BY_HAND = {
    "cross_entropy": (FIRST + SECOND) / 2,
    "masked": FIRST / 2,
    "balanced": FIRST / 2,
    "jensen_shannon": (
        jensenshannon([0.8, 0.2], [1, 0]) ** 2 + jensenshannon([0.7, 0.3], [0, 1]) ** 2
    )
    / 2,
    "log_odds": math.log(0.2 / 0.8) / 2,
    "seg_pgd": (0.75 * FIRST + 0.25 * SECOND) / 2,
    "cos_pgd": (LIKE[0] * FIRST + LIKE[1] * SECOND) / 2,
}


@pytest.mark.parametrize("name", losses.PIXEL_LOSSES)
def test_losses_of_two_pixels_by_hand(name):
    found = losses.of(name)(tf.constant(LOGITS), tf.constant(LABELS), tf.constant(0.5))
    assert found.numpy() == pytest.approx([BY_HAND[name]], rel=1e-5)


@pytest.mark.parametrize(("name", "weights"), [("seg_pgd", (0.75, 0.25)), ("cos_pgd", LIKE)])
def test_weights_of_pixels_have_no_gradient(name, weights):
    """Of a weighted cross-entropy it is the weight times probability less label."""
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.of(name)(logits, tf.constant(LABELS), tf.constant(0.5))
    found = tape.gradient(value, logits).numpy()[0, 0]
    expected = np.array([[-0.2, 0.2], [0.7, -0.7]]) * np.array(weights)[:, None] / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_every_class_weighs_the_same_where_that_is_asked():
    """Three pixels of class 0 and one of class 1, all right with the same probability."""
    logits = tf.constant(np.log([[[[0.8, 0.2]] * 3 + [[0.2, 0.8]]]]))
    labels = tf.constant([[[0, 0, 0, 1]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.balanced(logits, labels, tf.constant(0.0))
    assert value.numpy() == pytest.approx([FIRST])
    size = np.abs(tape.gradient(value, logits).numpy()[0, 0, :, 0])
    np.testing.assert_allclose(size, 0.2 * np.array([1 / 6, 1 / 6, 1 / 6, 1 / 2]))


def test_jensen_shannon_of_sure_pixels_is_finite():
    logits = tf.constant([[[[200.0, -200.0], [-200.0, 200.0]]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.jensen_shannon(logits, tf.constant([[[0, 0]]]), tf.constant(0.0))
    assert value.numpy() == pytest.approx([math.log(2) / 2])
    assert np.isfinite(tape.gradient(value, logits).numpy()).all()


@pytest.fixture(scope="module")
def attacked() -> tuple[Replicas, np.ndarray, np.ndarray]:
    replicas = helpers.convolved()
    images = helpers.images(4)
    return replicas, images, helpers.labels_of(replicas, images)


@pytest.mark.parametrize("name", SEGMENTATION_ATTACKS)
def test_contract(name, attacked):
    """In the box and the ball, image by image; no better than the image itself; by key alone."""
    replicas, images, labels = attacked
    attack, setting = made(name, replicas, steps=10)
    found, passes = call(attack, images, labels)
    assert found.shape == images.shape
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1
    sizes = np.abs(found - images).max(axis=(1, 2, 3))
    assert (sizes <= EPSILON + 1e-6).all()
    assert sizes.max() > EPSILON / 10
    assert (dice(replicas, found, labels) <= dice(replicas, images, labels)).all()
    np.testing.assert_array_equal(found, call(attack, images, labels)[0])
    most = SEGMENTATION_ATTACKS[name].passes(setting, helpers.CLASSES, helpers.SIDE**2)
    whole = most.forward + most.gradient
    assert (passes <= whole).all()
    assert name.startswith("dag") or (passes == whole).all()
    alone, _ = attack(tf.constant(images[2:3]), tf.constant(labels[2:3]), ["image 2"], EPSILON, 0)
    np.testing.assert_allclose(alone[0], found[2], atol=1e-5)


@pytest.mark.parametrize("name", [n for n, row in SEGMENTATION_ATTACKS.items() if row.random])
def test_a_restart_is_another_attempt(name, attacked):
    replicas, images, labels = attacked
    attack, _ = made(name, replicas, steps=3)
    ids = [str(place) for place in range(len(images))]
    first, second = (
        np.asarray(attack(tf.constant(images), tf.constant(labels), ids, EPSILON, restart)[0])
        for restart in range(2)
    )
    assert (first != second).any()


def test_sea_is_never_above_any_member(attacked):
    replicas, images, labels = attacked
    attack, setting = made("sea", replicas, steps=10)
    worst = dice(replicas, call(attack, images, labels)[0], labels)
    members = [
        dice(
            replicas,
            call(climb.climbed(replicas, setting, 0, loss=loss), images, labels)[0],
            labels,
        )
        for loss in climb.SEA
    ]
    np.testing.assert_allclose(worst, np.min(members, axis=0))
    assert len({tuple(each) for each in np.round(members, 6)}) > 1, "the members differ"


def test_only_the_last_radius_counts_and_all_steps_are_spent():
    assert climb._steps(300, [share for _, share in climb.RADII]) == [90, 90, 120]
    assert climb._steps(3, [share for _, share in climb.RADII]) == [1, 1, 1]
    images, labels = spots(0.5, 2.5, 4.5)
    attack, _ = made("pixel_apgd_shrinking", helpers.bright(), steps=9, loss="masked")
    found, _ = call(attack, images, labels, 3 * STEP)
    assert np.abs(found - images).max() <= 3 * STEP + 1e-7
    # Within three steps the first two pixels can be turned, the last cannot.
    left = helpers.bright().forward(found).numpy().argmax(axis=-1)
    np.testing.assert_array_equal(np.diagonal(left[0])[:3], [0, 0, 1])


@pytest.mark.parametrize("name", ["pixel_pgd", "pixel_apgd", "seg_pgd", "cos_pgd"])
def test_what_can_be_turned_is_turned(name):
    """By hand: in a ball of three steps all pixels up to three steps above the border fall."""
    images, labels = spots(0.5, 1.5, 2.5)
    attack, _ = made(name, helpers.bright())
    replicas = helpers.bright()
    found, _ = call(attack, images, labels, 3 * STEP)
    assert dice(replicas, found, labels) == pytest.approx([0])


def test_sure_pixels_fall_to_the_log_odds_alone():
    """Of such a gap the gradient of the cross-entropy is 0 in float32."""
    weights = [[0, 4000], [0, 0], [0, 0]]
    images, labels = spots(2.5)
    found = {}
    for loss in ("masked", "log_odds"):
        replicas = helpers.linear(weights, [0, -2000])
        attack, _ = made("pixel_pgd", replicas, loss=loss, random_start=False)
        found[loss] = dice(replicas, call(attack, images, labels, 3 * STEP)[0], labels)[0]
    assert found == {"masked": 1, "log_odds": 0}


def test_settings_that_do_not_fit():
    with pytest.raises(UserError, match="step_norm = l1: expected image_linf or batch_l2"):
        methods.row_of(config.Attack("dag_random", step_norm="l1"))
    with pytest.raises(UserError, match=r"linf_pgd.*models that classify.*dag_background"):
        methods.of_task(config.Attack("linf_pgd"), "segment")
    with pytest.raises(UserError, match="known: "):
        losses.of("mask")
    assert methods.settled(config.Attack("dag_random")).step_norm == "image_linf"
    assert methods.settled(config.Attack("linf_pgd")).step_norm is None
    said = methods.departures(dataclasses.replace(config.Attack("sea"), steps=30))
    assert said == ["steps 30 (published: 300)"]
