"""Whether a batch fits into memory, asked before it is tried.

A GPU that is full raises an error. A CPU does not: the process is killed without a word, or aborts
in C++; so too large a batch is refused beforehand there.
"""

from __future__ import annotations

import math
import resource
from pathlib import Path

import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError

# Not every layer's output is kept for the gradient; half of them is a safe lower bound.
KEPT = 0.5


def require(model: keras.Model, batch: int, option: str, passes: int = 1) -> None:
    """Refuse a batch whose activations cannot fit into this machine's memory.

    Args:
        model: Functional model.
        batch: Images in one step.
        option: Setting to name.
        passes: How many times the network's activations are kept at once.

    Raises:
        UserError: At least this much is needed, and this much is free.
    """
    _refuse(KEPT * activations(model) * passes, batch, option)


def require_images(size: int, batch: int, option: str) -> None:
    """Refuse a batch whose images alone cannot, as far as is known without a model.

    Args:
        size: Height and width of an image, float32 RGB.
        batch: Images in one step.
        option: Setting to name.

    Raises:
        UserError: As `require`.
    """
    _refuse(4.0 * 3 * size**2, batch, option)


def _refuse(each: float, batch: int, option: str) -> None:
    free = available()
    if free is None or tf.config.list_physical_devices("GPU"):
        return
    if each * batch > free:
        raise UserError(
            f"{option} = {batch}: needs at least {each * batch / 1e9:.1f} GB of memory and "
            f"{free / 1e9:.1f} GB are free; try {max(1, int(free / each / 2))} or fewer"
        )


def activations(model: keras.Model) -> int:
    """Bytes of all layers' outputs for one image, models inside models included."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += activations(layer)
            continue
        if not layer.inbound_nodes:
            continue  # a model that was trained elsewhere calls it in Python: its size is not known
        for tensor in tf.nest.flatten(layer.output):
            sizes = [size or 1 for size in tensor.shape[1:]]
            total += math.prod(sizes) * tensor.dtype.size
    return total


def available() -> int | None:
    """Bytes that this process can still take, or None where the system does not say."""
    found = []
    memory = Path("/proc/meminfo")
    if memory.is_file():
        rows = dict(line.split(":", 1) for line in memory.read_text().splitlines())
        found.append(int(rows["MemAvailable"].split()[0]) * 1024)
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        found.append(int(limit.read_text()) - int(used.read_text()))
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most != resource.RLIM_INFINITY:
        found.append(most)
    return min(found, default=None)
