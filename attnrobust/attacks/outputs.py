"""What an attack sees of a model, `attack.outputs`: its logits, or a softmax put behind them."""

from __future__ import annotations

import dataclasses

from tensorflow import keras

from attnrobust import config
from attnrobust.attacks.methods import row_of
from attnrobust.attacks.row import Attack
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas


def softened(replicas: Replicas) -> Replicas:
    """The same network, weights shared, that gives probabilities (B, classes) float32."""

    def make() -> Replicas:
        with replicas.strategy.scope():
            output = replicas.model.output
            softmax = keras.layers.Softmax(name="probabilities", dtype=output.dtype)
            model = keras.Model(replicas.model.input, softmax(output))
        return Replicas(model, replicas.strategy)

    made: Replicas = replicas.once("softened", make)
    return made


def seen(replicas: Replicas, setting: config.Attack) -> tuple[Replicas, config.Attack]:
    """The model that is attacked, and the settings that it is attacked with.

    Through the softmax the loss is stock Foolbox's, whose second softmax lies on the first: the
    point of that reading is to repeat such a number, gradients that vanish included. What it makes
    is judged by the logits all the same.
    """
    if setting.outputs == "logits":
        return replicas, setting
    loss = "foolbox_cross_entropy" if setting.loss == "cross_entropy" else setting.loss
    return softened(replicas), dataclasses.replace(setting, loss=loss)


def make(replicas: Replicas, setting: config.Attack, seed: int, **aim: int) -> Attack:
    """The attack of these settings, on what they let it see of the model."""
    model, ascended = seen(replicas, setting)
    return row_of(setting).make(model, ascended, seed, **aim)


def on_logits(setting: config.Attack) -> config.Attack:
    """The same attack on the logits."""
    loss = "cross_entropy" if setting.loss == "foolbox_cross_entropy" else setting.loss
    return dataclasses.replace(setting, outputs="logits", loss=loss)


def require_plain(setting: config.Attack, what: str) -> None:
    """Refuse the readings of a paper where a model's own robustness is measured.

    Raises:
        UserError: `attack.outputs` or `attack.scale` is not the default.
    """
    for name, value, plain in (
        ("outputs", setting.outputs, "logits"),
        ("scale", setting.scale, "pixels"),
    ):
        if value != plain:
            raise UserError(
                f"attack.{name} = {value}: {what} takes {plain} alone (--set attack.{name}={plain})"
            )
