"""The compiled engine against stock Foolbox, the judge."""

from __future__ import annotations

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust.attacks import engine
from attnrobust.models.replicas import Replicas
from attnrobust.training import strategy

EPSILON, STEPS, REL = 0.003, 8, 0.2


def small_model(dtype: str = "float32") -> keras.Model:
    """Smooth (softplus), so that gradients have no kinks."""
    keras.utils.set_random_seed(3)
    spread = keras.initializers.RandomNormal(0, 0.3)
    model = keras.Sequential(
        [
            keras.layers.Input((12, 12, 3), dtype=dtype),
            keras.layers.Conv2D(8, 3, activation="softplus", dtype=dtype),
            keras.layers.Conv2D(8, 3, strides=2, activation="softplus", dtype=dtype),
            keras.layers.Flatten(dtype=dtype),
            keras.layers.Dense(4, kernel_initializer=spread, dtype=dtype),
        ]
    )
    # Noise images lie close together; without their mean logits the classes mix.
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel, bias - model(noise(32, dtype)).numpy().mean(axis=0)])
    return model


def noise(number: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(0).random((number, 12, 12, 3)).astype(dtype)


def data(model: keras.Model, number: int, dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    images = noise(number, dtype)
    return tf.constant(images), tf.constant(model(images).numpy().argmax(1))


class StockFromStart(foolbox.attacks.LinfPGD):
    """Stock Foolbox but for a given start."""

    start: np.ndarray

    def get_random_start(self, x0, epsilon):
        import eagerpy as ep

        return x0 + epsilon * ep.astensor(tf.constant(self.start, x0.raw.dtype))


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_pgd_equals_stock_foolbox(dtype, random_start):
    model = small_model(dtype)
    images, labels = data(model, 32, dtype)
    ids = [f"image-{i}" for i in range(32)]
    start = None
    if random_start:
        start = engine.random_starts(ids, (12, 12, 3), seed=0, epsilon=EPSILON, restart=0)
    stock = StockFromStart(rel_stepsize=REL, steps=STEPS, random_start=random_start)
    stock.start = start
    wrapped = foolbox.models.TensorFlowModel(model, bounds=(0, 1), device="/CPU:0")
    _, theirs, their_success = stock(wrapped, images, labels, epsilons=EPSILON)

    replicas = Replicas(model)
    ours = engine.CompiledLinfPGD(
        gradient=engine.cross_entropy_gradient(replicas), start=start, steps=STEPS,
        rel_stepsize=REL,
    )  # fmt: skip
    _, mine, my_success = ours(engine.foolbox_model(replicas), images, labels, epsilons=EPSILON)
    assert 0 < their_success.numpy().sum() < 32, "a test in which all or none fall shows nothing"
    np.testing.assert_array_equal(my_success.numpy(), their_success.numpy())
    if dtype == "float64":
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), atol=1e-5)


def test_two_replicas_give_the_adversarials_of_one():
    results = []
    for spread in (tf.distribute.get_strategy(), strategy.mirrored()):
        with spread.scope():
            model = small_model()
        replicas = Replicas(model, spread)
        images, labels = data(model, 16, "float32")
        attack = engine.CompiledLinfPGD(
            gradient=engine.cross_entropy_gradient(replicas), start=None, steps=STEPS,
            rel_stepsize=REL,
        )  # fmt: skip
        _, adversarials, success = attack(
            engine.foolbox_model(replicas), images, labels, epsilons=EPSILON
        )
        results.append((adversarials.numpy(), success.numpy()))
    assert replicas.count == 2
    np.testing.assert_array_equal(results[0][1], results[1][1])
    # A gradient at rounding level may flip its sign in a few pixels.
    assert np.mean(np.abs(results[0][0] - results[1][0]) > 1e-5) < 1e-3


def test_an_image_is_attacked_alike_in_any_batch():
    model = small_model()
    images, labels = data(model, 8, "float32")
    replicas = Replicas(model)
    gradient = engine.cross_entropy_gradient(replicas)
    _, whole = gradient(images, labels)
    _, half = gradient(images[:4], labels[:4])
    np.testing.assert_allclose(whole[:4], half, rtol=1e-4, atol=1e-6)


def test_gradient_is_that_of_the_summed_cross_entropy():
    model = small_model("float64")
    images, labels = data(model, 2, "float64")
    loss, gradient = engine.cross_entropy_gradient(Replicas(model))(images, labels)
    assert gradient.dtype == tf.float64
    probability = tf.nn.softmax(model(images)).numpy()
    expected = -np.log(probability[np.arange(2), labels.numpy()])
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)
    nudged = images.numpy()
    nudged[1, 5, 6, 2] += 1e-5
    after = -np.log(tf.nn.softmax(model(nudged)).numpy()[1, labels.numpy()[1]])
    assert (after - expected[1]) / 1e-5 == pytest.approx(float(gradient[1, 5, 6, 2]), rel=1e-3)


def test_random_starts_depend_on_their_key_alone():
    def draw(ids, **changes):
        key = {"seed": 0, "epsilon": 0.1, "restart": 0, **changes}
        return engine.random_starts(ids, (4, 4, 3), **key)

    first = draw(["a", "b", "c"])
    assert first.dtype == np.float32
    assert first.min() >= -1
    assert first.max() <= 1
    np.testing.assert_array_equal(draw(["c"])[0], first[2])
    for change in ({"seed": 1}, {"epsilon": 0.2}, {"restart": 1}):
        assert not np.array_equal(draw(["a"], **change)[0], first[0])
    many = engine.random_starts([str(i) for i in range(50)], (40, 40, 3), seed=0, epsilon=0.1,
                                restart=0)  # fmt: skip
    assert abs(many.mean()) < 0.01
    assert many.std() == pytest.approx(1 / np.sqrt(3), abs=0.01)
