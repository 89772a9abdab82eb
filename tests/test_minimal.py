"""DeepFool, C&W and DDN: on affine models, whose distances are known, and against Foolbox's own."""

from __future__ import annotations

import functools

import attack_helpers as helpers
import foolbox
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import border, carlini_wagner, minimal
from attnrobust.models.replicas import Replicas
from attnrobust.training import strategy

SHAPE = (6, 6, 3)
L2 = [minimal.deepfool_l2, carlini_wagner.cw, minimal.ddn]
ALL = [*L2, minimal.deepfool_linf]


@functools.cache  # what one test has compiled another need not
def affine(classes=2, scale=1.0):
    """Classes alike on grey, so that all occur."""
    weights = scale * np.random.default_rng(0).normal(size=(108, classes)).astype(np.float32)
    model = keras.Sequential(
        [keras.layers.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(classes)]
    )
    model.layers[-1].set_weights([weights, -0.5 * weights.sum(axis=0)])
    return model


@functools.cache
def curved(classes=4):
    """A small smooth network, its classes mixed."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.layers.Input(SHAPE),
            keras.layers.Conv2D(8, 3, activation="softplus"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, kernel_initializer=keras.initializers.RandomNormal(0, 0.5)),
        ]
    )
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias - model(some(64)).numpy().mean(axis=0)])
    return model


def some(number):
    return np.random.default_rng(1).uniform(0.2, 0.8, (number, *SHAPE)).astype(np.float32)


def attacked(make, model, images, labels, ids=None, steps=100, spread=None):
    replicas, setting = helpers.replicas_of(model, spread), config.Attack(steps=steps)
    attack = replicas.once((make, steps), lambda: make(replicas, setting, 0))
    ids = ids or [f"image-{i}" for i in range(len(images))]
    made, queries = attack(tf.constant(images), tf.constant(labels), ids, np.inf, 0)
    return np.asarray(made), queries


def distances(make, made, images):
    order = np.inf if make is minimal.deepfool_linf else 2
    return np.linalg.norm((made - images).reshape(len(images), -1), ord=order, axis=1)


def known(make, model, images):
    """Distance to the nearest class's face, in the attack's norm; the box is far."""
    logits, kernel = model(images).numpy(), model.layers[-1].get_weights()[0]
    dual = 1 if make is minimal.deepfool_linf else 2
    top = logits.argmax(axis=1)
    gaps = logits.max(axis=1)[:, None] - logits
    slopes = np.linalg.norm(kernel[:, None, :] - kernel[:, top, None], ord=dual, axis=0)
    slopes[np.arange(len(top)), top] = 1
    gaps[np.arange(len(top)), top] = np.inf
    return (gaps / slopes).min(axis=1)


@pytest.mark.parametrize(
    ("make", "classes"), [(make, 4) for make in ALL] + [(make, 2) for make in ALL[::-1][:2]]
)
def test_affine_distances_are_met_and_never_undercut(make, classes):
    # Of some confidence: DDN's cross-entropy mixes classes of like probability.
    model, images = affine(classes, scale=10.0), some(12)
    labels = model(images).numpy().argmax(1)
    made, queries = attacked(make, model, images, labels, steps=50)
    assert (model(made).numpy().argmax(1) != labels).all()
    assert made.min() >= 0
    assert made.max() <= 1
    ratio = distances(make, made, images) / known(make, model, images)
    assert ratio.min() > 1 - 1e-3
    assert np.median(ratio) < 1.03
    assert ratio.max() < 1.1
    last = border.HALVINGS + 3
    if make is minimal.ddn:
        assert queries.tolist() == [2 * 50 + 2 + last] * 12
    elif make is carlini_wagner.cw:
        # A weight is given up at a tenth of the steps, so after one to all of them.
        assert (queries >= 1 + last + 2 * 9 * 6).all()
        assert (queries <= 1 + last + 2 * 9 * 50).all()
        assert len(set(queries)) > 1, "each image by itself"
    else:
        # Clean twice, then K - 1 forward and gradient passes a step.
        step = 2 * (classes - 1)
        assert (queries > step + last).all()
        assert (queries <= 4 * step + 3 + last).all()


STOCK = {
    "deepfool_l2": foolbox.attacks.L2DeepFoolAttack(steps=30),
    "deepfool_linf": foolbox.attacks.LinfDeepFoolAttack(steps=30),
    "cw": foolbox.attacks.L2CarliniWagnerAttack(steps=200, stepsize=0.01),
    "ddn": foolbox.attacks.DDNAttack(steps=100),
}


# Foolbox's search of Carlini and Wagner makes hundreds of steps one by one.
@pytest.mark.parametrize(
    "make",
    [pytest.param(make, marks=[pytest.mark.slow] * (make is carlini_wagner.cw)) for make in ALL],
)
def test_never_farther_than_stock_foolbox(make):
    model, images = curved(), some(16)
    labels = model(images).numpy().argmax(1)
    assert len(set(labels)) > 2
    stock = STOCK[make.__name__]
    wrapped = foolbox.models.TensorFlowModel(model, bounds=(0, 1), device="/CPU:0")
    _, theirs, success = stock(wrapped, tf.constant(images), tf.constant(labels), epsilons=None)
    assert success.numpy().all()
    made, _ = attacked(make, model, images, labels, steps=stock.steps)
    assert (model(made).numpy().argmax(1) != labels).all()
    ratio = distances(make, made, images) / distances(make, theirs.numpy(), images)
    assert ratio.max() < (1.02 if make is carlini_wagner.cw else 1.01)
    # The same algorithm, but for what the last halvings take back: an overshoot of 2 %, 1e-4 that
    # DeepFool adds to each step, Adam's coarse steps.
    assert np.median(ratio) > (0.97 if make in (minimal.deepfool_l2, minimal.ddn) else 0.8)


@pytest.mark.parametrize("make", ALL)
def test_an_image_is_attacked_alike_in_any_batch_and_on_replicas(make):
    model, images = curved(), some(8)
    labels = model(images).numpy().argmax(1)
    labels[2] = (labels[2] + 1) % 4
    made, queries = attacked(make, model, images, labels, steps=10)
    np.testing.assert_array_equal(made[2], images[2])
    size = distances(make, made, images)
    assert (np.delete(size, 2) > 0).all()
    for rows in ([5, 1, 1, 1], [2, 5, 7, 0]):
        few, passes = attacked(
            make, model, images[rows], labels[rows], [f"image-{row}" for row in rows], steps=10
        )
        np.testing.assert_allclose(distances(make, few, images[rows]), size[rows], rtol=2e-3)
        np.testing.assert_allclose(few, made[rows], atol=1e-3)
        assert passes.tolist() == queries[rows].tolist()
    with strategy.mirrored().scope():
        copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    spread, _ = attacked(make, copy, images, labels, steps=10, spread=strategy.mirrored())
    np.testing.assert_allclose(spread, made, atol=1e-3)


@pytest.mark.parametrize("make", ALL)
def test_the_image_itself_where_nothing_is_found(make):
    model = affine.__wrapped__()
    weights, _ = model.layers[-1].get_weights()
    model.layers[-1].set_weights([weights, np.array([1000, 0], np.float32)])
    images = some(2)
    made, _ = attacked(make, model, images, np.array([0, 0]), steps=5)
    np.testing.assert_array_equal(made, images)


def test_carlini_and_wagner_is_no_farther_than_foolbox_at_equal_steps():
    """Many steps, or few, that Adam can only take by its published length."""
    model, images = curved(), tf.constant(some(8))
    labels = model(images).numpy().argmax(1)
    stock = foolbox.attacks.L2CarliniWagnerAttack(steps=60, stepsize=0.01, binary_search_steps=6)
    compiled = foolbox.models.TensorFlowModel(tf.function(model), bounds=(0, 1), device="/CPU:0")
    _, theirs, success = stock(compiled, images, tf.constant(labels), epsilons=None)
    assert success.numpy().all()
    made, _ = attacked(carlini_wagner.cw, model, images.numpy(), labels, steps=60)
    ours = distances(carlini_wagner.cw, made, images.numpy())
    theirs = distances(carlini_wagner.cw, theirs.numpy(), images.numpy())
    assert (ours <= 1.02 * theirs + 3e-4).all()  # Adam is coarse for what is nearer than a step
    assert np.median(ours / theirs) < 1.005


def test_many_steps_of_carlini_and_wagner_are_of_the_published_length_and_given_up_in_time():
    model, images = affine(), some(6)
    labels = model(images).numpy().argmax(1)
    made, queries = attacked(carlini_wagner.cw, model, images, labels, steps=1000)
    ratio = distances(carlini_wagner.cw, made, images) / known(minimal.ddn, model, images)
    assert np.median(ratio) < 1.005
    assert ratio.max() < 1.25, "one of them is nearer to the border than the slack is wide"
    assert queries.max() < 0.6 * 2 * 9 * 1000


def test_great_confidence_hides_nothing_from_ddn():
    model, images = affine(scale=3000.0), some(6)
    logits = model(images)
    labels = logits.numpy().argmax(1)
    # No gradient in float32: stock DDN walks at random here.
    assert (tf.nn.softmax(logits).numpy().min(axis=1) == 0).any()
    made, _ = attacked(minimal.ddn, model, images, labels)
    ratio = distances(minimal.ddn, made, images) / known(minimal.ddn, model, images)
    assert ratio.max() < 1.1


@pytest.mark.parametrize("steps", [25, 250])
def test_ddn_reaches_the_same_distances_at_any_number_of_steps(steps):
    model, images = affine(), some(12)
    labels = model(images).numpy().argmax(1)
    made, _ = attacked(minimal.ddn, model, images, labels, steps=steps)
    ratio = distances(minimal.ddn, made, images) / known(minimal.ddn, model, images)
    assert ratio.max() < 1.1


def test_a_model_without_gradient_is_left_in_peace_and_alike_every_time():
    model = affine.__wrapped__()
    model.layers[-1].set_weights([np.zeros((108, 2), np.float32), np.array([1, 0], np.float32)])
    for make in ALL:
        made, _ = attacked(make, model, some(2), np.array([0, 0]), steps=5)
        np.testing.assert_array_equal(made, some(2))


def test_adversarials_on_the_boundary_are_moved_over_it():
    model, images = affine(), some(8)
    labels = model(images).numpy().argmax(1)
    kernel = model.layers[-1].get_weights()[0]
    slope = (kernel[:, 1] - kernel[:, 0]) * np.where(labels == 0, 1, -1)[:, None]
    step = known(minimal.ddn, model, images)[:, None] / np.linalg.norm(slope, axis=1, keepdims=True)
    edge = images + (step * slope).reshape(images.shape)
    logits = model(edge).numpy()
    assert np.abs(logits[:, 0] - logits[:, 1]).max() < 1e-4
    moved, _ = border.drawn_in(
        Replicas(model), tf.constant(images), tf.constant(edge, tf.float32), tf.constant(labels)
    )
    moved = moved.numpy()
    others = np.take_along_axis(model(moved).numpy(), 1 - labels[:, None], axis=1)
    own = np.take_along_axis(model(moved).numpy(), labels[:, None], axis=1)
    assert (
        others - own > border.NEAREST * np.abs(model(moved).numpy()).max(axis=1, keepdims=True)
    ).all()
    assert (
        distances(minimal.ddn, moved, images) <= 1.0101 * distances(minimal.ddn, edge, images)
    ).all()
