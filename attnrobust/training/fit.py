"""TRAIN: records to weights, epoch by epoch, so that a killed run goes on where it was."""

from __future__ import annotations

import contextlib
import dataclasses
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

from attnrobust import config
from attnrobust.console import progress
from attnrobust.data import corrupting, inputs
from attnrobust.data.records import Dataset
from attnrobust.errors import UserError
from attnrobust.models import build, memory
from attnrobust.training import batchnorm, dropout, logs, losses, optimizers, phases
from attnrobust.training.adversarial import Adversarial
from attnrobust.training.balance import class_weights, synthetic
from attnrobust.training.methods import row_of
from attnrobust.training.state import State
from attnrobust.training.steps import Steps, agreement, overlap
from attnrobust.training.strategy import is_chief, wait_for_all, whole_files
from attnrobust.training.validation import Validation, validation_batches

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
    _learn(model, experiment, groups, weights, strategy)
    with strategy.scope():  # Makes the optimizer's variables: a copy on each device.
        state.restore(model)
    validation = _validation(model, experiment, dataset, weights, strategy)
    writer = None
    if is_chief(strategy):
        writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
    else:
        log.info("a helping worker: the first one writes and says what happens")
    if state.epoch:  # What a kill cut off between the state and the files that follow from it.
        _write(folder, model, state, strategy, new=False)
    while not state.collapsed and state.epoch < setting.epochs and state.wait < setting.patience:
        if phases.learning(setting, state.epoch) != groups:
            groups = phases.learning(setting, state.epoch)
            _learn(model, experiment, groups, weights, strategy)
        row = _one_epoch(
            model,
            experiment,
            dataset,
            epoch=state.epoch,
            weights=weights,
            validation=validation,
            rate=optimizers.rate(setting, state.epoch, [row["val_loss"] for row in state.history]),
            made=made,
        )
        if not all(math.isfinite(row[key]) for key in ("loss", "val_loss")):
            raise UserError(
                f"the loss is not finite in epoch {row['epoch']}; try a smaller "
                f"training.learning_rate than {setting.learning_rate:g}"
            )
        improved = state.add(row, setting.min_delta)
        if state.epoch <= setting.head_epochs:
            state.wait = 0
        _write(folder, model, state, strategy, new=True)
        if writer:
            logs.tensorboard(writer, row)
            log.info("%s", logs.line(row, setting.epochs, best=improved))
    logs.end(state, setting)
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
    first = phases.start(experiment, dataset, folder)
    keras.utils.set_random_seed(experiment.seed)
    model = _network(dataclasses.replace(experiment, model=first), dataset, strategy)
    # Too many groups are told now, not after the epochs of the head alone.
    phases.choose(model, experiment.model.backbone, setting.groups)
    with strategy.scope():
        dropout.prepare(model)
    batchnorm.prepare(model, setting, devices, inputs.steps(dataset, experiment.data, setting))
    passes = model.passes if isinstance(model, Steps) else 1
    memory.require(model, setting.batch_size, "training.batch_size", passes)
    return model


def _network(
    experiment: config.Experiment, dataset: Dataset, strategy: tf.distribute.Strategy
) -> keras.Model:
    setting = experiment.training
    method = row_of(setting)
    with strategy.scope(), precision(setting.precision):
        network = build.build(
            experiment.model, classes=len(dataset.classes), image_size=experiment.data.image_size
        )
        return method.make(network, setting)


def _validation(
    model: keras.Model,
    experiment: config.Experiment,
    dataset: Dataset,
    weights: np.ndarray,
    strategy: tf.distribute.Strategy,
) -> Validation:
    """What judges the model, with a twin in float32 where it computes in less."""
    setting, judge = experiment.training, model
    if setting.precision != "float32":
        plain = config.with_settings(
            experiment, ["training.precision=float32", "model.weights=none"]
        )
        judge = _network(plain, dataset, strategy)
        with strategy.scope():
            compile_model(judge, plain.training, weights)
        if isinstance(judge, Adversarial):
            memory.require(judge, setting.batch_size, "training.batch_size")
    return Validation(model, judge, validation_batches(judge, experiment, dataset))


def _learn(
    model: keras.Model,
    experiment: config.Experiment,
    groups: int | None,
    weights: np.ndarray,
    strategy: tf.distribute.Strategy,
) -> None:
    """Have so many layer groups learn from here on, with a new optimizer."""
    setting = experiment.training
    with strategy.scope(), precision(setting.precision):
        phases.choose(model, experiment.model.backbone, groups)
        compile_model(model, setting, weights)
        # Variables that came into being inside the compiled step would have it compiled twice.
        model.optimizer.build(model.trainable_variables)
    if groups is not None or setting.head_epochs:
        log.info(
            "%s",
            {None: "the whole network learns", 1: "the head alone learns"}.get(
                groups, f"the last {groups} layer groups learn"
            ),
        )


def _write(
    folder: Path, model: keras.Model, state: State, strategy: tf.distribute.Strategy, *, new: bool
) -> None:
    """A new state, and what follows from a state."""
    # Reading a variable can take a mean over all machines, so every one of them saves, and all but
    # the chief into the void.
    chief = is_chief(strategy)
    with contextlib.nullcontext(folder) if chief else tempfile.TemporaryDirectory() as place:
        # First of all and at once: an epoch that it does not hold is trained again.
        if new:
            state.save(Path(place) / "state", model)
        state.derive(Path(place), model)


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Layers built meanwhile compute in this precision; their weights stay float32."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32" if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def compile_model(
    model: keras.Model, setting: config.Training, weights: np.ndarray | None = None
) -> None:
    """Optimizer, loss and metrics of the logits; under a strategy, to be called in its scope.

    Args:
        model: From `build`, with the steps of a method.
        setting: Of training.
        weights: Of each class (K,), for the pixels of class maps.
    """
    model.compile(
        optimizer=optimizers.optimizer(setting),
        loss=losses.KerasLoss(setting, weights),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            *agreement(model),
            *overlap(model),
        ],
    )


def _one_epoch(
    model: keras.Model,
    experiment: config.Experiment,
    dataset: Dataset,
    *,
    epoch: int,
    weights: np.ndarray,
    validation: Validation,
    rate: float,
    made: tf.data.Dataset | None = None,
) -> dict[str, Any]:
    """Fit one epoch at a learning rate; its row of the history."""
    batches = inputs.training_batches(
        dataset,
        data=experiment.data,
        training=experiment.training,
        seed=experiment.seed,
        epoch=epoch,
        made=made,
    )
    if dataset.kind == "classify":  # The loss of class maps weighs each pixel itself.
        table = tf.constant(weights)
        batches = batches.map(lambda image, label: (image, label, tf.gather(table, label)))
    own = isinstance(model, Steps)
    if own:
        batches = model.prepare(batches, (experiment.seed, epoch))
    model.optimizer.learning_rate = rate
    dropout.begin(model, experiment.seed, epoch)
    batches = batches.with_options(whole_files())
    steps = inputs.steps(dataset, experiment.data, experiment.training)
    start = time.monotonic()
    with progress(desc=f"epoch {epoch + 1}", total=steps, unit="batch", leave=False) as bar:
        history = model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_batch_end=lambda *_, **__: bar.update())],
        ).history
    found = {key: float(values[-1]) for key, values in history.items()} | validation.judged()
    seconds = round(time.monotonic() - start, 2)
    measured = {key: value for key, value in found.items() if not own or key in model.recorded}
    return {"epoch": epoch + 1, **measured, "seconds": seconds}
