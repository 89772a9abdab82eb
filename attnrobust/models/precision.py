"""Whether a GPU may round what float32 convolutions and matrix products take in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf


def tensor_float_32(*, allowed: bool) -> None:
    """Allow TensorFloat-32 on Ampere and newer GPUs, or have float32 be float32; process-wide.

    TensorFlow allows it by itself. Its inputs keep 10 of 23 bits, so a pixel moves by up to a
    thousandth of its value: as much as many an epsilon.
    """
    tf.config.experimental.enable_tensor_float_32_execution(allowed)


@contextlib.contextmanager
def whole_float_32() -> Iterator[None]:
    """Float32 that is float32 for as long as it lasts, whatever was allowed before."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tensor_float_32(allowed=False)
    try:
        yield
    finally:
        tensor_float_32(allowed=before)
