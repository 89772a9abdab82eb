"""Methods that differentiate the target's logit for the pixels."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.explanations import base, precision
from attnrobust.explanations.base import Batch, Maps
from attnrobust.explanations.baselines import BASELINES
from attnrobust.keyed import generator

# A part of a path may miss so much less than the whole: misses of either sign mostly cancel, and a
# path of hundreds of parts comes to about the square root of their number.
PART = 16
# How often parts are halved at most, which ends it for images whose difference is next to nothing.
HALVINGS = 6
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
    attributions are averaged, and so is the difference of logits that they add up to. Where
    `completeness` is asked for, parts of a path that miss too much of it are halved.
    """
    row, count = BASELINES[setting.baseline], len(batch.images)
    draws = setting.baseline_draws if row.random else 1
    after = _scores(model, batch.images, batch.targets)
    attributions, before = np.zeros(batch.images.shape), np.zeros(count)
    taken = np.zeros(count, int)
    # One draw after the other: what is kept does not grow with their number.
    for draw in range(draws):
        starts = np.stack(
            [
                row.of(generator(setting.baseline, batch.seed, id_, 0.0, draw), image)
                for id_, image in zip(batch.ids, batch.images, strict=True)
            ]
        )
        first = _scores(model, starts, batch.targets)
        allowed = None
        if setting.completeness is not None:
            allowed = setting.completeness / PART * np.abs(after - first)
        slopes, steps = _along_paths(model, batch, starts, setting, allowed)
        attributions += slopes * (batch.images - starts)
        before += first
        taken += steps
    found = (attributions / draws).astype(np.float32)
    return Maps(found, after - before / draws, taken if setting.completeness else None)


def _along_paths(
    model: keras.Model,
    batch: Batch,
    starts: np.ndarray,
    setting: config.Explanation,
    allowed: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The mean gradient along each path, by the midpoint rule over its parts.

    A part is halved where the gradient in its middle, times its way, misses the difference of
    logits between its ends by more than is allowed. The two logits are known: of every part that
    is halved its middle becomes an end.

    Args:
        model: Images to logits.
        batch: Where paths end.
        starts: Where they begin (N, H, W, 3).
        setting: In how many equal parts each path is at first, and the precision of gradients.
        allowed: What a part of each path may miss (N,); None: anything.

    Returns:
        float32 (N, H, W, 3), and how many gradients each path took (N,).
    """
    ways, count, steps = batch.images - starts, len(starts), setting.integration_steps
    sums, taken = np.zeros(starts.shape), np.zeros(count, int)
    ends = np.zeros((count, steps + 1))
    if allowed is not None:
        shares = np.arange(steps + 1, dtype=np.float32) / np.float32(steps)
        rows = (starts[place] + share * ways[place] for place in range(count) for share in shares)
        ends = _scores(model, rows, np.repeat(batch.targets, steps + 1)).reshape(ends.shape)
    # Image, number of the part, logits at its ends.
    parts = [
        (place, number, ends[place, number], ends[place, number + 1])
        for place in range(count)
        for number in range(steps)
    ]
    for level in range(HALVINGS + 1):
        number_of = steps * 2**level

        def middle(place: int, number: int, parts_: int = number_of) -> np.ndarray:
            share = (np.float32(number) + np.float32(0.5)) / np.float32(parts_)
            return starts[place] + share * ways[place]

        points = ((part, middle(*part[:2]), batch.targets[part[0]]) for part in parts)
        halved, logits = [], []
        for (place, number, low, high), (slope, score) in base.in_batches(_slopes(model), points):
            taken[place] += 1
            if allowed is not None and level < HALVINGS:
                change = np.sum(slope * ways[place], dtype=np.float64) / number_of
                if abs(high - low - change) > allowed[place]:
                    halved.append((place, number, low, high))
                    logits.append(float(score))
                    continue
            sums[place] += slope / np.float32(2**level)
        if setting.precision != "float32":
            # A logit of few digits would look like a gradient that misses much.
            rows = (middle(place, number) for place, number, *_ in halved)
            logits = _scores(model, rows, batch.targets[[place for place, *_ in halved]]).tolist()
        parts = [
            half
            for (place, number, low, high), score in zip(halved, logits, strict=True)
            for half in ((place, 2 * number, low, score), (place, 2 * number + 1, score, high))
        ]
    return (sums / steps).astype(np.float32), taken


def _scores(model: keras.Model, images: Iterable[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """The logit of each image's target, float64 (N,), by the model as it is: always in float32."""
    with precision.computing("float32"):
        return base.scored(base.scores(model), zip(targets, images, targets, strict=True))


def _mean_gradients(model: keras.Model, points: Points, shape: tuple[int, ...]) -> np.ndarray:
    """The mean over each image's points, float32 (N, H, W, 3), summed in their order."""
    sums, numbers = np.zeros(shape), np.zeros((shape[0], 1, 1, 1))
    for place, (slope, _) in base.in_batches(_slopes(model), points):
        sums[place] += slope
        numbers[place] += 1
    return (sums / numbers).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _slopes(model: keras.Model) -> Any:
    """Compiled (images, targets) -> gradients of the target's logit (BATCH, H, W, 3), the logit."""

    def step(images: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.cast(images, model.input.dtype)
        score = base.of_target(model(images, training=False), targets)
        (slopes,) = tf.gradients(score, images, unconnected_gradients="zero")
        return slopes, score

    return base.compiled(step, model.input_shape[1:])
