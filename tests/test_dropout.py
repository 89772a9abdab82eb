"""Dropout's draws: from seed, epoch, step and device alone; everything else as Keras has it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.models import build
from attnrobust.training import dropout, strategy

ONES = np.ones((4, 8, 8, 16), np.float32)


def network() -> keras.Model:
    """Dropout as a head has it, then by image, as EfficientNet has it in its blocks."""
    image = keras.Input((8, 8, 16))
    x = keras.layers.Dropout(0.25, name="units")(image)
    return keras.Model(image, [x, keras.layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))(image)])


def drawn(spread: tf.distribute.Strategy, *epochs: tuple[int, int], steps: int = 2) -> np.ndarray:
    """Which units stay, (epochs, steps, layers, devices, 4, 8, 8, 16); compiled once."""
    with spread.scope():
        model = network()
        dropout.prepare(model)

    @tf.function
    def step() -> list:
        return spread.run(lambda: model(ONES, training=True))

    found = []
    for seed, epoch in epochs:
        dropout.begin(model, seed, epoch)
        for _ in range(steps):
            found.append([np.stack(spread.experimental_local_results(x)) for x in step()])
    assert step.experimental_get_tracing_count() == 1
    return np.array(found).reshape(len(epochs), steps, *np.array(found[0]).shape)


@pytest.mark.parametrize("spread", [tf.distribute.get_strategy, strategy.mirrored])
def test_draws_follow_from_seed_epoch_step_and_device(spread):
    found = drawn(spread(), (0, 0), (0, 1), (1, 0), (0, 0))
    np.testing.assert_array_equal(found[0], found[3])
    units = found[:3, :, 0].reshape(-1, ONES.size)
    assert len(units) == 3 * 2 * spread().num_replicas_in_sync
    apart = np.abs(np.corrcoef(units) - np.eye(len(units)))
    assert apart.max() < 0.1, "every epoch, seed, step and device by itself"


def test_as_many_units_are_dropped_as_keras_drops_and_the_rest_makes_up_for_them():
    units, images = np.moveaxis(
        drawn(tf.distribute.get_strategy(), (3, 5), steps=8)[0, :, :, 0], 1, 0
    )
    assert set(np.unique(units)) == {0, np.float32(1 / 0.75)}
    assert (units == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert set(np.unique(images)) == {0, 2}
    assert (images == images[..., :1, :1, :1]).all()
    assert 0 < (images == 0).mean() < 1


def test_weights_files_and_inference_know_nothing_of_it(small, tmp_path):
    keras.utils.set_random_seed(0)
    model = build.build(small.model, classes=7, image_size=32)
    images = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    names, before = [weight.name for weight in model.weights], model(images).numpy()
    dropout.prepare(model)
    assert [layer.name for layer in dropout.layers(model)] == ["head_dropout"]
    assert [weight.name for weight in model.weights] == names
    np.testing.assert_array_equal(model(images), before)
    model.save_weights(tmp_path / "weights.h5", save_format="h5")
    assert not np.array_equal(model(images, training=True), before)
    read = config.with_settings(small, [f"model.weights={tmp_path / 'weights.h5'}"]).model
    np.testing.assert_array_equal(build.build(read, classes=7, image_size=32)(images), before)


@pytest.mark.slow
def test_an_efficientnets_own_chance_is_dropout_by_image_as_above():
    model = config.Model(backbone="efficientnet_b0", head="flatten", weights="none")
    network = build.build(model, classes=3, image_size=32)
    found = list(dropout.layers(network))
    # One for each block that has a way around it, and the head's.
    assert len(found) == 9 + 1
    assert {type(layer) for layer in found} == {keras.layers.Dropout}
    assert all(layer.noise_shape == (None, 1, 1, 1) for layer in found if "head" not in layer.name)
