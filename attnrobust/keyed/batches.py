"""Keys, two int64, of what is drawn for a batch inside a graph by `tf.random.stateless_*`.

The first word is the run's seed and the epoch, the second counts: batches, or draws. Each use
counts from a place of its own, far from the others', so that no two draw the same numbers.
"""

from __future__ import annotations

import tensorflow as tf

from attnrobust.keyed import seed_of

# Where the second word begins. Augmentation and random starts count batches; mixtures count them
# too, and go on by MIXTURE from one mixed image to the next and by DRAW within one; dropout counts
# draws, by DEVICE from one device to the next.
AUGMENTATION, STARTS, MIXTURES, DROPOUT = 0, 2**40, 2**41, 2**60
MIXTURE, DRAW, DEVICE = 2**41, 2**32, 2**40


def key(seed: int, epoch: int, index: tf.Tensor, use: int) -> tf.Tensor:
    """The key of a batch: int64 (2,).

    Args:
        seed: Of the run.
        epoch: From 0.
        index: int64, of the batch in its epoch.
        use: What is drawn: where its second words begin.
    """
    return tf.stack([tf.constant(seed_of(seed, epoch), tf.int64), index + use])


def later(key: tf.Tensor, offset: int | tf.Tensor) -> tf.Tensor:
    """The key that is so far on."""
    offset = tf.cast(offset, tf.int64)
    return key + tf.stack([tf.zeros_like(offset), offset])
