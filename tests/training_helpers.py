"""Eight images, a small network, one step of training on them; a run and what is left of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.data.records import Dataset
from attnrobust.disk import runs
from attnrobust.training import fit, methods
from attnrobust.training.state import State

IMAGES = np.random.default_rng(0).random((8, 16, 16, 3), dtype=np.float32)
LABELS = np.arange(8) % 3
WEIGHTS = np.linspace(0.5, 2, 8).astype(np.float32)


def setting(method: str, **values) -> config.Training:
    """Of three steps in a ball of 0.05, eight images at once."""
    return config.Training(
        method=method,
        inner_epsilon=0.05,
        inner_steps=3,
        inner_rel_stepsize=0.5,
        batch_size=8,
        learning_rate=0.1,
        **values,
    )


def network(*, batchnorm: bool) -> keras.Model:
    """The same weights in every call."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(image)
    x = keras.layers.BatchNormalization()(x) if batchnorm else x
    x = keras.layers.Flatten()(keras.layers.Activation("softplus")(x))
    return keras.Model(image, keras.layers.Dense(3)(x))


def made(training: config.Training, *, batchnorm: bool) -> keras.Model:
    """It, ready to learn by the method."""
    model = methods.METHODS[training.method].make(network(batchnorm=batchnorm), training)
    fit.compile_model(model, training)
    return model


def stepped(training: config.Training, *, batchnorm: bool) -> tuple[keras.Model, dict]:
    """The model after one step of Keras' fit, and what fit said."""
    model = made(training, batchnorm=batchnorm)
    model.run_eagerly = True  # To compile takes longest; see the tests on one and two replicas.
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS, WEIGHTS)).batch(8)
    if training.method != "standard":
        batches = model.prepare(batches, (0, 0))
    said = model.fit(batches, verbose=0).history
    return model, {key: value[0] for key, value in said.items()}


def softmax_loss(logits: np.ndarray) -> np.ndarray:
    """Cross-entropy of each image, in float64."""
    return -scipy.special.log_softmax(logits.astype(float), axis=1)[np.arange(8), LABELS]


def history(folder: Path) -> list[dict]:
    """Rows of a train stage's folder."""
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def leave_uncompiled(patch: pytest.MonkeyPatch) -> None:
    """Have training run step by step: to compile a small network takes longer than to train it."""
    real = fit.compile_model

    def compile_model(model: keras.Model, *given: object) -> None:
        real(model, *given)
        model.run_eagerly = True

    patch.setattr(fit, "compile_model", compile_model)


def resumed_as_whole(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    spread: tf.distribute.Strategy,
    *,
    compiled: bool = True,
) -> tuple[list[dict], keras.Model]:
    """A resume is the unkilled run: goes on from a copy made after an epoch, and compares.

    The copy is made as soon as the state is written, before the files that follow from it.

    Args:
        compiled: As in earnest; to compile both runs takes longest, though.

    Returns:
        The history of the whole run, and its model.
    """
    parts, real = [folder / "whole", folder / "resumed"], State.save

    def copied(state: State, where: Path, model: keras.Model) -> None:
        real(state, where, model)
        if state.epoch == 1:
            shutil.copytree(where.parent, parts[1])

    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            leave_uncompiled(patch)
        with mock.patch.object(State, "save", copied):
            whole = fit.train(experiment, dataset, parts[0], spread)
        assert State.load(parts[1] / "state").epoch == 1
        resumed = fit.train(experiment, dataset, parts[1], spread)
    rows, again = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in history(part)]
        for part in parts
    )
    assert len(rows) > 1, "something was left to do"
    if compiled:
        assert whole.train_function.experimental_get_tracing_count() == 1, "once, not an epoch"
    for one, two in zip(rows, again, strict=True):
        assert one == pytest.approx(two, rel=1e-5)
    for one, two in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    last, same = (runs.load_npz(part / "state" / "state.npz") for part in parts)
    for name in last.keys() - {"words"}:
        np.testing.assert_allclose(last[name], same[name], rtol=1e-4, atol=1e-6)
    return rows, whole
