"""The file's model with its preprocessing in front and logits behind, flat or as one layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.models.adopted import asking, ends, flat, seen, trust
from attnrobust.models.adopted.asking import Found

HALVES = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
# A layer of ours and the file's, whose weights it gets.
Copies = list[tuple[keras.layers.Layer, keras.layers.Layer]]


class Made(NamedTuple):
    """A model that keeps the project's contract.

    Attributes:
        model: Images (B, H, W, 3) in [0, 1] to float32 logits.
        features: Layer of the file whose output is the layer `features`; empty: there is none.
        stripped: Its logits stand in the file's model, and were not made by a log.
        notes: Lines for people.
    """

    model: keras.Model
    features: str
    stripped: bool
    notes: tuple[str, ...] = ()


def flattened(found: Found, order: Sequence[int], size: int | None) -> Made:
    """All layers at the top, in float32, the last function taken off where it is seen.

    The model found is used up: its layers are called anew.

    Args:
        found: A graph model.
        order: Its output for each class.
        size: Height and width of the images; None: any.
    """
    last, alone = found.end.layer, found.end.alone
    strips = last is not None and found.kind == found.end.function
    if last is not None and strips and not alone:
        last.activation = keras.activations.linear
    copies: Copies = []
    half = trust.half_layers(found.model)
    place, name = seen.last_map(found.model)
    images = keras.Input((size, size, 3), name="image")
    outputs = flat.called(
        found.model,
        found.front(images),
        layer_of=lambda layer: _in_float32(layer, copies) if half else layer,
        left_out=[last] if strips and alone else (),
        after=lambda at, output: _tapped(output) if at == place else output,
    )
    for mine, theirs in copies:
        mine.set_weights(theirs.get_weights())
        if isinstance(mine, keras.layers.Normalization):
            mine.finalize_state()
    stripped = strips or found.kind == "logits"
    model = _ended(images, outputs, "" if stripped else found.kind, order)
    if not half:
        return Made(model, name, stripped)
    policy = half[0].dtype_policy.name
    return Made(
        model, name, stripped, (f"trained in {policy}: its layers are made anew in float32",)
    )


def whole(found: Found, adopted: config.Adopted, order: Sequence[int], size: int | None) -> Made:
    """The whole model as one layer, as it is."""
    images = keras.Input((size, size, 3), name="image")
    outputs = found.model(found.front(images), training=False)
    names = asking.output_names(found.model)
    output = seen.chosen(outputs, names, adopted.output, adopted.file)
    stripped = found.kind == "logits"
    notes = ("it computes in half precision",) if trust.half_layers(found.model) else ()
    return Made(_ended(images, output, "" if stripped else found.kind, order), "", stripped, notes)


def is_faithful(made: Made, found: Found, order: Sequence[int]) -> bool:
    """Whether the model answers as the file's did."""
    noise = tf.constant(asking.noise(found.fed.shape[1]))
    logits = trust.in_replica(lambda images: made.model(images, training=False), noise).numpy()
    mine = ends.answers(found.kind, found.answers.shape[1], logits[:, np.argsort(order)])
    near = trust.HALF if trust.half_layers(found.model) else trust.SAME
    far = np.abs(mine - found.answers).max() / max(1.0, float(np.abs(found.answers).max()))
    return bool(far < near)


def _ended(images: tf.Tensor, outputs: tf.Tensor, undo: str, order: Sequence[int]) -> keras.Model:
    asked = None if list(order) == list(range(len(order))) else order
    return keras.Model(images, ends.Ending(undo, asked, name="logits")(outputs), name="adopted")


def _tapped(output: tf.Tensor) -> tf.Tensor:
    # A layer of its own, as in the project's networks, so that Grad-CAM has one target name.
    return keras.layers.Activation("linear", dtype=output.dtype, name="features")(output)


def _in_float32(layer: keras.layers.Layer, copies: Copies) -> keras.layers.Layer:
    """The same layer in float32; its weights come when it has been called."""
    settings = json.loads(json.dumps(layer.get_config()), object_hook=_whole_precision)
    copies.append((type(layer).from_config(settings), layer))
    return copies[-1][0]


def _whole_precision(part: dict[str, Any]) -> dict[str, Any]:
    policy = part.get("dtype")
    name = policy.get("config", {}).get("name") if isinstance(policy, dict) else policy
    return {**part, "dtype": "float32"} if name in HALVES else part
