"""What a model ends in, and how logits are made of it.

A softmax or sigmoid is taken off where its layer can be seen. Elsewhere it is undone by a log,
which gives the same prediction but no derivative where a probability has rounded to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError
from attnrobust.models.adopted import flat

# Layers behind which the last function is looked for.
PASS = ("Reshape", "Flatten", "Dropout", "Identity")
PASS_CALLS = ("cast", "identity", "reshape", "squeeze")
# TensorFlow functions called as layers.
FUNCTIONS = {
    "nn.softmax": "softmax",
    "nn.sigmoid": "sigmoid",
    "math.softmax": "softmax",
    "math.sigmoid": "sigmoid",
    "sigmoid": "sigmoid",
}
# Rows of probabilities add up to 1 within this, in half precision, too.
NEAR_ONE = 5e-3


class End(NamedTuple):
    """The last function of a model.

    Attributes:
        function: `linear`, `softmax`, `sigmoid`, the name of another activation; empty: not seen.
        layer: That has it; None where it is not seen or has other work as well.
        alone: The layer does nothing else.
    """

    function: str = ""
    layer: keras.layers.Layer | None = None
    alone: bool = False


def of(model: keras.Model) -> End:
    """The last function of a graph model with one output, also inside nested models."""
    tensor = model.outputs[0]
    while True:
        layer, node, place = tensor._keras_history
        if flat.is_graph(layer):
            tensor = layer.outputs[place]
            continue
        end = _end(layer)
        if end is not None:
            once = len(layer._inbound_nodes) == 1
            return end if once else End(end.function)
        call = layer._inbound_nodes[node]
        if not _passes(layer) or len(call.keras_inputs) != 1:
            return End()
        tensor = call.keras_inputs[0]


def decided(end: End, said: str, outputs: np.ndarray, file: str) -> str:
    """What the model gives: `logits`, `softmax` or `sigmoid`.

    Args:
        end: As its layers show.
        said: As the user says; empty: nothing.
        outputs: Its answers to images, (N, units).
        file: For messages.

    Raises:
        UserError: The answers, the layers and what was said do not go together, or nothing was
            said and nothing shows it.
    """
    units = outputs.shape[1]
    probable = _are_probabilities(outputs)
    shown = end.function if end.function in ("softmax", "sigmoid") else ""
    if said == "logits" and (probable or shown):
        raise UserError(
            f"{file}: its outputs are probabilities, not logits ({_evidence(outputs)}); an attack "
            f"that takes them for logits flatters the model: --ends {shown or 'softmax'}"
        )
    if said == "softmax" and not probable:
        raise UserError(
            f"{file}: its outputs are no softmax ({_evidence(outputs)}); expected --ends "
            f"{'sigmoid' if units == 1 else 'logits'}"
        )
    if said == "sigmoid" and not _in_unit(outputs):
        raise UserError(
            f"{file}: its outputs are no sigmoid ({_evidence(outputs)}); expected --ends logits"
        )
    if said:
        return said
    if shown == "softmax" and units == 1:
        raise UserError(f"{file}: a softmax of one unit is always 1; it tells no classes apart")
    if shown == "sigmoid" and units > 1:
        raise UserError(
            f"{file}: ends in {units} sigmoid units, each for itself; if every image has one class "
            "and the largest is the prediction, say so: --ends sigmoid"
        )
    if shown:
        return shown
    if end.function == "linear" and not probable:
        return "logits"
    if probable or units == 1 or end.function:
        raise UserError(
            f"{file}: cannot tell what its outputs are ({_evidence(outputs)}"
            + (f"; the last layer is {end.function}" if end.function else "")
            + "); say it: --ends logits, softmax or sigmoid"
        )
    return "logits"


def answers(kind: str, units: int, logits: np.ndarray) -> np.ndarray:
    """What the model itself would have given, of the logits that were made of it."""
    if units == 1:
        margin = (logits[:, 1:] - logits[:, :1]).astype(np.float64)
        return margin if kind == "logits" else 1 / (1 + np.exp(-margin))
    if kind == "softmax":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return 1 / (1 + np.exp(-logits)) if kind == "sigmoid" else logits


def saturation(model: keras.Model, logits: np.ndarray) -> float:
    """Share of images whose probability is exactly 0 or 1 in float32, where a log undoes it.

    There the logits have no derivative, so that a gradient attack cannot move the image.

    Args:
        model: As `load` gives it.
        logits: Its answers to the images, (N, K).

    Returns:
        0 for a model whose logits were found before the last function.
    """
    undo = model.get_layer("logits").undo
    if not undo or not len(logits):
        return 0.0
    if undo == "softmax":
        # log 1.
        return float(np.mean(logits.max(axis=1) >= 0))
    # One of the two logs is that of the smallest number.
    most = -np.log(np.finfo(np.float32).tiny) - 1e-3
    return float(np.mean(np.abs(logits).max(axis=1) >= most))


@keras.saving.register_keras_serializable(package="attnrobust")
class Ending(keras.layers.Layer):
    """Outputs of a model -> float32 logits, (B, units) -> (B, classes), in the asked order.

    Args:
        undo: Function that the outputs have been through: `softmax`, `sigmoid`, or nothing.
        order: Column of each class; None: as they are.

    One unit x gives the logits 0 and x: the same softmax as its sigmoid.
    """

    def __init__(self, undo: str = "", order: Sequence[int] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.undo = undo
        self.order = None if order is None else list(order)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        logits = inputs
        # The smallest normal number, since a log of 0 has no derivative at all.
        least = np.finfo(np.float32).tiny
        if self.undo:
            logits = tf.math.log(tf.maximum(inputs, least))
        if self.undo == "sigmoid":
            logits -= tf.math.log(tf.maximum(1 - inputs, least))
        if inputs.shape[-1] == 1:
            logits = tf.concat([tf.zeros_like(logits), logits], axis=-1)
        return logits if self.order is None else tf.gather(logits, self.order, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "undo": self.undo, "order": self.order}


def _end(layer: keras.layers.Layer) -> End | None:
    """The layer's own last function; None where it hands on what it is given."""
    kind = type(layer).__name__
    if isinstance(layer, keras.layers.Softmax):
        return End("softmax", layer, alone=True) if layer.axis == -1 else End()
    if kind == "TFOpLambda":
        function = FUNCTIONS.get(layer.get_config()["function"], "")
        return End(function, layer, alone=True) if function else None
    activation = getattr(layer, "activation", None)
    if activation is not None:
        function = getattr(activation, "__name__", "?")
        alone = isinstance(layer, keras.layers.Activation)
        return None if alone and function == "linear" else End(function, layer, alone)
    return None


def _passes(layer: keras.layers.Layer) -> bool:
    if type(layer).__name__ == "TFOpLambda":
        return str(layer.get_config()["function"]).split(".")[-1] in PASS_CALLS
    return type(layer).__name__ in (*PASS, "Activation")


def _in_unit(outputs: np.ndarray) -> bool:
    return bool(outputs.min() >= -NEAR_ONE and outputs.max() <= 1 + NEAR_ONE)


def _are_probabilities(outputs: np.ndarray) -> bool:
    sums = outputs.sum(axis=1)
    return outputs.shape[1] > 1 and _in_unit(outputs) and bool(np.abs(sums - 1).max() < NEAR_ONE)


def _evidence(outputs: np.ndarray) -> str:
    """What is seen of them, on images of noise."""
    if outputs.shape[1] == 1:
        return f"one unit, {outputs.min():.3g} to {outputs.max():.3g} on images of noise"
    sums = outputs.sum(axis=1)
    total = "1" if np.abs(sums - 1).max() < NEAR_ONE else f"{sums.min():.3g} to {sums.max():.3g}"
    return f"on images of noise each row adds up to {total}, none below {outputs.min():.2g}"
