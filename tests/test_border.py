"""Judged again elsewhere, rounding is another: what fell must be beyond the border by a slack."""

from __future__ import annotations

import functools

import attack_helpers as helpers
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import border, methods
from attnrobust.attacks.methods import ATTACKS

# By so much of the largest logit the judge's outputs are others than the attack's.
OTHER = 1e-5
LARGEST = 10.0
NUMBER = 16
STOPPING = ("apgd_ce", "apgd_t", "square", "square_l2", "autoattack")
NEAREST = (
    "fab_t",
    "deepfool_l2",
    "deepfool_linf",
    "cw",
    "ddn",
    "boundary",
    "hopskipjump",
    "jsma",
    "salt_and_pepper",
)
RADIUS = {"linf": 0.1, "l2": 1.5, "l0": 36}


@functools.cache
def shelved() -> keras.Model:
    """Two classes, and a third one that is far off; behind the border a shelf of hardly any lead.

    Up to a margin of 1 the second class leads by 1e-6 of a linear model's margin, and rises as that
    does only from there on: so the first iterates that are wrong are so by next to nothing.
    """
    model = helpers.linear(2, scale=1.5)
    margin = tf.matmul(model.output, [[-1.0], [1.0]])
    lead = tf.where(margin < 0, margin, tf.maximum(1e-6 * margin, margin - 1))
    far = tf.fill(tf.shape(lead), -LARGEST)
    return keras.Model(model.input, tf.concat([-lead / 2, lead / 2, far], axis=1))


@functools.cache
def before_the_border() -> tf.Tensor:
    """Images of the first class that are hardly farther from the border than the shelf is wide."""
    images = 0.3 + 0.4 * helpers.noise(256)
    logits = shelved()(images).numpy()
    away = logits[:, 0] - logits[:, 1]
    away[away < 1.2] = np.inf
    return tf.constant(images[np.argsort(away)[:NUMBER]])


def standing(made: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whom a judge still sees as right that rounds to the label's good."""
    logits = shelved()(made).numpy()
    logits[np.arange(len(labels)), labels] += OTHER * LARGEST
    return np.asarray(logits.argmax(axis=1) == labels)


def asked(name: str, **settings: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who stands before the judge, the queries, and who stands before the attack's own model."""
    few = {"steps": 20, "queries": 200, "gamma": 0.5, "aims": "likeliest"}
    setting = methods.settled(config.Attack(name, epsilons=(RADIUS[ATTACKS[name].norm],), **few))
    setting = methods.dataclasses.replace(setting, **settings)
    images, labels = before_the_border(), np.zeros(NUMBER, np.int64)
    attack = ATTACKS[name].make(helpers.replicas_of(shelved()), setting, 0)
    radius = np.inf if ATTACKS[name].kind == "minimal" else setting.epsilons[0]
    ids = [str(row) for row in range(NUMBER)]
    made, queries = attack(images, tf.constant(labels), ids, radius, 0)
    own = helpers.predicted(shelved(), np.asarray(made)) == labels
    return standing(np.asarray(made), labels), np.asarray(queries), own


@pytest.mark.parametrize("name", STOPPING)
def test_stopping_early_is_no_weaker_before_a_judge_that_rounds_otherwise(name):
    early, queries, own = asked(name)
    full, whole, _ = asked(name, early_stop=False)
    assert full.mean() < 0.5
    assert (early <= full).all()
    np.testing.assert_array_equal(early, own)
    assert (queries[~early] < whole[~early]).any(), "some do leave early"


@pytest.mark.parametrize("name", NEAREST)
def test_the_nearest_is_wrong_before_a_judge_that_rounds_otherwise_too(name):
    stands, _, own = asked(name)
    assert own.mean() < 0.5
    np.testing.assert_array_equal(stands, own)


def far_off(model: keras.Model, *, offset: float = 0.0, masked: float | None = None) -> keras.Model:
    """The same decisions, with all logits higher, or with a class more that never wins."""
    logits = model.output + offset
    if masked is not None:
        logits = tf.concat([logits, tf.fill([tf.shape(logits)[0], 1], masked)], axis=1)
    return keras.Model(model.input, logits)


@pytest.mark.parametrize("changed", [{"offset": 100.0}, {"masked": -1e9}], ids=["offset", "masked"])
@pytest.mark.parametrize("name", ["deepfool_linf", "deepfool_l2", "ddn", "fab_t", "jsma"])
def test_the_nearest_is_as_near_whatever_the_other_logits_are(name, changed):
    images, model = tf.constant(helpers.noise(16)), helpers.smooth(3)
    labels = helpers.predicted(model, images)
    setting = methods.settled(
        config.Attack(name, epsilons=(RADIUS[ATTACKS[name].norm],), steps=20, gamma=0.5)
    )
    norm = {"linf": np.inf, "l2": 2, "l0": 0}[ATTACKS[name].norm]
    found = []
    for each in (model, far_off(model, **changed)):
        attack = ATTACKS[name].make(helpers.replicas_of(each), setting, 0)
        made, _ = attack(images, tf.constant(labels), [str(row) for row in range(16)], np.inf, 0)
        change = np.asarray(made) - images.numpy()
        change = np.abs(change).max(axis=3) if norm == 0 else change
        found.append(np.linalg.norm(change.reshape(16, -1), ord=norm, axis=1))
    assert (found[0] > 0).mean() > 0.9
    np.testing.assert_allclose(found[1], found[0], rtol=0.1)


def test_a_lead_is_enough_where_a_common_offset_dwarfs_the_differences():
    """Of an image that leads by 3: a hundredth of that, but never what is lost in rounding."""
    lead, own = tf.constant([0.02, 0.2, 0.2]), np.array([-3.0, -3.0, -3.0])
    high = np.array([1e5, 1e5, 1e6], np.float32)[:, None]
    logits = tf.constant(high + np.array([[0, 0.02], [0, 0.2], [0, 0.2]], np.float32))
    assert border.clear_near(lead, logits, own).numpy().tolist() == [False, True, False]
    assert not border.beyond(lead, logits, border.NEAREST).numpy().any(), "by the slack none is"


def swinging(offset: float) -> keras.Model:
    """Wrong, by up to 0.2, only where an image is brighter than grey by 0.04 to 0.06."""
    image = keras.Input((helpers.SIDE, helpers.SIDE, 3))
    bright = tf.reduce_mean(image, axis=(1, 2, 3))[:, None] - 0.5
    lead = 0.2 - 20 * tf.abs(bright - 0.05)
    return keras.Model(image, tf.concat([offset - lead / 2, offset + lead / 2], axis=1))


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("name", ["linf_pgd", "bim", "mi_fgsm", "l2_pgd"])
def test_an_iterate_that_was_wrong_by_little_is_not_lost_on_the_way(name, offset):
    """Steps of 0.045: at 0.045 it is wrong, at 0.09 right again, and so on to the fourth.

    With a common offset of the logits that is wrong by less than the slack.
    """
    model = swinging(offset)
    grey = np.full((3, helpers.SIDE, helpers.SIDE, 3), 0.5, np.float32)
    length = 0.045 * (np.sqrt(grey[0].size) if name == "l2_pgd" else 1)
    setting = config.Attack(
        name, steps=4, abs_stepsize=length, rel_stepsize=1.0, momentum=0.0, random_start=False
    )
    attack = ATTACKS[name].make(helpers.replicas_of(model), methods.settled(setting), 0)
    labels = np.zeros(3, np.int64)
    made, queries = attack(tf.constant(grey), tf.constant(labels), list("abc"), 2 * length, 0)
    np.testing.assert_allclose(made, 0.545, atol=1e-5)
    assert (helpers.predicted(model, made) == 1).all()
    # Without an offset it leaves at once; else four steps, and a pass for the last iterate.
    np.testing.assert_array_equal(queries, 6 if offset else 3)
