"""Over which devices a step is spread."""

from __future__ import annotations

import tensorflow as tf


def mirrored() -> tf.distribute.Strategy:
    """MirroredStrategy over all GPUs, or over all (logical) CPUs where there is none."""
    return tf.distribute.MirroredStrategy(devices())


def devices() -> list[str]:
    """Names of the devices a step is spread over."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]
