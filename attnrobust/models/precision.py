"""Whether a GPU may round what float32 convolutions and matrix products take in."""

from __future__ import annotations

import tensorflow as tf


def tensor_float_32(*, allowed: bool) -> None:
    """Allow TensorFloat-32 on Ampere and newer GPUs, or have float32 be float32; process-wide.

    TensorFlow allows it by itself. Its inputs keep 10 of 23 bits, so a pixel moves by up to a
    thousandth of its value: as much as many an epsilon.
    """
    tf.config.experimental.enable_tensor_float_32_execution(allowed)
