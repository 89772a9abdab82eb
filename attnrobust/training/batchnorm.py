"""BatchNorm's averages: how fast they follow, what may not move them, one set for all devices."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

# Of the averages, what an epoch may leave without a word; what a proposal would leave.
SLOW, PROPOSED = 0.5, 0.1


def layers(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    """All its BatchNorm layers."""
    kind = keras.layers.BatchNormalization
    return (layer for layer in model.submodules if isinstance(layer, kind))


def prepare(model: keras.Model, setting: config.Training, devices: int, steps: int) -> None:
    """Have the averages follow the batches as `training.batchnorm_momentum` says; None: as built.

    Says so where an epoch of so many steps leaves most of what they were.

    Raises:
        UserError: One image on a device, which BatchNorm would normalise by itself.
    """
    found = list(layers(model))
    if setting.batch_size // devices < 2 and found:
        raise UserError(
            f"training.batch_size = {setting.batch_size} on {devices} device(s): expected at "
            "least 2 images on each, since BatchNorm takes its statistics from them"
        )
    if setting.batchnorm_momentum is not None:
        for layer in found:
            layer.momentum = setting.batchnorm_momentum
    left = max((layer.momentum for layer in found), default=0.0) ** steps
    if left > SLOW:
        log.warning(
            "warning: an epoch of %d steps leaves %.0f %% of BatchNorm's averages as they were, so "
            "that validation, and an attack inside training, lag behind what learns; "
            "training.batchnorm_momentum=%.2g would leave 10 %%",
            steps,
            100 * left,
            PROPOSED ** (1 / steps),
        )


def level(model: keras.Model) -> None:
    """Give every device the mean of all devices' averages; on one device nothing changes.

    Each device has averages of its own, while weights are saved with their mean: without this,
    validation would judge networks that nobody gets, and a resume would go on from others.
    """
    if model.distribute_strategy.num_replicas_in_sync > 1:
        for average in _averages(model):
            average.assign(average.numpy())


@contextlib.contextmanager
def kept(model: keras.Model, setting: config.Training) -> Iterator[bool]:
    """Within: whether crafting calls the model with training=True. Afterwards: no trace of it.

    In training mode every BatchNorm call moves its averages, so that crafting would leave those of
    half-made adversarials in them, one share for each step; they are put back. Not needed in
    inference mode, which only reads them.
    """
    training = setting.inner_batchnorm == "training"
    averages = list(_averages(model)) if training else []
    before = [tf.identity(average) for average in averages]
    yield training
    for average, value in zip(averages, before, strict=True):
        average.assign(value)


def _averages(model: keras.Model) -> Iterator[tf.Variable]:
    for layer in layers(model):
        yield from (layer.moving_mean, layer.moving_variance)
