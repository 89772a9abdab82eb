"""Images still under attack, packed into batches of few static sizes, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from attnrobust.models.replicas import Replicas

Rows = dict[str, "np.ndarray | tf.Tensor"]


def fitting(number: int, size: int, count: int) -> int:
    """The smallest of size, size/2, size/4, … that holds `number` images, in multiples of `count`.

    Few sizes, since a GPU tunes its kernels for each.
    """
    while size % (2 * count) == 0 and size // 2 >= max(number, 1):
        size //= 2
    return size


@dataclass
class Packed:
    """Row tensors of images under attack, in one batch.

    Attributes:
        rows: Each (size, …).
        where: Each row's position in the batch that was handed in (size,).
        live: Rows still under attack (size,); padding is never live.
        count: Number of replicas.
    """

    rows: Rows
    where: np.ndarray
    live: np.ndarray
    count: int

    @classmethod
    def of(cls, rows: Rows, chosen: np.ndarray, count: int) -> Packed:
        """The rows at the positions `chosen`, at least one."""
        full = len(next(iter(rows.values())))
        size = fitting(len(chosen), full, count)
        index = Replicas.padded(chosen, size)
        return cls(_take(rows, index), index, np.arange(size) < len(chosen), count)

    def shrunk(self) -> Packed:
        """The same without the rows that are done, where that makes the batch smaller."""
        chosen = np.flatnonzero(self.live)
        if fitting(len(chosen), len(self.live), self.count) == len(self.live):
            return self
        smaller = Packed.of(self.rows, chosen, self.count)
        smaller.where = self.where[smaller.where]
        return smaller


def _take(rows: Rows, index: np.ndarray) -> Rows:
    return {
        name: tf.gather(row, index) if tf.is_tensor(row) else row[index]
        for name, row in rows.items()
    }


class Outcome:
    """What an attack has made of a batch so far.

    An image that the model gets wrong to begin with is not attacked and stays as it is, for one
    query. Copies of the first image at the end of the batch are padding: they are not attacked.

    Args:
        replicas: The model.
        images: (N, H, W, 3) in [0, 1].
        labels: (N,).
        ids: Their names; those of padding are the first one's.
        full: Whether every image is attacked, also one that is wrong to begin with, none is left
            alone when it falls, and what is kept is the iterate whose best wrong logit leads the
            label's by most (above 0 where one has fallen: so never one that stands instead).

    Attributes:
        logits: Of the images (N, K).
        adversarials: (N, H, W, 3); the images themselves to begin with.
        fallen: (N,).
        lead: Of the adversarials under `full`, so far (N,).
        queries: Forward and gradient passes (N,).
    """

    def __init__(
        self, replicas: Replicas, images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], *,
        full: bool = False,
    ) -> None:  # fmt: skip
        self.images = tf.convert_to_tensor(images)
        self.labels = np.asarray(labels, np.int64)
        self.count = replicas.count
        self.logits = replicas.forward(self.images).numpy()
        self.adversarials = self.images.numpy().copy()
        self.full = full
        self.fallen = (self.logits.argmax(axis=1) != self.labels) & (not full)
        self.lead = np.full(len(self.labels), -np.inf)
        self.queries = np.ones(len(self.labels), np.int64)
        self.padding = np.zeros(len(self.labels), bool)
        for row in range(len(ids) - 1, 0, -1):
            if ids[row] != ids[0]:
                break
            self.padding[row] = True

    @property
    def standing(self) -> np.ndarray:
        """Positions of the images that stand (under `full` all), padding left out."""
        return np.flatnonzero(~self.fallen & ~self.padding)

    def packed(self, **rows: np.ndarray | tf.Tensor) -> Packed:
        """What stands: `origin`, `label` and these rows (N, …)."""
        rows = {"origin": self.images, "label": self.labels, **rows}
        return Packed.of(rows, self.standing, self.count)

    def take(self, pack: Packed, chosen: np.ndarray, images: tf.Tensor) -> None:
        """Keep these images (size, H, W, 3) of the packed batch, where `chosen` (size,)."""
        if chosen.any():
            index = np.flatnonzero(chosen)
            self.adversarials[pack.where[index]] = tf.gather(images, index).numpy()

    def judge(self, pack: Packed, images: tf.Tensor, wrong: np.ndarray, lead: np.ndarray) -> None:
        """Keep what has fallen, which leaves the pack, or under `full` what leads by more.

        Args:
            pack: Changed in place.
            images: Iterates (size, H, W, 3), for one query each.
            wrong: Whether the model gets them wrong (size,).
            lead: Best wrong logit less the label's (size,).
        """
        self.queries[pack.where[pack.live]] += 1
        kept = pack.live & ((lead > self.lead[pack.where]) if self.full else wrong)
        self.take(pack, kept, images)
        self.lead[pack.where[kept]] = lead[kept]
        if not self.full:
            self.fallen[pack.where[kept]] = True
            pack.live &= ~kept

    def leave(self, pack: Packed, images: tf.Tensor) -> None:
        """Give what stands at the end these images (size, H, W, 3); under `full` it has its own."""
        if not self.full:
            self.take(pack, pack.live, images)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Adversarials and queries; those of padding are the first image's."""
        self.adversarials[self.padding] = self.adversarials[0]
        self.queries[self.padding] = self.queries[0]
        return self.adversarials, self.queries


def targets(logits: np.ndarray, labels: np.ndarray, at_most: int = 9) -> np.ndarray:
    """Every image's other classes by descending logit, (N, min(K - 1, at_most))."""
    others = logits.astype(np.float64)
    others[np.arange(len(labels)), labels] = -np.inf
    return np.argsort(-others, axis=1, kind="stable")[:, : min(logits.shape[1] - 1, at_most)]
