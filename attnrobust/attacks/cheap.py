"""FIRST_PASSES: cheaper attacks that a full one may send ahead; only survivors meet the full one.

Whatever they reach counts only if the float32 model confirms it, so they can make robust accuracy
lower, never higher.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorflow import keras

from attnrobust.attacks.border import SLACK
from attnrobust.attacks.pool import Pool, Pooled
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas

# (the full attack, its model, a model to a pool of its kind) to the cheaper attack.
FirstPass = Callable[[Pooled, Replicas, Callable[[Replicas], Pool]], Pooled]


def one_step(full: Pooled, replicas: Replicas, pool: Callable[[Replicas], Pool]) -> Pooled:
    """One step from the image to the edge of the ball (Goodfellow et al. 2015), same loss."""
    del replicas, pool
    return Pooled(full.pool, name="one step", steps=1, stepsize=lambda epsilon: epsilon, seed=None)


def bfloat16(full: Pooled, replicas: Replicas, pool: Callable[[Replicas], Pool]) -> Pooled:
    """The same attack, from the same start, on layers that compute in bfloat16."""
    return Pooled(
        pool(in_bfloat16(replicas)),
        name="bfloat16",
        attack=full.attack,
        steps=full.steps,
        stepsize=full.stepsize,
        seed=full.seed,
        slack=SLACK["bfloat16"],
    )


def in_bfloat16(replicas: Replicas) -> Replicas:
    """A copy of the model whose layers, but for those that make its outputs, compute in bfloat16.

    Weights stay float32, and so do the logits, since attacks read their differences: the last layer
    with weights and what follows it, such as the softmax of `attack.outputs=probabilities`.
    """
    model = replicas.model
    policy = {"class_name": "Policy", "config": {"name": "mixed_bfloat16"}}
    names = [layer.name for layer in model.layers]
    # Pixels are not rounded before the network sees them: an epsilon is less than such a step.
    kept = set(names[: names.index("preprocessing") + 1] if "preprocessing" in names else [])
    for layer in reversed(model.layers):
        kept.add(layer.name)
        if layer.weights:
            break

    def lowered(layer: keras.layers.Layer) -> keras.layers.Layer:
        settings: dict[str, Any] = layer.get_config()
        lowers = layer.name not in kept
        if lowers and not isinstance(layer, keras.layers.InputLayer):
            settings["dtype"] = policy
        try:
            return layer.__class__.from_config(settings)
        except (TypeError, NotImplementedError) as error:
            # Only in a model that was trained elsewhere.
            raise UserError(
                f"attack.first_passes = bfloat16: layer '{layer.name}' cannot be made anew in "
                "bfloat16; leave that first pass out"
            ) from error

    with replicas.strategy.scope():
        copy = keras.models.clone_model(model, clone_function=lowered)
        copy.set_weights(model.get_weights())
    return Replicas(copy, replicas.strategy)


FIRST_PASSES: dict[str, FirstPass] = {"one_step": one_step, "bfloat16": bfloat16}
