"""Class activation maps: the feature maps of one layer, weighed for the target's logit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.explanations import base
from attnrobust.explanations.base import Batch, Maps

# (slopes, features), each (N, h, w, C) float32, to maps (N, h, w), whose negative part goes.
Weighing = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def grad_cam(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2).

    A model that does not depend on the layer gives zeros.
    """
    return _by_slopes(model, batch, setting.layer, _by_mean_slope)


def grad_cam_pp(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """Grad-CAM++ (Chattopadhay et al. 2018, equations 10 and 19) of the exponential of the logit.

    As in the authors' code, a map's weights for its positions are divided by their sum. The
    exponential itself multiplies all of an image by one number and is left out: it overflows.
    """
    return _by_slopes(model, batch, setting.layer, _by_positive_slopes)


def layer_cam(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """LayerCAM (Jiang et al. 2021): every activation times the positive part of its gradient."""
    return _by_slopes(model, batch, setting.layer, _by_own_slope)


def _by_mean_slope(slopes: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    weights = tf.reduce_mean(slopes, axis=(1, 2), keepdims=True)
    return tf.reduce_sum(weights * features, axis=-1)


def _by_positive_slopes(slopes: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    # The paper's s^2 / (2 s^2 + s^3 sum(A)), without powers that leave float32.
    total = tf.reduce_sum(features, axis=(1, 2), keepdims=True)
    shares = tf.math.divide_no_nan(tf.cast(slopes != 0, tf.float32), 2 + slopes * total)
    shares = tf.math.divide_no_nan(shares, tf.reduce_sum(shares, axis=(1, 2), keepdims=True))
    weights = tf.reduce_sum(shares * tf.nn.relu(slopes), axis=(1, 2), keepdims=True)
    return tf.reduce_sum(weights * features, axis=-1)


def _by_own_slope(slopes: tf.Tensor, features: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.nn.relu(slopes) * features, axis=-1)


def _by_slopes(model: keras.Model, batch: Batch, layer: str, weighing: Weighing) -> Maps:
    maps = _class_maps(model, layer, weighing)(
        tf.convert_to_tensor(batch.images, model.input.dtype),
        tf.convert_to_tensor(batch.targets, tf.int32),
    ).numpy()
    return Maps(base.enlarged(maps, batch.images))


@functools.lru_cache(maxsize=1)
def _class_maps(model: keras.Model, layer: str, weighing: Weighing) -> Callable[..., tf.Tensor]:
    """Images and targets to maps of the layer's size; the last one asked for is kept compiled.

    In a graph only what leads to the maps is computed: the derivative of what comes after the
    layer, for its activations alone. The eager tape of tf-keras-vis also computes those for all
    weights there, which costs three times as much and, on a narrow network with an odd batch,
    meets the fault of TensorFlow's oneDNN that `models.backbones.resnet` names.
    """
    tap = keras.Model(model.input, [model.get_layer(layer).output, model.output])
    size = [None, *model.input_shape[1:]]
    signature = [tf.TensorSpec(size, model.input.dtype), tf.TensorSpec([None], tf.int32)]

    @tf.function(input_signature=signature)
    def maps(images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        features, logits = tap(images, training=False)
        score = base.of_target(logits, targets)
        (slopes,) = tf.gradients(score, features, unconnected_gradients="zero")
        # Under mixed precision, the sums are float32.
        return tf.nn.relu(weighing(tf.cast(slopes, tf.float32), tf.cast(features, tf.float32)))

    return maps


def score_cam(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """Score-CAM (Wang et al. 2020, algorithm 1): a map weighs what the image shows through it.

    The image is multiplied by each map, enlarged and brought to [0, 1]; the weights are a softmax
    of the target's logits over the maps. A map counts from its own minimum, as it does where it
    multiplies: positive weights on a layer before its ReLU, where all may be negative, would leave
    nothing (as in tf-keras-vis, issue 75). A map that is the same everywhere shows nothing and is
    left out. Where none changes the black image's logit, the heatmap is zero.
    """
    features = np.stack(
        [found for _, found in base.in_batches(_features(model, setting.layer), _of_all(batch))]
    )
    features = features - features.min(axis=(1, 2), keepdims=True)
    chosen = [_most_varying(each, setting.score_maps) for each in features]

    def shown() -> Iterator[tuple[Any, ...]]:
        for place, (image, target, each) in enumerate(
            zip(batch.images, batch.targets, features, strict=True)
        ):
            for channel in chosen[place]:
                yield place, image, target, each[..., channel]

    black = ((place, np.zeros_like(image), target) for place, image, target in _of_all(batch))
    before = base.scored(base.scores(model), black)
    found: list[list[float]] = [[] for _ in before]
    step = _shown_through(model, features.shape[1:3])
    for place, score in base.in_batches(step, shown()):
        found[place].append(float(score))
    maps = np.zeros(features.shape[:3], np.float32)
    for place, logits in enumerate(map(np.array, found)):
        if (logits != before[place]).any():
            weights = np.exp(logits - logits.max())
            maps[place] = features[place][..., chosen[place]] @ (weights / weights.sum())
    return Maps(base.enlarged(maps, batch.images))


def _of_all(batch: Batch) -> Iterator[tuple[int, np.ndarray, np.integer]]:
    yield from zip(range(len(batch.images)), batch.images, batch.targets, strict=True)


def _most_varying(features: np.ndarray, most: int | None) -> np.ndarray:
    """Channels of maps (h, w, C) that vary, at most so many: those that vary most."""
    spread = features.std(axis=(0, 1))
    order = np.argsort(-spread, kind="stable")[:most]
    return np.sort(order[spread[order] > 0])


@functools.lru_cache(maxsize=1)
def _features(model: keras.Model, layer: str) -> Any:
    """Compiled (images, targets) -> the layer's output, float32 (BATCH, h, w, C)."""
    tap = keras.Model(model.input, model.get_layer(layer).output)

    def step(images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        del targets
        return tf.cast(tap(tf.cast(images, model.input.dtype), training=False), tf.float32)

    return base.compiled(step, model.input_shape[1:])


@functools.lru_cache(maxsize=1)
def _shown_through(model: keras.Model, size: tuple[int, int]) -> Any:
    """Compiled (images, targets, maps from 0 (BATCH, h, w)) -> logits of the masked images."""

    def step(images: tf.Tensor, targets: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        masks = tf.compat.v1.image.resize_bilinear(
            maps[..., tf.newaxis], images.shape[1:3], align_corners=True
        )
        least, most = (
            ends(masks, axis=(1, 2), keepdims=True) for ends in (tf.reduce_min, tf.reduce_max)
        )
        masked = images * tf.math.divide_no_nan(masks - least, most - least)
        return base.of_target(model(tf.cast(masked, model.input.dtype), training=False), targets)

    return base.compiled(step, model.input_shape[1:], size)
