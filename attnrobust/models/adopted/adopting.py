"""A model trained elsewhere -> one of the project's: [0, 1] pixels to logits of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.models.adopted import files, flat, preprocessing
from attnrobust.models.adopted.preprocessing import PREPROCESSING


@dataclass(frozen=True)
class Told:
    """What was found out on the way.

    Attributes:
        ends: `logits`, `softmax` or `sigmoid`: what the file's model gives.
        stripped: Logits were found before the last function; otherwise it is undone by a log.
        preprocess: What the model is fed.
        image_size: Of the file; None where any will do.
        gradients: TensorFlow gives derivatives; without, only black-box attacks work.
        features: The layer of the file whose map is called `features`; empty: there is none.
        notes: Lines for people.
    """

    ends: str = "logits"
    stripped: bool = False
    preprocess: str = ""
    image_size: int | None = None
    gradients: bool = True
    features: str = ""
    notes: tuple[str, ...] = ()


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
        image_size: Height and width of the images, where the file takes any.
        again: What to do where the file cannot be read, for the message.

    Returns:
        float32 RGB images in [0, 1], (B, H, W, 3), to float32 logits (B, K). It has a layer
        `preprocessing` and, where there is a feature map, one called `features`.

    Raises:
        UserError: The file cannot be read or used as asked; it says what to change.
    """
    theirs = files.opened(adopted)
    height, width, channels = theirs.input_shape[1:]
    images = keras.Input((height or image_size, width or image_size, 3), name="image")
    front = preprocessing.layer(_preprocess(adopted), bgr=adopted.bgr, channels=channels)
    last = -1
    names = []
    if flat.is_graph(theirs):
        for place, (layer, node) in enumerate(flat.calls(theirs)):
            shape = node.output_shapes
            if isinstance(shape, tuple) and len(shape) == 4:
                last = place
            names.append(layer.name)

    def tap(place: int, output: tf.Tensor) -> tf.Tensor:
        if place != last:
            return output
        return keras.layers.Activation("linear", dtype=output.dtype, name="features")(output)

    if flat.is_graph(theirs):
        logits = flat.called(theirs, front(images), after=tap)
    else:
        logits = theirs(front(images), training=False)
    if logits.shape[-1] != len(classes):
        raise UserError(
            f"{adopted.file}: {logits.shape[-1]} outputs, but the data has {len(classes)} classes: "
            f"{', '.join(classes)}"
        )
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(logits)
    model = keras.Model(images, logits, name="adopted")
    model.told = Told(
        preprocess=adopted.preprocess,
        image_size=height,
        features=names[last] if last >= 0 else "",
    )
    return model


def told(model: keras.Model) -> Told:
    """What `load` found out about the model."""
    found: Told = model.told
    return found


def _preprocess(adopted: config.Adopted) -> str:
    if not adopted.preprocess:
        raise UserError(
            f"{adopted.file}: adopted.preprocess is not given; expected what the model was trained "
            f"on: {', '.join(PREPROCESSING)}, or mean/deviation"
        )
    return adopted.preprocess
