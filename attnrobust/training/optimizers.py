"""OPTIMIZERS and SCHEDULES: how a gradient becomes a step, and how long that step is.

The learning rate changes between epochs only, and follows from the finished epochs alone, their
number and their validation losses: a run that goes on after a kill has the rate it would have had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

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


def constant(setting: config.Training, epoch: int, losses: Sequence[float]) -> float:
    """Share of the learning rate in an epoch, counted from 0: all of it."""
    del setting, epoch, losses
    return 1.0


def cosine(setting: config.Training, epoch: int, losses: Sequence[float]) -> float:
    """Half a cosine from 1 in the first epoch after the head's towards 0 after all epochs."""
    del losses
    head = setting.head_epochs
    return (1 + math.cos(math.pi * (epoch - head) / (setting.epochs - head))) / 2


def step(setting: config.Training, epoch: int, losses: Sequence[float]) -> float:
    """A tenth from each of `training.decay_epochs` on."""
    del losses
    return float(0.1 ** sum(epoch >= after for after in setting.decay_epochs))


def plateau(setting: config.Training, epoch: int, losses: Sequence[float]) -> float:
    """A tenth after every `training.plateau_epochs` in a row without a better validation loss.

    Better is better by more than `training.min_delta`, as for early stopping; epochs of the head
    alone are not counted. Margeloiu et al. 2020, appendix A: 5 epochs, beside a patience of 10.
    """
    best, waited, drops = math.inf, 0, 0
    for index, loss in enumerate(losses[:epoch]):
        better = loss < best - setting.min_delta
        best = loss if better else best
        waited = 0 if better or index < setting.head_epochs else waited + 1
        if waited == setting.plateau_epochs:
            waited, drops = 0, drops + 1
    return float(0.1**drops)


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


def rate(setting: config.Training, epoch: int, losses: Sequence[float] = ()) -> float:
    """Learning rate in an epoch, counted from 0, after epochs of these validation losses."""
    if epoch < setting.head_epochs:
        return setting.head_learning_rate
    return setting.learning_rate * SCHEDULES[setting.schedule](setting, epoch, losses)


OPTIMIZERS: dict[str, Callable[[config.Training], keras.optimizers.Optimizer]] = {
    "adam": adam,
    "sgd": sgd,
}
SCHEDULES: dict[str, Callable[[config.Training, int, Sequence[float]], float]] = {
    "constant": constant,
    "cosine": cosine,
    "step": step,
    "plateau": plateau,
}
