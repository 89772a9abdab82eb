"""Over which devices a step is spread."""

from __future__ import annotations

import functools

import tensorflow as tf


@functools.cache
def mirrored() -> tf.distribute.Strategy:
    """MirroredStrategy over all GPUs, or over all (logical) CPUs where there is none.

    One for the whole process: two would give their collective operations the same keys, which
    TensorFlow answers with 'Shape mismatch in the collective instance'.
    """
    return tf.distribute.MirroredStrategy(devices())


def devices() -> list[str]:
    """Names of the devices a step is spread over."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]
