"""Shared fixtures. The CPU is split in two before TensorFlow starts, so that MirroredStrategy and
everything spread over replicas is really exercised."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from attnrobust import commands, config

commands.quiet()

import tensorflow as tf  # noqa: E402

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
# Two test processes share two cores.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.get_logger().setLevel("ERROR")
logging.getLogger("attnrobust").setLevel(logging.INFO)


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: no real data at hand")
    return Path(value).resolve()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images, named by ATTNROBUST_DATA."""
    return _folder("ATTNROBUST_DATA")


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """Folder of real weights, named by ATTNROBUST_WEIGHTS."""
    return _folder("ATTNROBUST_WEIGHTS")
