"""Training: it learns, resumes after a kill, stops early, and says what went wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from training_helpers import history, leave_uncompiled, made, resumed_as_whole

from attnrobust import config
from attnrobust.data import inputs, records
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models import build
from attnrobust.run import main
from attnrobust.training import fit, strategy
from attnrobust.training.state import State
from experiments.demo import resnet18_gap


def test_training_lowers_the_loss_and_leaves_best_weights_and_events(
    small, records_folder, tmp_path
):
    experiment = config.with_settings(small, ["training.epochs=3", "training.augmentation=flip"])
    dataset = records.load(records_folder)
    # On one device: on several, each validates with its own BatchNorm statistics.
    model = fit.train(experiment, dataset, tmp_path, tf.distribute.get_strategy())
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert list((tmp_path / "tensorboard").glob("events.*"))
    validation = inputs.evaluation_batches(
        dataset, "validation", data=experiment.data, batch_size=16
    )
    logits = np.concatenate([model(batch["image"]).numpy() for batch in validation])
    labels = inputs.labels(dataset, "validation")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    assert float(loss) == pytest.approx(min(row["val_loss"] for row in rows), abs=2e-3)
    # The weights of a run give the same logits when built again.
    again = build.build(
        dataclasses.replace(experiment.model, weights=str(tmp_path / "weights.h5")),
        classes=7,
        image_size=32,
    )
    images = np.random.default_rng(0).random((4, 32, 32, 3), dtype=np.float32)
    np.testing.assert_allclose(model(images), again(images), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_same_seed_same_history_and_other_seed_another(
    small, records_folder, tmp_path, monkeypatch
):
    leave_uncompiled(monkeypatch)
    dataset = records.load(records_folder)
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        experiment = config.with_settings(small, ["training.epochs=1", f"seed={seed}"])
        fit.train(experiment, dataset, tmp_path / name, tf.distribute.get_strategy())
        results.append(history(tmp_path / name)[0]["loss"])
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    assert results[0] != pytest.approx(results[2], rel=1e-3)


def test_one_and_two_replicas_take_the_same_step(tiny, records_folder):
    """One SGD step on the same batch, without BatchNorm's per-replica statistics."""
    images = np.random.default_rng(0).random((8, 16, 16, 3), dtype=np.float32)
    labels = np.arange(8) % 3
    weights = np.linspace(0.5, 2, 8).astype(np.float32)
    after = []
    for spread in (tf.distribute.get_strategy(), strategy.mirrored()):
        keras.utils.set_random_seed(0)
        with spread.scope():
            model = keras.Sequential(
                [keras.layers.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
            )
            fit.compile_model(model, config.Training(learning_rate=0.1))
        batches = tf.data.Dataset.from_tensor_slices((images, labels, weights)).batch(8)
        model.fit(batches, verbose=0)
        after.append(model.get_weights())
    assert strategy.mirrored().num_replicas_in_sync == 2
    for one, two in zip(*after, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_a_run_trains_on_two_devices_and_leaves_one_network(small, records_folder, tmp_path):
    experiment = config.with_settings(
        small, ["training.epochs=1", "training.augmentation=", "data.limit=32"]
    )
    dataset, two = records.load(records_folder), strategy.mirrored()
    assert two.num_replicas_in_sync == 2
    model = fit.train(experiment, dataset, tmp_path, two)
    (row,) = history(tmp_path)
    batches = list(
        inputs.evaluation_batches(dataset, "validation", data=experiment.data, batch_size=99)
    )
    labels = np.concatenate([batch["label"] for batch in batches])
    weights = str(tmp_path / "weights.h5")
    again = build.build(
        dataclasses.replace(experiment.model, weights=weights), classes=7, image_size=32
    )
    logits = np.concatenate([again(batch["image"]).numpy() for batch in batches])
    each = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    assert row["val_loss"] == pytest.approx(np.mean(each), rel=1e-4)
    assert row["val_accuracy"] == pytest.approx(np.mean(logits.argmax(1) == labels), abs=1e-6)
    for variable, one in zip(model.weights, again.get_weights(), strict=True):
        assert len({value.device for value in variable.values}) == 2
        for value in variable.values:
            np.testing.assert_allclose(value, one, rtol=1e-6, atol=1e-7)
    assert model.optimizer.iterations.numpy() == 32 // 16


def test_class_weights_are_inverse_frequency_with_mean_one(tiny, records_folder):
    dataset = records.load(records_folder)
    weights = fit.class_weights(dataset, tiny)
    labels = inputs.labels(dataset, "train")
    frequency = np.bincount(labels, minlength=7)
    assert weights[labels].mean() == pytest.approx(1, abs=1e-6)
    products = (weights * frequency)[frequency > 0]
    np.testing.assert_allclose(products, products[0], rtol=1e-5)
    none = config.with_settings(tiny, ["training.class_weights=none"])
    assert fit.class_weights(dataset, none).tolist() == [1] * 7


def test_a_state_on_disk_keeps_how_long_nothing_improved(tmp_path):
    state = State()
    for epoch, loss in enumerate((1.0, 0.9, 0.95, 0.97), start=1):
        state.add({"epoch": epoch, "val_loss": loss}, min_delta=0.001)
    state.save(tmp_path, made(config.Training(), batchnorm=True))
    again = State.load(tmp_path)
    assert (again.best, again.wait, again.history) == (0.9, 2, state.history)


def test_early_stopping_counts_epochs_without_improvement():
    state = fit.State()
    losses = [1.0, 0.9, 0.8995, 0.95, 0.7]
    improved = [state.add({"val_loss": loss}, min_delta=0.001) for loss in losses]
    assert improved == [True, True, False, False, True]
    assert (state.best, state.wait, state.epoch) == (0.7, 0, 5)


@pytest.fixture
def told(monkeypatch) -> list[list[float]]:
    """Validation losses by attempt and epoch; epochs take no time, and are marked in the weights.

    The mark is the epoch, and a hundredth for each attempt before; it is in the row, too.
    """
    attempts: list[list[float]] = []

    def linear(*_, classes, image_size):
        image = keras.Input((image_size, image_size, 3))
        x = keras.layers.GlobalAveragePooling2D()(image)
        return keras.Model(image, keras.layers.Dense(classes, name="logits")(x))

    def epoch(model, *_, epoch, **__):
        mark = epoch + 1 - len(attempts) / 100
        model.get_layer("logits").bias.assign(np.full(7, mark))
        return {
            "epoch": epoch + 1,
            "loss": 1.0,
            "accuracy": 0.5,
            "val_loss": attempts[0][epoch],
            "val_accuracy": 0.5,
            "mark": mark,
            "seconds": 0.0,
        }

    monkeypatch.setattr(fit.build, "build", linear)
    monkeypatch.setattr(fit, "_one_epoch", epoch)
    return attempts


def mark(folder: Path) -> float:
    """What is in the weights' file."""
    with h5py.File(folder / "weights.h5") as file:
        return float(file["logits/logits/bias:0"][0])


def cut(patch: pytest.MonkeyPatch, number: int) -> None:
    """A kill before that write of a run, counted from 1."""
    calls = []

    def counted(real):
        def write(*args, **kwargs):
            calls.append(real)
            if len(calls) == number:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        return write

    for name in ("save_npz", "save_text", "atomic"):
        patch.setattr(runs, name, counted(getattr(runs, name)))


@pytest.mark.parametrize("number", range(1, 9))
def test_a_kill_before_any_write_leaves_weights_of_an_epoch_that_the_history_holds(
    number, told, tiny, records_folder, tmp_path
):
    """Also where an epoch that is trained again, on another machine, turns out worse."""
    experiment = config.with_settings(tiny, ["training.epochs=3"])
    dataset, one = records.load(records_folder), tf.distribute.get_strategy()
    told += [[0.9, 0.5, 0.7], [0.9, 0.95, 0.96], [0.8, 0.93, 0.94]]
    for place in (number, 3):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            cut(patch, place)
            fit.train(experiment, dataset, tmp_path, one)
        told.pop(0)
        if (tmp_path / "weights.h5").exists():
            held = [row["mark"] for row in history(tmp_path)]
            assert any(mark(tmp_path) == pytest.approx(each) for each in held)
    fit.train(experiment, dataset, tmp_path, one)
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert mark(tmp_path) == pytest.approx(min(rows, key=lambda row: row["val_loss"])["mark"])


def test_training_stops_when_patience_is_over(told, tiny, records_folder, tmp_path):
    told.append([0.9, 0.8, 0.85, 0.8, 0.1])
    experiment = config.with_settings(tiny, ["training.epochs=9", "training.patience=2"])
    fit.train(experiment, records.load(records_folder), tmp_path, tf.distribute.get_strategy())
    assert len(history(tmp_path)) == 4
    assert mark(tmp_path) == pytest.approx(1.99)


def test_resume_after_an_interruption_equals_an_undisturbed_run(small, records_folder, tmp_path):
    experiment = config.with_settings(
        small,
        [
            "training.epochs=3",
            "training.optimizer=adam",
            "training.learning_rate=0.001",
            "training.augmentation=rotate",
        ],
    )
    dataset = records.load(records_folder)
    resumed_as_whole(experiment, dataset, tmp_path, tf.distribute.get_strategy())


# The command line of a small network, killed by itself as soon as its second epoch is saved.
KILLED = """
import os, signal, sys
import small_network
from attnrobust.run import main
from attnrobust.training.state import State
from experiments.demo.resnet18_gap import EXPERIMENT
small_network.add()
real = State.save
def save(self, *args):
    real(self, *args)
    if self.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
State.save = save
main(EXPERIMENT, sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_process_goes_on_from_the_last_finished_epoch(
    small, records_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(strategy, "mirrored", tf.distribute.get_strategy)
    words = ["train", "--records", str(records_folder), "--runs", str(tmp_path)]
    for setting in ("data.image_size=32", "model.backbone=small", "training.epochs=3"):
        words += ["--set", setting]
    folder = tmp_path / "demo" / "resnet18_gap" / "seed-0" / "train"
    tests = Path(__file__).parent
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *words],
        cwd=tests.parent,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tests)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert State.load(folder / "state").epoch == 2
    assert main(resnet18_gap.EXPERIMENT, words) == 0
    assert "going on after epoch 2" in capsys.readouterr().out
    assert [row["epoch"] for row in history(folder)] == [1, 2, 3]
    assert main(resnet18_gap.EXPERIMENT, words) == 0
    assert "done before, kept" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_ends_in_one_clear_line(
    small, records_folder, tmp_path, monkeypatch
):
    # Logits at the end of float32's range: the first step's loss overflows.
    real = build.build

    def overflowing(*args, **kwargs):
        model = real(*args, **kwargs)
        last = model.get_layer("logits")
        last.set_weights([np.full_like(weight, 3e38) for weight in last.get_weights()])
        return model

    monkeypatch.setattr(fit.build, "build", overflowing)
    with pytest.raises(UserError, match=r"not finite in epoch 1; try a smaller"):
        fit.train(small, records.load(records_folder), tmp_path, tf.distribute.get_strategy())


def test_a_batch_that_does_not_spread_over_the_devices_is_refused(small, records_folder, tmp_path):
    experiment = config.with_settings(small, ["training.batch_size=15"])
    with pytest.raises(UserError, match="does not spread evenly over 2 devices"):
        fit.train(experiment, records.load(records_folder), tmp_path, strategy.mirrored())


def test_a_full_disk_keeps_the_state_of_the_last_epoch(
    told, tiny, records_folder, tmp_path, monkeypatch
):
    dataset = records.load(records_folder)
    real = runs.save_npz
    calls = []
    told.append([0.9, 0.8])

    def full(path, **arrays):
        calls.append(path)
        if len(calls) == 2:
            with runs.atomic(path):
                raise OSError(28, "No space left on device")
        real(path, **arrays)

    monkeypatch.setattr(runs, "save_npz", full)
    with pytest.raises(UserError, match=r"no space left on the disk while writing .*state\.npz"):
        fit.train(tiny, dataset, tmp_path, tf.distribute.get_strategy())
    assert (tmp_path / "state" / "state.npz").exists()
    monkeypatch.setattr(runs, "save_npz", real)
    fit.train(tiny, dataset, tmp_path, tf.distribute.get_strategy())
    assert [row["epoch"] for row in history(tmp_path)] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_trains_and_resumes_with_float32_weights(
    name, small, records_folder, tmp_path, monkeypatch
):
    experiment = config.with_settings(
        small, [f"training.precision={name}", "training.augmentation=", "data.limit=32"]
    )
    dataset, real, seen = records.load(records_folder), fit._one_epoch, set()

    def watched(model, *args, **kwargs):
        seen.add(model.get_layer("conv1_conv").compute_dtype)
        return real(model, *args, **kwargs)

    monkeypatch.setattr(fit, "_one_epoch", watched)
    _, model = resumed_as_whole(
        experiment, dataset, tmp_path, tf.distribute.get_strategy(), compiled=False
    )
    assert seen == {name}
    assert keras.mixed_precision.global_policy().name == "float32"
    again = build.build(
        dataclasses.replace(experiment.model, weights=str(tmp_path / "whole" / "weights.h5")),
        classes=7,
        image_size=32,
    )
    images = np.random.default_rng(0).random((4, 32, 32, 3), dtype=np.float32)
    half, full = model(images).numpy(), again(images).numpy()
    # bfloat16 keeps 8 bits: about 1 % after a few layers.
    np.testing.assert_allclose(half, full, atol=0.03 * np.abs(full).max())
