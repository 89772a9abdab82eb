"""Over which devices, and machines, a step is spread."""

from __future__ import annotations

import functools
import json
import logging
import os

import tensorflow as tf

from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@functools.cache
def mirrored() -> tf.distribute.Strategy:
    """MirroredStrategy over all GPUs, or over all (logical) CPUs where there is none.

    One for the whole process: two would give their collective operations the same keys, which
    TensorFlow answers with 'Shape mismatch in the collective instance'.
    """
    return tf.distribute.MirroredStrategy(devices())


@functools.cache
def multi_worker() -> tf.distribute.Strategy:
    """MultiWorkerMirroredStrategy over the machines that TF_CONFIG names; waits for all of them.

    To be called before any other TensorFlow operation.

    Raises:
        UserError: TF_CONFIG is missing, is not JSON, or lists no worker of this index.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        values = json.loads(text)
        task = values["task"]
        known = 0 <= task["index"] < len(values["cluster"][task["type"]])
        workers = sum(len(addresses) for addresses in values["cluster"].values())
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise UserError(
            f"TF_CONFIG = {text or '(not set)'}: expected all workers and which one this is, such "
            f"as {EXAMPLE}"
        )
    log.info("%s %d of %d: waiting for all", task["type"], task["index"], workers)
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes: the only one, or the cluster's first worker."""
    cluster = strategy.cluster_resolver
    if cluster is None or not cluster.task_type:
        return True
    if "chief" in cluster.cluster_spec().jobs:
        return str(cluster.task_type) == "chief"
    return str(cluster.task_type) == "worker" and cluster.task_id == 0


def devices() -> list[str]:
    """Names of this machine's devices that a step is spread over."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Return when every worker has come here; on one machine there is none to wait for."""
    if not strategy.extended._in_multi_worker_mode():
        return
    ones = strategy.run(lambda: tf.constant(1.0))
    float(strategy.reduce(tf.distribute.ReduceOp.SUM, ones, axis=None))


def whole_files() -> tf.data.Options:
    """Every worker reads all files and takes its share of each batch.

    Sharing out files instead would fail with fewer files than workers, and change what a batch is.
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
