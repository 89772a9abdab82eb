"""Methods that differentiate the target's logit for the pixels."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.explanations import base
from attnrobust.explanations.base import Batch, Maps
from attnrobust.explanations.baselines import BASELINES
from attnrobust.keyed import generator

# An image's place, a point (H, W, 3) at which to differentiate, the target.
Points = Iterator[tuple[int, np.ndarray, np.integer]]


def gradient(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """The gradient of the target's logit (Simonyan et al. 2014)."""
    del setting
    points = zip(range(len(batch.images)), batch.images, batch.targets, strict=True)
    return Maps(_mean_gradients(model, points, batch.images.shape))


def gradient_x_input(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """The gradient times the image (Shrikumar et al. 2016)."""
    return Maps(gradient(model, batch, setting).attributions * batch.images)


def smooth_grad(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """The mean gradient over noisy copies of the image (Smilkov et al. 2017).

    The noise is normal, its standard deviation a share of the image's range; nothing is clipped.
    """

    def points() -> Points:
        for place, image in enumerate(batch.images):
            sigma = np.float32(setting.smooth_noise * float(np.ptp(image)))
            for sample in range(setting.smooth_samples):
                rng = generator("smooth_grad", batch.seed, batch.ids[place], 0.0, sample)
                noise = rng.standard_normal(image.shape, dtype=np.float32)
                yield place, image + sigma * noise, batch.targets[place]

    return Maps(_mean_gradients(model, points(), batch.images.shape))


def integrated_gradients(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """Integrated gradients (Sundararajan et al. 2017) by the midpoint rule.

    Each path leads straight from a baseline to the image. Over several random baselines the
    attributions are averaged, and so is the difference of logits that they add up to.
    """
    row, count = BASELINES[setting.baseline], len(batch.images)
    draws, steps = setting.baseline_draws if row.random else 1, setting.integration_steps
    shares = (np.arange(steps, dtype=np.float32) + 0.5) / np.float32(steps)
    score = base.scores(model)
    attributions, before = np.zeros(batch.images.shape), np.zeros(count)
    # One draw after the other: what is kept does not grow with their number.
    for draw in range(draws):
        starts = np.stack(
            [
                row.of(generator(setting.baseline, batch.seed, id_, 0.0, draw), image)
                for id_, image in zip(batch.ids, batch.images, strict=True)
            ]
        )
        ways = batch.images - starts
        points = (
            (place, starts[place] + share * ways[place], batch.targets[place])
            for place in range(count)
            for share in shares
        )
        attributions += _mean_gradients(model, points, ways.shape) * ways
        before += base.scored(score, zip(range(count), starts, batch.targets, strict=True))
    after = base.scored(score, zip(range(count), batch.images, batch.targets, strict=True))
    return Maps((attributions / draws).astype(np.float32), after - before / draws)


def _mean_gradients(model: keras.Model, points: Points, shape: tuple[int, ...]) -> np.ndarray:
    """The mean over each image's points, float32 (N, H, W, 3), summed in their order."""
    sums, numbers = np.zeros(shape), np.zeros((shape[0], 1, 1, 1))
    for place, slope in base.in_batches(_slopes(model), points):
        sums[place] += slope
        numbers[place] += 1
    return (sums / numbers).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _slopes(model: keras.Model) -> Any:
    """Compiled (images, targets) -> gradients of the target's logit, (BATCH, H, W, 3)."""

    def step(images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        images = tf.cast(images, model.input.dtype)
        score = base.of_target(model(images, training=False), targets)
        (slopes,) = tf.gradients(score, images, unconnected_gradients="zero")
        return slopes

    return base.compiled(step, model.input_shape[1:])
