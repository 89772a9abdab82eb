"""Optimizers and schedules: steps by hand, rates by hand, the same after a resume."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from training_helpers import resumed_as_whole

from attnrobust import config
from attnrobust.data import records
from attnrobust.errors import UserError
from attnrobust.training import fit, optimizers, strategy


def setting(**values) -> config.Training:
    return config.Training(learning_rate=0.1, **values)


def walked(training: config.Training, gradients: list[float]) -> float:
    """Where a weight of 2 ends."""
    weight = tf.Variable(2.0)
    made = optimizers.optimizer(training)
    for gradient in gradients:
        made.apply_gradients([(tf.constant(gradient), weight)])
    return float(weight)


def test_sgd_by_hand_with_momentum_and_decoupled_decay():
    # Velocities -0.1 and -0.9 * 0.1 - 0.1 * 3.
    assert walked(setting(optimizer="sgd"), [1.0, 3.0]) == pytest.approx(2 - 0.1 - 0.39)
    # Each step first takes 0.1 * 0.5 of the weight; the momentum does not see it.
    decayed = (2 * 0.95 - 0.1) * 0.95 - 0.39
    assert walked(setting(optimizer="sgd", weight_decay=0.5), [1.0, 3.0]) == pytest.approx(decayed)


def test_adam_by_hand_with_decoupled_decay():
    # The first step of Adam is rate * g / (|g| + epsilon), but for the bias of epsilon itself.
    first = 0.1 * 3 / (3 + 1e-7 / math.sqrt(0.001))
    adam = setting(adam_epsilon=1e-7)
    assert walked(adam, [3.0]) == pytest.approx(2 - first, rel=1e-6)
    decayed = setting(adam_epsilon=1e-7, weight_decay=0.5)
    assert walked(decayed, [3.0]) == pytest.approx(2 * 0.95 - first, rel=1e-6)


def test_rates_by_hand():
    def rates(epochs, **values):
        training = setting(epochs=epochs, **values)
        return [optimizers.rate(training, epoch) for epoch in range(epochs)]

    assert rates(3) == [0.1] * 3
    half = math.sqrt(0.5)
    expected = [0.1, 0.05 * (1 + half), 0.05, 0.05 * (1 - half)]
    assert rates(4, schedule="cosine") == pytest.approx(expected)
    headed = rates(6, schedule="cosine", head_epochs=2, head_learning_rate=0.7)
    assert headed == pytest.approx([0.7, 0.7, *expected]), "from its start, after the head's"
    found = rates(5, schedule="step", decay_epochs=(2, 4))
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])
    assert rates(17, schedule="step")[14:] == pytest.approx([0.1, 0.01, 0.01])


def test_the_plateau_by_hand():
    # Better after epochs 0, 1 and 4 (0.51 is not, by min_delta); waits reach 2 after 3, 6 and 8.
    losses = [0.9, 0.52, 0.51, 0.6, 0.4, 0.4, 0.5, 0.6, 0.7]
    training = setting(schedule="plateau", plateau_epochs=2, min_delta=0.05)
    found = [optimizers.rate(training, epoch, losses[:epoch]) for epoch in range(10)]
    tenths = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert found == pytest.approx([0.1 * 0.1**n for n in tenths])
    # The losses of later epochs, known or not, change nothing.
    assert [optimizers.rate(training, e, losses) for e in range(10)] == found
    # While the head learns alone nobody waits; its best loss stays the one to better.
    headed = setting(
        schedule="plateau", plateau_epochs=2, min_delta=0.0, head_epochs=3, head_learning_rate=1.0
    )
    losses = [0.1, 0.5, 0.5, 0.2, 0.15, 0.05]
    found = [optimizers.rate(headed, epoch, losses[:epoch]) for epoch in range(7)]
    assert found == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    with pytest.raises(UserError, match=r"training\.plateau_epochs = 0: expected at least 1"):
        setting(plateau_epochs=0)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_rate_reaches_the_step_on_two_replicas_and_under_a_loss_scale(precision):
    """A linear model, whose step is its rate times a known gradient."""
    training = setting(optimizer="sgd", precision=precision)
    with strategy.mirrored().scope():
        model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(2, use_bias=False)])
        fit.compile_model(model, training)
    model.set_weights([np.zeros((1, 2), np.float32)])
    batches = tf.data.Dataset.from_tensors((np.ones((2, 1), np.float32), np.zeros(2, np.int64)))
    for rate in (0.1, 0.01):
        model.optimizer.learning_rate = rate
        model.fit(batches, verbose=0)
    # Gradient -p of the other class, -0.5 in the first step; then p = 1 / (1 + e^0.1).
    second = 1 / (1 + math.exp(0.1))
    moved = 0.1 * 0.5 + (0.9 * 0.1 * 0.5 + 0.01 * second)
    np.testing.assert_allclose(model.get_weights()[0], [[moved, -moved]], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau"])
def test_a_resume_has_the_rates_and_the_momentum_of_an_undisturbed_run(
    schedule, tiny, records_folder, tmp_path, monkeypatch
):
    experiment = config.with_settings(
        tiny,
        [
            "training.optimizer=sgd",
            f"training.schedule={schedule}",
            "training.epochs=3",
            "training.decay_epochs=1,2",
            "training.weight_decay=0.01",
            "training.learning_rate=0.1",
            "training.plateau_epochs=1",
            "data.limit=32",
            # No loss is better than the first one, by so much.
            *(["training.min_delta=1000"] if schedule == "plateau" else []),
        ],
    )
    dataset = records.load(records_folder)

    def linear(*_, classes, image_size):
        image = keras.Input((image_size, image_size, 3))
        return keras.Model(image, keras.layers.Dense(classes)(keras.layers.Flatten()(image)))

    monkeypatch.setattr(fit.build, "build", linear)
    rates, real = [], fit._one_epoch

    def watched(model, *args, **kwargs):
        row = real(model, *args, **kwargs)
        rates.append(float(model.optimizer.learning_rate))
        return row

    monkeypatch.setattr(fit, "_one_epoch", watched)
    resumed_as_whole(experiment, dataset, tmp_path, tf.distribute.get_strategy(), compiled=False)
    expected = {
        "cosine": [0.1, 0.075, 0.025],
        "step": [0.1, 0.01, 0.001],
        "plateau": [0.1, 0.1, 0.01],
    }[schedule]
    assert rates == pytest.approx([*expected, *expected[1:]])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"optimizer": "sdg"}, r"no training.optimizer 'sdg'; did you mean sgd\?"),
        ({"schedule": "steps"}, r"no training.schedule 'steps'; did you mean step\?"),
    ],
)
def test_an_unknown_row_ends_in_one_clear_line(values, words):
    with pytest.raises(UserError, match=words):
        optimizers.optimizer(setting(**values))
