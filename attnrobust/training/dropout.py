"""Dropout's chance: from seed, epoch, step and device alone, so that a resumed run has the same.

A Keras dropout layer draws from a state inside the compiled step, which nobody can save; a run that
went on after a kill would drop other units from there on.
"""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf
from tensorflow import keras

from attnrobust.keyed import batches as keys
from attnrobust.keyed import seed_of


class Keyed:
    """What the dropout layers of a model draw from, in place of Keras' generators.

    Every draw counts up `state`, of which each device has its own; so two layers, two images of
    a step, and two steps of an attack in training mode are dropped differently. Nothing is traced
    anew. To be created in the strategy's scope.

    Attributes:
        state: int64 (2,): the epoch's key, and how many draws there were since it began.
    """

    def __init__(self) -> None:
        self.state = tf.Variable(
            tf.zeros(2, tf.int64),
            trainable=False,
            name="dropout_draws",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def dropout(
        self, inputs: tf.Tensor, rate: float, noise_shape: tf.Tensor | None = None
    ) -> tf.Tensor:
        """As `keras.backend.RandomGenerator.dropout`, which a layer calls in training mode."""
        device = tf.distribute.get_replica_context().replica_id_in_sync_group
        self.state.assign_add(tf.constant([0, 1], tf.int64))
        key = keys.later(self.state, keys.DROPOUT + keys.DEVICE * tf.cast(device, tf.int64))
        return tf.nn.experimental.stateless_dropout(
            inputs, rate, key, rng_alg="philox", noise_shape=noise_shape
        )


def layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """All its layers with chance in them."""
    kind = keras.__internal__.layers.BaseRandomLayer
    return (layer for layer in model.submodules if isinstance(layer, kind))


def prepare(model: keras.Model) -> None:
    """Have all dropout layers draw by key; to be called in the strategy's scope."""
    keyed = Keyed()
    for layer in layers(model):
        # In a plain object, lest Keras count its variable among the weights.
        layer._random_generator = keyed


def begin(model: keras.Model, seed: int, epoch: int) -> None:
    """Set the draws back to the start of an epoch, counted from 0."""
    for keyed in {layer._random_generator for layer in layers(model)}:
        keyed.state.assign(tf.constant([seed_of(seed, epoch), 0], tf.int64))
