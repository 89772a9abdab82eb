"""One compiled call over all devices: a global batch is split, worked on, joined in order."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError


class Replicas:
    """A model on the devices of a `tf.distribute` strategy, always in inference mode.

    Args:
        model: Created inside the strategy's scope.
        strategy: Default or MirroredStrategy; None for the one in whose scope this is called,
            which outside any is a single device.

    Attributes:
        count: Number of replicas. The size N of every global batch must be a multiple of it.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy | None = None) -> None:
        self.model = model
        self.strategy = strategy or tf.distribute.get_strategy()
        self.count: int = self.strategy.num_replicas_in_sync
        self._made: dict[Hashable, Any] = {}
        self._forward = self.map(lambda images: model(images, training=False))

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once under this key: to compile a step takes long."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def forward(self, images: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Logits (N, classes), float32, of images (N, H, W, 3), float32 in [0, 1]."""
        return self._forward(images)

    def batch(self, size: int) -> int:
        """`size` rounded up to a multiple of the number of replicas."""
        return -(-size // self.count) * self.count

    @staticmethod
    def padded(rows: np.ndarray, size: int) -> np.ndarray:
        """`rows` filled up to `size` with copies of the first, so that the shape stays static."""
        missing = size - len(rows)
        return np.concatenate([rows, np.repeat(rows[:1], missing, axis=0)]) if missing else rows

    def map(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` compiled, every replica working on its share of the batch.

        One trace serves every batch size; another dtype or shape of a row is traced anew.

        Args:
            function: From tensors to a tensor or a structure of tensors, each with one row for
                each row of its batch. It is traced as it stands (no AutoGraph): TensorFlow
                operations, no Python branches on values, no static batch size. Variables are
                read, not written.

        Returns:
            f(*tensors) of the same signature for global batches: tensors (N, …) are split evenly
            over the replicas, row order kept, and scalars are given to each; the results are
            joined along their first axis.

        Raises:
            UserError: (by the returned function) N is not a multiple of the number of replicas.
        """

        def spread(*tensors: tf.Tensor) -> Any:
            shares = [self._share(tensor) for tensor in tensors]
            results = self.strategy.run(function, args=shares)
            parts = self.strategy.experimental_local_results(results)
            return tf.nest.map_structure(lambda *part: tf.concat(part, axis=0), *parts)

        traced: dict[Hashable, Any] = {}

        def call(*given: np.ndarray | tf.Tensor) -> Any:
            tensors = [tf.convert_to_tensor(each) for each in given]
            specs = [_spec(tensor) for tensor in tensors]
            for tensor in tensors:
                if tensor.shape.rank and tensor.shape[0] % self.count:
                    raise UserError(
                        f"batch of {tensor.shape[0]} images: expected a multiple of "
                        f"{self.count} replicas"
                    )
            if tuple(specs) not in traced:
                traced[tuple(specs)] = tf.function(
                    function if self.count == 1 else spread, input_signature=specs, autograph=False
                )
            return traced[tuple(specs)](*tensors)

        return call

    def _share(self, tensor: tf.Tensor) -> Any:
        """Each replica's rows of `tensor`, as a value that `strategy.run` hands out."""
        if tensor.shape.rank == 0:
            return tensor
        parts = tf.split(tensor, self.count)
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )


def _spec(tensor: tf.Tensor) -> tf.TensorSpec:
    """Any number of such rows, or such a scalar."""
    rows = [None, *tensor.shape[1:]] if tensor.shape.rank else []
    return tf.TensorSpec(rows, tensor.dtype)
