"""A file's model, and what it shows and answers, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, keyed
from attnrobust.errors import UserError
from attnrobust.models.adopted import ends, files, flat, preprocessing, seen, trust
from attnrobust.models.adopted.preprocessing import PREPROCESSING

# Images of noise that a model is asked about, and their size where it takes any.
ASKED, SIDE = 4, 64


class Found(NamedTuple):
    """A file's model and what was found out about it.

    Attributes:
        model: With one output, where its layers and their calls are known; else as it is.
        taken: Size and channels of its images.
        preprocess: Row of PREPROCESSING or numbers.
        front: The layer that feeds it.
        fed: The images of `noise`, as it is fed.
        answers: To these, (N, units) float32.
        end: Its last function, as its layers show.
        kind: What it gives: `logits`, `softmax` or `sigmoid`.
        unsteady: What is wrong with its answers when it is asked again; empty: nothing.
        notes: Lines for people.
    """

    model: keras.Model
    taken: seen.Input
    preprocess: str
    front: preprocessing.Feeding
    fed: tf.Tensor
    answers: np.ndarray
    end: ends.End
    kind: str
    unsteady: str
    notes: tuple[str, ...]


def found(adopted: config.Adopted, *, image_size: int | None, again: str) -> Found:
    """The model in the file, asked about a few images of noise.

    Raises:
        UserError: It cannot be read, does not take images, holds weights or gives answers that are
            not finite, or it does not show what it takes or gives.
    """
    model = files.opened(adopted, again)
    taken = seen.taken(model, adopted.file)
    size = _size(adopted, taken, image_size)
    if isinstance(model, keras.Sequential) and not flat.is_graph(model):
        model.build((None, size, size, taken.channels))
    trust.require_finite_weights(model, adopted.file)
    preprocess, notes = _preprocess(adopted, model)
    front = preprocessing.layer(preprocess, bgr=adopted.bgr, channels=taken.channels)
    fed = front(noise(size))
    answer = _answer(model, adopted)
    answers = answer(fed)
    if answers.ndim != 2:
        raise UserError(
            f"{adopted.file}: gives {answers.shape[1:]} for an image; expected one row of numbers"
        )
    model = _of_one_output(model, adopted)
    unsteady = trust.unsteady(answer, fed, model, adopted.file)
    end = ends.of(model) if flat.is_graph(model) else ends.End()
    kind = ends.decided(end, adopted.ends, answers, adopted.file)
    return Found(model, taken, preprocess, front, fed, answers, end, kind, unsteady, tuple(notes))


def noise(size: int | None) -> np.ndarray:
    """Images that show what a model gives, whatever it was trained on."""
    side = size or SIDE
    rng = keyed.generator("adopted", side)
    return rng.random((ASKED, side, side, 3), dtype=np.float32)


def output_names(model: keras.Model) -> list[str]:
    """Of a model's outputs, where it names them."""
    return list(getattr(model, "output_names", None) or [])


def _answer(model: keras.Model, adopted: config.Adopted) -> Callable[[tf.Tensor], np.ndarray]:
    """Fed images to the chosen output, float32."""
    names = output_names(model)

    def answer(fed: tf.Tensor) -> np.ndarray:
        outputs = trust.in_replica(lambda images: model(images, training=False), fed)
        chosen = seen.chosen(outputs, names, adopted.output, adopted.file)
        return np.asarray(tf.cast(chosen, tf.float32))

    return answer


def _of_one_output(model: keras.Model, adopted: config.Adopted) -> keras.Model:
    """A graph model with what leads to the chosen output alone; others as they are."""
    if not flat.is_graph(model) or not isinstance(model.output, list | tuple | dict):
        return model
    output = seen.chosen(model.output, model.output_names, adopted.output, adopted.file)
    return keras.Model(model.inputs, output)


def _size(adopted: config.Adopted, taken: seen.Input, asked: int | None) -> int:
    if taken.size and asked and taken.size != asked:
        raise UserError(
            f"{adopted.file}: takes images of {taken.size} pixels, but data.image_size = {asked}; "
            f"expected --set data.image_size={taken.size}"
        )
    return taken.size or asked or SIDE


def _preprocess(adopted: config.Adopted, model: keras.Model) -> tuple[str, list[str]]:
    """As given, or as the model proves, and what is to be said of it.

    Raises:
        UserError: Neither.
    """
    row, why = seen.own_preprocessing(model)
    if adopted.preprocess:
        given = preprocessing.row_of(adopted.preprocess)
        # The same numbers under another name are no contradiction.
        known = PREPROCESSING[row] if row else given
        if (given.scale, given.offset) == (known.scale, known.offset):
            return adopted.preprocess, []
        said = f"so it takes what '{row}' gives, not '{adopted.preprocess}'"
        return adopted.preprocess, [f"warning: {why}, {said}"]
    if row:
        return row, [f"{why}: fed as '{row}'"]
    raise UserError(
        f"{adopted.file}: nothing in it shows what pixels it was trained on; expected --preprocess "
        f"{'|'.join(PREPROCESSING)} or mean/deviation (attnrobust test on images with labels tries "
        "them all on 64 of them)"
    )
