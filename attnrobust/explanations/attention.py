"""What the model itself attends to, whatever class is asked for."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.explanations import base
from attnrobust.explanations.base import Batch, Maps
from attnrobust.models import build


def attention(model: keras.Model, batch: Batch, setting: config.Explanation) -> Maps:
    """The soft-attention map of the head (Datta et al. 2021), the sum of its K maps."""
    del setting
    rows = zip(range(len(batch.images)), batch.images, batch.targets, strict=True)
    maps = np.stack([found for _, found in base.in_batches(_attended(model), rows)])
    return Maps(base.enlarged(maps, batch.images))


@functools.lru_cache(maxsize=1)
def _attended(model: keras.Model) -> Any:
    """Compiled (images, targets) -> attention maps, (BATCH, h, w)."""
    tap = build.attention_model(model)
    assert tap is not None, "asked for beforehand (ready.require)"

    def step(images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        del targets
        return tap(tf.cast(images, model.input.dtype), training=False)["attention_map"]

    return base.compiled(step, model.input_shape[1:])
