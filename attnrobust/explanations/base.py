"""What all methods share: their signature, what a row says, batches of one size, compiled steps."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas

# Rows of every compiled call, whatever the number of images and of samples an image.
BATCH = 16


class NotFinite(UserError):
    """A map that holds what is no number."""


class Batch(NamedTuple):
    """What is explained.

    Attributes:
        images: (N, H, W, 3) in [0, 1].
        targets: (N,) the class of each. Of a model that gives every pixel a class it is explained
            by the sum of its logits over all pixels.
        ids: (N,) of the images; with the seed they key all that is drawn.
        seed: Of the run.
    """

    images: np.ndarray
    targets: np.ndarray
    ids: np.ndarray
    seed: int


class Maps(NamedTuple):
    """What a method gives.

    Attributes:
        attributions: float32, (N, H, W, 3) for each value of the image, or (N, H, W, 1) for each
            place. 0 or larger unless the row is signed.
        difference: (N,) what the attributions of each image add up to in theory; None where theory
            says nothing.
        gradients: (N,) how many were taken of each image, where that was not settled before.
    """

    attributions: np.ndarray
    difference: np.ndarray | None = None
    gradients: np.ndarray | None = None


Method = Callable[[keras.Model, Batch, config.Explanation], Maps]


@dataclass(frozen=True)
class Row:
    """A method of explanation.

    Attributes:
        explain: Images and their targets to attributions.
        signed: Its attributions tell for from against.
        needs_layer: It looks at the feature map of `explanation.layer`.
        needs_attention: It asks for a head with soft attention.
        random: It may draw; what it draws depends on the seed and the image's id alone.
        unfit: Why it does not explain models that give every pixel a class; empty: it does.
    """

    explain: Method
    signed: bool = False
    needs_layer: bool = False
    needs_attention: bool = False
    random: bool = False
    unfit: str = ""


def in_batches(
    step: Callable[..., Any], rows: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[Any, Any]]:
    """`step` over any number of rows, BATCH at a time and never fewer: the last are padded.

    Rows are asked for as they are needed, and results handed on, so that memory does not grow with
    their number.

    Args:
        step: Compiled, from tensors of BATCH rows to one of BATCH rows, or to several.
        rows: Each an owner, then a row of every tensor.

    Yields:
        An owner and its row of the result, or of each result, in order.
    """
    rows = iter(rows)
    while some := list(itertools.islice(rows, BATCH)):
        owners, *columns = zip(*some, strict=True)
        results = step(*(Replicas.padded(np.stack(column), BATCH) for column in columns))
        several = isinstance(results, tuple)
        found = (
            zip(*(each.numpy() for each in results), strict=True) if several else results.numpy()
        )
        yield from zip(owners, found, strict=False)


def compiled(step: Callable[..., tf.Tensor], *shapes: tuple[int | None, ...]) -> Any:
    """`step` as a graph, for images and targets and rows of further shapes, BATCH of each.

    Args:
        step: Of images (BATCH, H, W, 3), targets (BATCH,) and float32 tensors of these shapes.
        shapes: Without the first axis; the first is that of the images.
    """
    first, *others = shapes
    floats = [tf.TensorSpec([BATCH, *shape], tf.float32) for shape in others]
    signature = [tf.TensorSpec([BATCH, *first], tf.float32), tf.TensorSpec([BATCH], tf.int32)]
    return tf.function(step, input_signature=[*signature, *floats], autograph=False)


@functools.lru_cache(maxsize=2)
def scores(model: keras.Model, *, probability: bool = False) -> Any:
    """Compiled (images, targets) -> (BATCH,): the target's logit, or its probability.

    Of class maps their sum over all pixels.
    """

    def step(images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        logits = model(tf.cast(images, model.input.dtype), training=False)
        return of_target(tf.nn.softmax(logits) if probability else logits, targets)

    return compiled(step, model.input_shape[1:])


def of_target(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Each image's value at its target, (N,); of class maps (N, H, W, K) their sum over pixels."""
    chosen = tf.gather(logits, targets, axis=-1, batch_dims=1)
    return tf.reduce_sum(chosen, axis=(1, 2)) if len(logits.shape) == 4 else chosen


def scored(step: Any, rows: Iterable[tuple[Any, ...]]) -> np.ndarray:
    """The results of a step that gives a number for each row, float64 (number of rows,)."""
    return np.array([value for _, value in in_batches(step, rows)], dtype=np.float64)


def enlarged(maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Maps (N, h, w) of a layer at the size of the images, (N, H, W, 1).

    Resized as by tf-keras-vis: linearly, from the layer's size to the image's, corner to corner.
    """
    from scipy.ndimage import zoom
    from tf_keras_vis.utils import zoom_factor

    heatmaps = zoom(maps, zoom_factor(maps.shape, images.shape), order=1)
    return np.asarray(heatmaps, dtype=np.float32)[..., np.newaxis]
