"""Replicas: two devices give what one gives, in the same order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.models.build import build
from attnrobust.models.replicas import Replicas

MODEL = config.Model("resnet18", "soft_attention", weights="none", width=0.1, maps=4)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Replicas, Replicas]:
    """The same model on one device and on two."""
    keras.utils.set_random_seed(3)
    single = build(MODEL, classes=3, image_size=32)
    file = tmp_path_factory.mktemp("weights") / "model.h5"
    single.save_weights(file)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        double = build(_with_weights(file), classes=3, image_size=32)
    return Replicas(single), Replicas(double, strategy)


def _with_weights(file: Path) -> config.Model:
    return config.Model("resnet18", "soft_attention", weights=str(file), width=0.1, maps=4)


def _gradient(model: keras.Model) -> Callable[..., tf.Tensor]:
    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = model(images, training=False)
            loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
            loss = tf.reduce_sum(loss)
        return tape.gradient(loss, images)

    return gradient


def test_counts(pair: tuple[Replicas, Replicas]) -> None:
    assert [replicas.count for replicas in pair] == [1, 2]


def test_logits_are_those_of_the_model(
    pair: tuple[Replicas, Replicas], rng: np.random.Generator
) -> None:
    images = rng.random((6, 32, 32, 3), dtype=np.float32)
    expected = pair[0].model(images, training=False)
    for replicas in pair:
        logits = replicas.forward(images)
        assert logits.shape == (6, 3)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(replicas.forward(tf.constant(images)), logits)


def test_gradients_agree(pair: tuple[Replicas, Replicas], rng: np.random.Generator) -> None:
    images = rng.random((4, 32, 32, 3), dtype=np.float32)
    labels = np.array([0, 1, 2, 0])
    one, two = (replicas.map(_gradient(replicas.model))(images, labels) for replicas in pair)
    assert tf.norm(one) > 0
    assert tf.norm(one - two) / tf.norm(one) < 1e-5


def test_rows_keep_their_order_and_are_seen_once(pair: tuple[Replicas, Replicas]) -> None:
    for replicas in pair:
        function = replicas.map(lambda x, y, scale: {"x": x * scale, "pair": (y, x + y)})
        x, y = np.arange(8.0, dtype=np.float32), np.arange(8.0, 16.0, dtype=np.float32)
        results = function(x, y, tf.constant(2.0))
        np.testing.assert_array_equal(results["x"], 2 * x)
        np.testing.assert_array_equal(results["pair"][0], y)
        np.testing.assert_array_equal(results["pair"][1], x + y)


def test_each_replica_has_its_share_of_the_batch(pair: tuple[Replicas, Replicas]) -> None:
    for replicas in pair:
        share = replicas.map(lambda x: tf.fill([tf.shape(x)[0]], tf.shape(x)[0]))
        assert share(np.zeros((8, 3), np.float32)).numpy().tolist() == [8 // replicas.count] * 8


def test_one_trace_serves_every_batch_size(pair: tuple[Replicas, Replicas]) -> None:
    traces = []

    def count(x: tf.Tensor) -> tf.Tensor:
        traces.append(1)
        return x

    for replicas in pair:
        traces.clear()
        function = replicas.map(count)
        for size in (4, 2, 8):
            assert function(np.full((size, 2), size, np.float32)).shape == (size, 2)
        assert len(traces) == replicas.count
        function(np.zeros((4, 3), np.float32))
        assert len(traces) == 2 * replicas.count


def test_a_batch_that_does_not_divide_is_refused(pair: tuple[Replicas, Replicas]) -> None:
    with pytest.raises(UserError, match="batch of 5 images: expected a multiple of 2 replicas"):
        pair[1].forward(np.zeros((5, 32, 32, 3), np.float32))


def test_inference_leaves_the_weights_alone(
    pair: tuple[Replicas, Replicas], rng: np.random.Generator
) -> None:
    images = rng.random((4, 32, 32, 3), dtype=np.float32)
    for replicas in pair:
        before = replicas.model.get_weights()
        replicas.forward(images)
        for old, new in zip(before, replicas.model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_mirrored_strategy_with_one_device(
    pair: tuple[Replicas, Replicas], tmp_path: Path, rng: np.random.Generator
) -> None:
    pair[0].model.save_weights(tmp_path / "model.h5")
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        replicas = Replicas(build(_with_weights(tmp_path / "model.h5"), classes=3, image_size=32))
    images = rng.random((3, 32, 32, 3), dtype=np.float32)
    assert replicas.count == 1
    np.testing.assert_allclose(replicas.forward(images), pair[0].forward(images), atol=1e-6)


def test_batches_are_rounded_up_and_padded(pair: tuple[Replicas, Replicas]) -> None:
    assert [replicas.batch(5) for replicas in pair] == [5, 6]
    assert pair[1].batch(6) == 6
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(Replicas.padded(rows, 4), rows[[0, 1, 0, 0]])
    assert Replicas.padded(rows, 2) is rows
