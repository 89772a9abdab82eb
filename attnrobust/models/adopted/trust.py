"""Whether a model's answers can be attacked at all: finite, the same when asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError
from attnrobust.models.adopted import flat

# Of the largest answer: what kernels may differ by from one batch to another, and half precision.
SAME = 1e-3
HALF = 2e-2


def require_finite_weights(model: keras.Model, file: str) -> None:
    """Raise a UserError that names the layer with a weight that is no number."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.Model):
            continue
        for weight in layer.weights:
            values = weight.numpy()
            wrong = int(np.size(values) - np.isfinite(values.astype(np.float64)).sum())
            if wrong:
                raise UserError(
                    f"{file}: layer '{layer.name}' holds {wrong} of {values.size} weights that are "
                    f"not finite ({weight.name}); expected those of a training that did not break "
                    "down"
                )


def in_replica(function: Callable[[tf.Tensor], Any], images: tf.Tensor) -> Any:
    """What a function gives where attacks call it: inside a replica of the strategy in scope.

    The functions of a SavedModel that was loaded in a strategy's scope run nowhere else.
    """
    strategy = tf.distribute.get_strategy()
    results = strategy.run(function, args=(images,))
    return tf.nest.map_structure(lambda each: strategy.experimental_local_results(each)[0], results)


def unsteady(
    answer: Callable[[tf.Tensor], np.ndarray], fed: tf.Tensor, model: keras.Model, file: str
) -> str:
    """What is wrong with the model's answers to the same images; empty where they are the same.

    Args:
        answer: Of images as the model is fed, (N, units).
        fed: At least two images.
        model: To name the layers that are at work in it.
        file: For messages.

    Raises:
        UserError: Answers that are not finite.
    """
    first = answer(fed)
    if not np.isfinite(first).all():
        raise UserError(f"{file}: gives outputs that are not finite for images of noise")
    far = SAME * max(1.0, float(np.abs(first).max()))
    if np.abs(answer(fed) - first).max() > far:
        return f"answers differently when it is asked again{_named(model)}"
    if np.abs(answer(fed[:1]) - first[:1]).max() > far * (HALF / SAME if half_layers(model) else 1):
        return (
            "answers differently for an image alone and among others (a layer takes the batch's "
            f"own statistics){_named(model)}"
        )
    return ""


def gives_gradients(model: keras.Model, images: tf.Tensor) -> bool:
    """Whether TensorFlow derives the logits by the images, and not to 0 throughout."""

    def slopes(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = model(images, training=False)
            score = tf.reduce_sum(logits[:, 0] - logits[:, -1])
        return tape.gradient(score, images, unconnected_gradients="zero")

    try:
        found = in_replica(slopes, tf.convert_to_tensor(images))
    except (LookupError, TypeError, ValueError, tf.errors.OpError):
        # An operation without a derivative.
        return False
    return bool(tf.reduce_any(found != 0))


def half_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers that compute in half precision, also inside nested models."""
    layers = model._flatten_layers(include_self=False)
    return [layer for layer in layers if str(layer.compute_dtype) in ("float16", "bfloat16")]


def _named(model: keras.Model) -> str:
    """The layers that were called as in training."""
    if not flat.is_graph(model):
        return ""
    names = [
        layer.name for layer, node in flat.calls(model) if node.call_kwargs.get("training") is True
    ]
    return f": layer {', '.join(names[:5])} works as in training" if names else ""
