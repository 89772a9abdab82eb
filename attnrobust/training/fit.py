"""TRAIN: records to weights, epoch by epoch, so that a killed run goes on where it was."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tqdm import tqdm

from attnrobust import config, runs
from attnrobust.data import corrupting, inputs
from attnrobust.data.records import Dataset
from attnrobust.errors import UserError
from attnrobust.models import build, memory
from attnrobust.training import batchnorm, inner, losses, optimizers, phases
from attnrobust.training.balance import class_weights, synthetic
from attnrobust.training.methods import METHODS, Adversarial, one_step_alone
from attnrobust.training.state import State
from attnrobust.training.steps import Steps, agreement
from attnrobust.training.strategy import is_chief, wait_for_all, whole_files

log = logging.getLogger("attnrobust")


def train(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    strategy: tf.distribute.Strategy,
) -> keras.Model:
    """Train a model; writes `weights.h5` (best epoch), `history.jsonl` and TensorBoard events.

    Args:
        experiment: Data, model and training settings, seed.
        dataset: Records.
        folder: The train stage's folder; `state/` in it holds what a resume needs, and is the
            caller's to remove once nothing can be lost any more.
        strategy: Devices. Over several machines all see the same `folder`, and every one calls
            this; the chief alone writes.

    Returns:
        The model with its best weights.

    Raises:
        UserError: Loss not finite, batch smaller than the number of devices, disk full, another
            machine lost.
    """
    try:
        return _train(experiment, dataset, folder, strategy)
    except tf.errors.OpError as error:
        # What the others see when a worker dies; on one machine there are no collectives to abort.
        if "ollective" not in str(error) or not strategy.extended._in_multi_worker_mode():
            raise
        raise UserError(
            "another worker was lost; start all of them again: training goes on after the last "
            "finished epoch"
        ) from error


def _train(
    experiment: config.Experiment, dataset: Dataset, folder: Path, strategy: tf.distribute.Strategy
) -> keras.Model:
    setting = experiment.training
    model = _built(experiment, dataset, folder, strategy)
    if setting.corruptions:
        corrupting.warn_of_filter(dataset)
    weights, made = class_weights(dataset, experiment), synthetic(dataset, experiment)
    state = State.load(folder / "state")
    groups = phases.learning(setting, max(state.epoch - 1, 0))
    _learn(model, experiment, groups, strategy)
    with strategy.scope():  # Makes the optimizer's variables: a copy on each device.
        state.restore(model)
    validation = validation_batches(model, experiment, dataset)
    writer = None
    if is_chief(strategy):
        writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
    else:
        log.info("a helping worker: the first one writes and says what happens")
    while not state.collapsed and state.epoch < setting.epochs and state.wait < setting.patience:
        if phases.learning(setting, state.epoch) != groups:
            groups = phases.learning(setting, state.epoch)
            _learn(model, experiment, groups, strategy)
        row = _one_epoch(
            model, experiment, dataset, epoch=state.epoch, weights=weights, validation=validation,
            rate=optimizers.rate(setting, state.epoch, [row["val_loss"] for row in state.history]),
            made=made,
        )  # fmt: skip
        if not all(math.isfinite(row[key]) for key in ("loss", "val_loss")):
            raise UserError(
                f"the loss is not finite in epoch {row['epoch']}; try a smaller "
                f"training.learning_rate than {setting.learning_rate:g}"
            )
        # Reading a variable can take a mean over all machines, so every one of them saves, and all
        # but the chief into the void.
        with contextlib.nullcontext(folder) if writer else tempfile.TemporaryDirectory() as place:
            improved = state.add(row, setting.min_delta)
            if state.epoch <= setting.head_epochs:
                state.wait = 0
            _keep(Path(place), model, state, improved=improved)
        if writer:
            _tensorboard(writer, row)
            log.info("%s", _line(row, setting.epochs, best=improved))
    _say_end(state, setting)
    wait_for_all(strategy)
    model.load_weights(folder / "weights.h5")
    wait_for_all(strategy)
    return model


def _built(
    experiment: config.Experiment, dataset: Dataset, folder: Path, strategy: tf.distribute.Strategy
) -> keras.Model:
    """The network that learns by the method, with its starting weights, on all devices."""
    setting, devices = experiment.training, strategy.num_replicas_in_sync
    if setting.batch_size % devices:
        raise UserError(
            f"training.batch_size {setting.batch_size} does not spread evenly over {devices} "
            "devices"
        )
    method = config.lookup("training.method", METHODS, setting.method)
    first = phases.start(experiment, dataset, folder)
    keras.utils.set_random_seed(experiment.seed)
    with strategy.scope(), precision(setting.precision):
        network = build.build(
            first, classes=len(dataset.classes), image_size=experiment.data.image_size
        )
        model = method(network, setting)
    batchnorm.prepare(model, setting, devices, inputs.steps(dataset, experiment.data, setting))
    passes = model.passes if isinstance(model, Steps) else 1
    memory.require(model, setting.batch_size, "training.batch_size", passes)
    return model


def _learn(
    model: keras.Model, experiment: config.Experiment, groups: int | None,
    strategy: tf.distribute.Strategy,
) -> None:  # fmt: skip
    """Have so many layer groups learn from here on, with a new optimizer."""
    setting = experiment.training
    with strategy.scope(), precision(setting.precision):
        phases.choose(model, experiment.model.backbone, groups)
        compile_model(model, setting)
    if groups is not None or setting.head_epochs:
        log.info("%s", {None: "the whole network learns", 1: "the head alone learns"}.get(
            groups, f"the last {groups} layer groups learn"))  # fmt: skip


def _say_end(state: State, setting: config.Training) -> None:
    last = state.history[-1]
    kept = next(row for row in state.history if row["val_loss"] == state.best)
    overfitted = last if state.collapsed else kept
    if state.collapsed or one_step_alone(kept):
        log.warning(
            "catastrophic overfitting in epoch %d: validation accuracy %.3f under the single step "
            "of training, %.3f under PGD; %s; try a smaller training.inner_epsilon, or "
            "training.method=adversarial",
            overfitted["epoch"], overfitted["val_one_step_accuracy"],
            overfitted["val_robust_accuracy"],
            "stopped, the best weights from before are kept" if state.collapsed
            else "its weights are the best there are, and are kept",
        )  # fmt: skip
    elif state.wait >= setting.patience:
        log.info("no better validation loss for %d epochs: stopped", setting.patience)


def _keep(folder: Path, model: keras.Model, state: State, *, improved: bool) -> None:
    """Best weights, what a resume needs, and the history of a finished epoch."""
    if improved:
        with runs.atomic(folder / "weights.h5") as temporary:
            model.save_weights(temporary, save_format="h5")
    # The state last: an epoch that it does not hold is trained, and written, again.
    runs.save_text(
        folder / "history.jsonl", "".join(json.dumps(line) + "\n" for line in state.history)
    )
    state.save(folder / "state", model)


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Layers built meanwhile compute in this precision; their weights stay float32."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32" if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def compile_model(model: keras.Model, setting: config.Training) -> None:
    """Optimizer, loss and metrics of the logits; under a strategy, to be called in its scope."""
    model.compile(
        optimizer=optimizers.optimizer(setting),
        loss=losses.KerasLoss(setting),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy"), *agreement(model)],
    )


def validation_batches(
    model: keras.Model, experiment: config.Experiment, dataset: Dataset
) -> tf.data.Dataset:
    """What an epoch is judged by: (image, label), with random starts where a method attacks."""
    setting = experiment.training
    batches = inputs.evaluation_batches(
        dataset, "validation", data=experiment.data, batch_size=setting.batch_size
    ).map(lambda batch: (batch["image"], batch["label"]))
    if isinstance(model, Adversarial):
        if setting.validation_share < 1:
            batches = _thinned(batches.unbatch(), setting.validation_share)
            batches = batches.batch(setting.batch_size)
        batches = inner.starts(batches, setting.inner_norm, setting.inner_epsilon,
                               (experiment.seed, -1), gaussian=False)  # fmt: skip
    return batches.with_options(whole_files())


def _thinned(examples: tf.data.Dataset, share: float) -> tf.data.Dataset:
    """The first example, and as many others evenly spread as the share asks for."""

    def step(index: tf.Tensor) -> tf.Tensor:
        return tf.floor(tf.cast(index, tf.float64) * share)

    kept = examples.enumerate().filter(lambda index, _: step(index) > step(index - 1))
    return kept.map(lambda _, pair: pair)


def _one_epoch(
    model: keras.Model,
    experiment: config.Experiment,
    dataset: Dataset,
    *,
    epoch: int,
    weights: np.ndarray,
    validation: tf.data.Dataset,
    rate: float,
    made: tf.data.Dataset | None = None,
) -> dict[str, Any]:
    """Fit one epoch at a learning rate; its row of the history."""
    table = tf.constant(weights)
    batches = inputs.training_batches(
        dataset, data=experiment.data, training=experiment.training, seed=experiment.seed,
        epoch=epoch, made=made,
    ).map(lambda image, label: (image, label, tf.gather(table, label)))  # fmt: skip
    own = isinstance(model, Steps)
    if own:
        batches = model.prepare(batches, (experiment.seed, epoch))
    model.optimizer.learning_rate = rate
    batches = batches.with_options(whole_files())
    steps = inputs.steps(dataset, experiment.data, experiment.training)
    start = time.monotonic()
    with tqdm(desc=f"epoch {epoch + 1}", total=steps, unit="batch", leave=False,
              disable=None) as bar:  # fmt: skip
        history = model.fit(
            batches, validation_data=validation, initial_epoch=epoch, epochs=epoch + 1, verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(
                on_batch_end=lambda *_, **__: bar.update(),
                on_test_begin=lambda *_: batchnorm.level(model),
            )],
        ).history  # fmt: skip
    seconds = round(time.monotonic() - start, 2)
    measured = {
        key: float(values[-1])
        for key, values in history.items()
        if not own or key in model.recorded
    }
    return {"epoch": epoch + 1, **measured, "seconds": seconds}


def _line(row: dict[str, Any], epochs: int, *, best: bool) -> str:
    said = ("loss", "accuracy", "robust_accuracy", "kappa")
    trained, judged = (
        "  ".join(
            f"{name.replace('_', ' ')} {row[before + name]:.3f}"
            for name in said
            if before + name in row
        )
        for before in ("", "val_")
    )
    return (
        f"epoch {row['epoch']:>3}/{epochs}  {trained}  validation {judged}"
        f"  {row['seconds']:.1f} s{'  best' if best else ''}"
    )


def _tensorboard(writer: tf.summary.SummaryWriter, row: dict[str, Any]) -> None:
    with writer.as_default(step=row["epoch"]):
        for key, value in row.items():
            if key != "epoch":
                tf.summary.scalar(key, value)
    writer.flush()
