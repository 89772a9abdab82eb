"""OPTIMIZERS and SCHEDULES: how a gradient becomes a step, and how long that step is.

The learning rate changes between epochs only, and follows from the number of finished epochs alone:
a run that goes on after a kill has the rate it would have had.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tensorflow import keras

from attnrobust import config

MOMENTUM = 0.9


def adam(setting: config.Training) -> keras.optimizers.Optimizer:
    """Adam with `training.adam_epsilon`."""
    return keras.optimizers.Adam(
        setting.learning_rate, epsilon=setting.adam_epsilon, weight_decay=_decay(setting)
    )


def sgd(setting: config.Training) -> keras.optimizers.Optimizer:
    """Gradient descent with momentum 0.9, not Nesterov's."""
    return keras.optimizers.SGD(
        setting.learning_rate, momentum=MOMENTUM, weight_decay=_decay(setting)
    )


def _decay(setting: config.Training) -> float | None:
    """What Keras takes: decoupled, a step also takes rate * decay * weight off every weight."""
    return setting.weight_decay or None


def constant(setting: config.Training, epoch: int) -> float:
    """Share of the learning rate in an epoch, counted from 0: all of it."""
    del setting, epoch
    return 1.0


def cosine(setting: config.Training, epoch: int) -> float:
    """Half a cosine from 1 in the first epoch towards 0 after `training.epochs`."""
    return (1 + math.cos(math.pi * epoch / setting.epochs)) / 2


def step(setting: config.Training, epoch: int) -> float:
    """A tenth from each of `training.decay_epochs` on."""
    return float(0.1 ** sum(epoch >= after for after in setting.decay_epochs))


def optimizer(setting: config.Training) -> keras.optimizers.Optimizer:
    """The optimizer that the settings ask for, at the first epoch's rate.

    Raises:
        UserError: No such optimizer, or schedule.
    """
    row = config.lookup("training.optimizer", OPTIMIZERS, setting.optimizer)
    config.lookup("training.schedule", SCHEDULES, setting.schedule)
    found = row(setting)
    if setting.precision == "float16":
        # Its smallest numbers swallow gradients; bfloat16 has float32's range.
        found = keras.mixed_precision.LossScaleOptimizer(found)
    return found


def rate(setting: config.Training, epoch: int) -> float:
    """Learning rate in an epoch, counted from 0."""
    if epoch < setting.head_epochs:
        return setting.head_learning_rate
    return setting.learning_rate * SCHEDULES[setting.schedule](setting, epoch)


OPTIMIZERS: dict[str, Callable[[config.Training], keras.optimizers.Optimizer]] = {
    "adam": adam, "sgd": sgd,
}  # fmt: skip
SCHEDULES: dict[str, Callable[[config.Training, int], float]] = {
    "constant": constant, "cosine": cosine, "step": step,
}  # fmt: skip
