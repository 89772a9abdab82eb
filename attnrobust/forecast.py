"""What an experiment will take: a training step and passes of the attack, measured here."""

from __future__ import annotations

import logging
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import engine
from attnrobust.attacks.methods import row_of as row_of_attack
from attnrobust.attacks.methods import settled
from attnrobust.models import build
from attnrobust.models.replicas import Replicas
from attnrobust.training import fit, strategy
from attnrobust.training.methods import row_of
from attnrobust.training.steps import Steps

log = logging.getLogger("attnrobust")

ROUNDS = 3


def forecast(experiment: config.Experiment, *, classes: int, train: int, test: int) -> None:
    """Measure and print images/s, memory of a replica and hours at most.

    Images are noise, weights random; reading records is not part of it.

    Args:
        experiment: What is to be run.
        classes: Number of classes.
        train: Training images.
        test: Test images.
    """
    setting, size = experiment.training, experiment.data.image_size
    spread = strategy.mirrored()
    method = row_of(setting)
    with spread.scope(), fit.precision(setting.precision):
        network = build.build(
            config.with_settings(experiment, ["model.weights=none"]).model,
            classes=classes,
            image_size=size,
        )
        model = method.make(network, setting)
        fit.compile_model(model, setting)
    images = np.random.default_rng(0).random((setting.batch_size, size, size, 3), np.float32)
    labels = np.zeros((setting.batch_size, *network.output_shape[1:-1]), np.int64)
    batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
    if isinstance(model, Steps):
        batches = model.prepare(batches, (0, 0))

    step = _seconds(lambda: model.fit(batches, steps_per_epoch=1, verbose=0))
    steps = -(-round(setting.epoch_fraction * train) // setting.batch_size)
    hours = steps * setting.epochs * step / 3600
    log.info(
        "train: %.2f s a step of %d images (%.1f images/s), %d steps an epoch, at most %d epochs: "
        "at most %.1f h",
        step,
        setting.batch_size,
        setting.batch_size / step,
        steps,
        setting.epochs,
        hours,
    )
    _forecast_attack(experiment, Replicas(_float32(experiment, classes), None), test)
    log.info("memory of a replica so far: %.2f GB", _peak() / 1e9)


def _float32(experiment: config.Experiment, classes: int) -> keras.Model:
    """The model as attacks see it, on one device."""
    return build.build(
        config.with_settings(experiment, ["model.weights=none"]).model,
        classes=classes,
        image_size=experiment.data.image_size,
    )


def _forecast_attack(experiment: config.Experiment, replicas: Replicas, test: int) -> None:
    attack, size = settled(experiment.attack), experiment.data.image_size
    row, classes = row_of_attack(attack), replicas.model.output_shape[-1]
    gradient = engine.loss_gradient(replicas)
    images = tf.zeros((attack.batch_size, size, size, 3)) + 0.5
    labels = tf.zeros((attack.batch_size, *replicas.model.output_shape[1:-1]), tf.int64)

    def back() -> None:
        loss, _ = gradient(images, labels)
        loss.numpy()  # waits until it is computed

    there = _seconds(lambda: replicas.forward(images).numpy())
    both = _seconds(back)
    each = row.passes(attack, classes, size * size)
    runs = row.starts_of(attack) * (len(attack.epsilons) if row.kind == "fixed" else 1)
    seconds = runs * -(-test // attack.batch_size) * (each.forward * there + each.gradient * both)
    ahead = row.stepped and attack.early_stop and bool(attack.first_passes)
    log.info(
        "attack: %.2f s a gradient and %.2f s a pass forward of %d images on one device (%.1f and "
        "%.1f images/s); %s, %s gradients and %s passes forward an image%s, on %d test images: at "
        "most %.1f h, if no image falls before the end",
        both,
        there,
        attack.batch_size,
        attack.batch_size / both,
        attack.batch_size / there,
        attack.name,
        f"{runs * each.gradient:,.0f}",
        f"{runs * each.forward:,.0f}",
        " beside first passes" if ahead else "",
        test,
        seconds / 3600,
    )


def _seconds(work: Callable[[], object]) -> float:
    """Median time of a few rounds after a first one, which compiles."""
    work()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _peak() -> float:
    """Bytes: of the first GPU where there is one, else of this process."""
    if tf.config.list_logical_devices("GPU"):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    unit = 1 if sys.platform == "darwin" else 1024  # what ru_maxrss counts in
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit
