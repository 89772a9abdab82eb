"""Training: it learns, resumes after a kill, stops early, and says what went wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, runs
from attnrobust.data import inputs, records
from attnrobust.errors import UserError
from attnrobust.models import build
from attnrobust.training import fit, strategy
from attnrobust.training.state import State


def history(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss_and_leaves_best_weights_and_events(
    tiny, records_folder, tmp_path
):
    experiment = config.with_settings(tiny, ["training.epochs=3", "training.augmentation=flip"])
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


def test_same_seed_same_history_and_other_seed_another(tiny, records_folder, tmp_path):
    dataset = records.load(records_folder)
    results = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        experiment = config.with_settings(tiny, ["training.epochs=1", f"seed={seed}"])
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


def test_early_stopping_counts_epochs_without_improvement():
    state = fit.State()
    losses = [1.0, 0.9, 0.8995, 0.95, 0.7]
    improved = [state.add({"val_loss": loss}, min_delta=0.001) for loss in losses]
    assert improved == [True, True, False, False, True]
    assert (state.best, state.wait, state.epoch) == (0.7, 0, 5)


def test_a_kill_between_the_last_epoch_and_its_state_loses_no_row(
    tiny, records_folder, tmp_path, monkeypatch
):
    experiment = config.with_settings(tiny, ["training.epochs=2"])
    dataset = records.load(records_folder)
    real = State.save

    def cut(self, *args):
        if self.epoch == 2:
            raise KeyboardInterrupt
        real(self, *args)

    monkeypatch.setattr(State, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        fit.train(experiment, dataset, tmp_path, tf.distribute.get_strategy())
    monkeypatch.setattr(State, "save", real)
    fit.train(experiment, dataset, tmp_path, tf.distribute.get_strategy())
    assert [row["epoch"] for row in history(tmp_path)] == [1, 2]


def test_training_stops_when_patience_is_over(tiny, records_folder, tmp_path):
    experiment = config.with_settings(
        tiny, ["training.epochs=9", "training.patience=1", "training.min_delta=100"]
    )
    fit.train(experiment, records.load(records_folder), tmp_path, tf.distribute.get_strategy())
    assert len(history(tmp_path)) == 2


def test_resume_after_an_interruption_equals_an_undisturbed_run(
    tiny, records_folder, tmp_path, monkeypatch
):
    # Dropout's own random state is the one thing a resume does not restore.
    experiment = config.with_settings(tiny, ["training.epochs=3", "model.dropout=0"])
    dataset = records.load(records_folder)
    whole = fit.train(experiment, dataset, tmp_path / "a", tf.distribute.get_strategy())

    real = fit._one_epoch

    def interrupted(*args, epoch, **kwargs):
        if epoch == 2:
            raise KeyboardInterrupt
        return real(*args, epoch=epoch, **kwargs)

    monkeypatch.setattr(fit, "_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit.train(experiment, dataset, tmp_path / "b", tf.distribute.get_strategy())
    monkeypatch.setattr(fit, "_one_epoch", real)
    resumed = fit.train(experiment, dataset, tmp_path / "b", tf.distribute.get_strategy())
    for a, b in zip(history(tmp_path / "a"), history(tmp_path / "b"), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-3)
    for one, two in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-2, atol=1e-3)


def test_a_killed_process_goes_on_from_the_last_finished_epoch(tiny, records_folder, tmp_path):
    command = [
        sys.executable, "-m", "experiments.demo.resnet18_gap", "train",
        "--records", str(records_folder), "--runs", str(tmp_path),
        "--set", "data.image_size=32", "--set", "model.width=0.125", "--set", "training.epochs=6",
        "--set", "training.epoch_fraction=1",
    ]  # fmt: skip
    folder = tmp_path / "demo" / "resnet18_gap" / "seed-0" / "train"
    root = Path(__file__).parents[1]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch   2/6"):
            break
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    done = State.load(folder / "state").epoch
    assert 2 <= done < 6
    second = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert f"going on after epoch {done}" in second.stdout
    assert [row["epoch"] for row in history(folder)] == [1, 2, 3, 4, 5, 6]
    third = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "done before, kept" in third.stdout


def test_a_loss_that_is_not_finite_ends_in_one_clear_line(
    tiny, records_folder, tmp_path, monkeypatch
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
        fit.train(tiny, records.load(records_folder), tmp_path, tf.distribute.get_strategy())


def test_a_batch_that_does_not_spread_over_the_devices_is_refused(tiny, records_folder, tmp_path):
    experiment = config.with_settings(tiny, ["training.batch_size=15"])
    with pytest.raises(UserError, match="does not spread evenly over 2 devices"):
        fit.train(experiment, records.load(records_folder), tmp_path, strategy.mirrored())


def test_a_full_disk_keeps_the_state_of_the_last_epoch(tiny, records_folder, tmp_path, monkeypatch):
    dataset = records.load(records_folder)
    real = runs.save_npz
    calls = []

    def full(path, **arrays):
        calls.append(path)
        if len(calls) == 2:
            with runs.atomic(path):
                raise OSError(28, "No space left on device")
        real(path, **arrays)

    monkeypatch.setattr(fit.runs, "save_npz", full)
    with pytest.raises(UserError, match=r"no space left on the disk while writing .*state\.npz"):
        fit.train(tiny, dataset, tmp_path, tf.distribute.get_strategy())
    assert (tmp_path / "state" / "state.npz").exists()
    monkeypatch.setattr(fit.runs, "save_npz", real)
    fit.train(tiny, dataset, tmp_path, tf.distribute.get_strategy())
    assert [row["epoch"] for row in history(tmp_path)] == [1, 2]


def test_weights_of_a_run_give_the_same_logits_when_built_again(tiny, records_folder, tmp_path):
    dataset = records.load(records_folder)
    model = fit.train(tiny, dataset, tmp_path, tf.distribute.get_strategy())
    again = build.build(
        dataclasses.replace(tiny.model, weights=str(tmp_path / "weights.h5")),
        classes=7, image_size=32,
    )  # fmt: skip
    images = np.random.default_rng(0).random((4, 32, 32, 3), dtype=np.float32)
    np.testing.assert_allclose(model(images), again(images), rtol=1e-6, atol=1e-6)
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_trains_and_resumes_with_float32_weights(
    name, tiny, records_folder, tmp_path, monkeypatch
):
    experiment = config.with_settings(tiny, [f"training.precision={name}", "training.epochs=2"])
    dataset = records.load(records_folder)
    real = fit._one_epoch

    def interrupted(model, *args, epoch, **kwargs):
        assert model.get_layer("conv2_block1_1_conv").compute_dtype == name
        if epoch == 1:
            raise KeyboardInterrupt
        return real(model, *args, epoch=epoch, **kwargs)

    monkeypatch.setattr(fit, "_one_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit.train(experiment, dataset, tmp_path, tf.distribute.get_strategy())
    monkeypatch.setattr(fit, "_one_epoch", real)
    model = fit.train(experiment, dataset, tmp_path, tf.distribute.get_strategy())
    assert keras.mixed_precision.global_policy().name == "float32"
    assert [row["epoch"] for row in history(tmp_path)] == [1, 2]
    assert {weight.dtype for weight in model.get_weights()} == {np.dtype("float32")}
    again = build.build(
        dataclasses.replace(tiny.model, weights=str(tmp_path / "weights.h5")),
        classes=7,
        image_size=32,
    )
    images = np.random.default_rng(0).random((4, 32, 32, 3), dtype=np.float32)
    half, full = model(images).numpy(), again(images).numpy()
    # bfloat16 keeps 8 bits: about 1 % after a few layers.
    np.testing.assert_allclose(half, full, atol=0.03 * np.abs(full).max())
