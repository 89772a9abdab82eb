"""A model trained elsewhere -> one of the project's: [0, 1] pixels to logits of its classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, keyed
from attnrobust.errors import UserError
from attnrobust.models.adopted import classes as class_names
from attnrobust.models.adopted import ends, files, flat, preprocessing, seen, trust
from attnrobust.models.adopted.ends import End, Ending
from attnrobust.models.adopted.preprocessing import PREPROCESSING

# Images of noise that a model is asked about, and their size where it takes any.
ASKED, SIDE = 4, 64


@dataclass(frozen=True)
class Told:
    """What was found out on the way.

    Attributes:
        ends: `logits`, `softmax` or `sigmoid`: what the file's model gives.
        stripped: Logits were found before the last function, or are given; otherwise it is undone
            by a log (`saturation` says for how many images that leaves no derivative).
        preprocess: What the model is fed: row of PREPROCESSING or numbers.
        image_size: Height and width that the file demands; None where any will do.
        channels: That it takes.
        order: Its output for each class of the data.
        gradients: TensorFlow gives derivatives; without, only black-box attacks work.
        steady: It gives the same answer when it is asked again.
        features: The layer of the file whose map is called `features`; empty: there is none.
        notes: Lines for people.
    """

    ends: str
    stripped: bool
    preprocess: str
    image_size: int | None
    channels: int
    order: tuple[int, ...]
    gradients: bool
    steady: bool
    features: str
    notes: tuple[str, ...]


class _Found(NamedTuple):
    """A file's model and what was seen of it, before anything is changed."""

    model: keras.Model
    taken: seen.Input
    preprocess: str
    front: preprocessing.Feeding
    fed: tf.Tensor
    answers: np.ndarray
    end: End
    kind: str


def load(
    adopted: config.Adopted,
    *,
    classes: Sequence[str],
    image_size: int | None = None,
    again: str = "",
) -> keras.Model:
    """The file's model with its preprocessing in front, giving logits in the order of `classes`.

    Call it inside a strategy's scope to have it on several devices. `told` says what was found out.

    Args:
        adopted: The file, and what it takes and gives.
        classes: Of the data set, in its order.
        image_size: Height and width of the images, in pixels; None: as the file has it.
        again: What to do where the file cannot be read, for the message.

    Returns:
        float32 RGB images in [0, 1], (B, H, W, 3), to float32 logits (B, K). It has a layer
        `preprocessing`, one called `logits` and, where a feature map is seen, `features`.

    Raises:
        UserError: The file cannot be read or used as asked; it says what to change.
    """
    notes: list[str] = []
    found = _found(adopted, image_size, again, notes)
    unsteady = trust.require_steady(
        _answer(found.model, adopted), found.fed, found.model, adopted.file
    )
    if unsteady and not adopted.allow_random:
        raise UserError(
            f"{adopted.file}: {unsteady}; its derivatives would be those of another answer: save "
            "it for inference, or accept that by --set adopted.allow_random=true"
        )
    units = found.answers.shape[1]
    order = class_names.order(adopted.classes, classes, outputs=max(units, 2), file=adopted.file)
    model, features, stripped = _made(found, adopted, order, notes, image_size)
    if not unsteady and not _faithful(model, found, order):
        notes.append("its layers, called one by one, answer differently: it is kept as one layer")
        found = _found(adopted, image_size, again, [])
        model, features, stripped = _kept(found, adopted, order, image_size), "", False
    gradients = trust.gives_gradients(model, _noise(model.input_shape[1]))
    if not gradients:
        notes.append("TensorFlow gives no derivatives of it: only black-box attacks work")
    if not stripped:
        notes.append(f"its {found.kind} is not seen as a layer and is undone by a log")
    if not features:
        notes.append("no convolution is seen in it: no explanation that looks at a feature map")
    if unsteady:
        notes.append(unsteady)
    model.told = Told(
        ends=found.kind,
        stripped=stripped,
        preprocess=found.preprocess,
        image_size=found.taken.size,
        channels=found.taken.channels,
        order=tuple(order),
        gradients=gradients,
        steady=not unsteady,
        features=features,
        notes=tuple(notes),
    )
    return model


def told(model: keras.Model) -> Told:
    """What `load` found out about the model."""
    found: Told = model.told
    return found


def image_size(adopted: config.Adopted) -> int | None:
    """Height and width of the images that the file demands; None where any will do.

    Raises:
        UserError: As `load` for a file that cannot be read, or does not take images.
    """
    return seen.taken(files.opened(adopted), adopted.file).size


def proven(adopted: config.Adopted) -> bool:
    """Whether the model itself shows what pixels it takes.

    Raises:
        UserError: As `load` for a file that cannot be read.
    """
    return bool(seen.own_preprocessing(files.opened(adopted))[0])


def _found(adopted: config.Adopted, image_size: int | None, again: str, notes: list[str]) -> _Found:
    model = files.opened(adopted, again)
    taken = seen.taken(model, adopted.file)
    size = _size(adopted, taken, image_size)
    if isinstance(model, keras.Sequential) and not flat.is_graph(model):
        model.build((None, size, size, taken.channels))
    trust.require_finite_weights(model, adopted.file)
    preprocess = _preprocess(adopted, model, notes)
    front = preprocessing.layer(preprocess, bgr=adopted.bgr, channels=taken.channels)
    fed = front(_noise(size))
    answers = _answer(model, adopted)(fed)
    if answers.ndim != 2:
        raise UserError(
            f"{adopted.file}: gives {answers.shape}; expected one row of numbers an image"
        )
    model = _of_one_output(model, adopted)
    end = ends.of(model) if flat.is_graph(model) else End()
    kind = ends.decided(end, adopted.ends, answers, adopted.file)
    return _Found(model, taken, preprocess, front, fed, answers, end, kind)


def _made(
    found: _Found,
    adopted: config.Adopted,
    order: Sequence[int],
    notes: list[str],
    image_size: int | None,
) -> tuple[keras.Model, str, bool]:
    """The model, the name of its last feature map, and whether its logits are what it had."""
    if not flat.is_graph(found.model):
        if trust.is_half(found.model):
            notes.append("it computes in half precision")
        stripped = found.kind == "logits"
        return _kept(found, adopted, order, image_size), "", stripped
    last, alone = found.end.layer, found.end.alone
    strips = last is not None and found.kind == found.end.function
    if last is not None and strips and not alone:
        last.activation = keras.activations.linear
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
    half = trust.half_layers(found.model)
    if half:
        policy = half[0].dtype_policy.name
        notes.append(f"it was trained in {policy}: its layers are made anew in float32")
    place, name = seen.last_map(found.model)
    images = _input(found, image_size)
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
    undo = "" if stripped else found.kind
    return _ended(images, outputs, undo, order), name, stripped


def _kept(
    found: _Found, adopted: config.Adopted, order: Sequence[int], image_size: int | None
) -> keras.Model:
    """The whole model as one layer."""
    images = _input(found, image_size)
    outputs = found.model(found.front(images), training=False)
    names = getattr(found.model, "output_names", None) or []
    output = seen.chosen(outputs, names, adopted.output, adopted.file)
    return _ended(images, output, "" if found.kind == "logits" else found.kind, order)


def _input(found: _Found, image_size: int | None) -> tf.Tensor:
    size = found.taken.size or image_size
    return keras.Input((size, size, 3), name="image")


def _ended(images: tf.Tensor, outputs: tf.Tensor, undo: str, order: Sequence[int]) -> keras.Model:
    asked = None if list(order) == list(range(len(order))) else order
    return keras.Model(images, Ending(undo, asked, name="logits")(outputs), name="adopted")


def _tapped(output: tf.Tensor) -> tf.Tensor:
    # A layer of its own, as in the project's networks, so that Grad-CAM has one target name.
    return keras.layers.Activation("linear", dtype=output.dtype, name="features")(output)


def _in_float32(
    layer: keras.layers.Layer, copies: list[tuple[keras.layers.Layer, keras.layers.Layer]]
) -> keras.layers.Layer:
    settings = json.loads(json.dumps(layer.get_config()), object_hook=_whole_precision)
    copy = type(layer).from_config(settings)
    copies.append((copy, layer))
    return copy


def _whole_precision(part: dict[str, Any]) -> dict[str, Any]:
    """Part of a layer's settings with float32 for its policy."""
    half = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
    policy = part.get("dtype")
    name = policy.get("config", {}).get("name") if isinstance(policy, dict) else policy
    return {**part, "dtype": "float32"} if name in half else part


def _faithful(model: keras.Model, found: _Found, order: Sequence[int]) -> bool:
    """Whether the model answers as the file's does."""
    logits = model(_noise(found.fed.shape[1]), training=False).numpy()
    if len(order) == logits.shape[1]:
        logits = logits[:, np.argsort(order)]
    mine = ends.probabilities(found.kind, found.answers.shape[1], logits)
    near = trust.HALF if trust.is_half(found.model) else trust.SAME
    far = np.abs(mine - found.answers).max() / max(1.0, float(np.abs(found.answers).max()))
    return bool(far < near)


def _answer(model: keras.Model, adopted: config.Adopted) -> Callable[[tf.Tensor], np.ndarray]:
    """Fed images to the chosen output, float32."""
    names = getattr(model, "output_names", None) or []

    def answer(fed: tf.Tensor) -> np.ndarray:
        outputs = seen.chosen(model(fed, training=False), names, adopted.output, adopted.file)
        return np.asarray(tf.cast(outputs, tf.float32))

    return answer


def _of_one_output(model: keras.Model, adopted: config.Adopted) -> keras.Model:
    """A graph model with what leads to the chosen output alone; others as they are."""
    if not flat.is_graph(model) or len(model.outputs) == 1:
        return model
    output = seen.chosen(model.output, model.output_names, adopted.output, adopted.file)
    return keras.Model(model.inputs, output)


def _noise(size: int | None) -> np.ndarray:
    """Images that show what a model gives, whatever it was trained on."""
    side = size or SIDE
    rng = keyed.generator("adopted", side)
    return rng.random((ASKED, side, side, 3), dtype=np.float32)


def _size(adopted: config.Adopted, taken: seen.Input, asked: int | None) -> int:
    if taken.size and asked and taken.size != asked:
        raise UserError(
            f"{adopted.file}: takes images of {taken.size} pixels, but data.image_size = {asked}; "
            f"expected data.image_size = {taken.size}"
        )
    return taken.size or asked or SIDE


def _preprocess(adopted: config.Adopted, model: keras.Model, notes: list[str]) -> str:
    """As given, or as the model proves.

    Raises:
        UserError: Neither.
    """
    row, why = seen.own_preprocessing(model)
    if adopted.preprocess:
        given = preprocessing.row_of(adopted.preprocess)
        if row and given != PREPROCESSING[row] and given.scale != PREPROCESSING[row].scale:
            notes.append(
                f"warning: {why}, so it takes what '{row}' gives, not '{adopted.preprocess}'"
            )
        return adopted.preprocess
    if row:
        notes.append(f"{why}: fed as '{row}'")
        return row
    raise UserError(
        f"{adopted.file}: nothing in it shows what pixels it was trained on; say it: --preprocess "
        f"{'|'.join(PREPROCESSING)} or mean/deviation; --diagnose tries them all on 64 images"
    )
