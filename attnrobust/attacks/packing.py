"""Images still under attack, packed into batches of few static sizes, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from attnrobust.attacks import border
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
        return cls(_gather(rows, index), index, np.arange(size) < len(chosen), count)

    def shrunk(self) -> Packed:
        """The same without the rows that are done, where that makes the batch smaller."""
        chosen = np.flatnonzero(self.live)
        if fitting(len(chosen), len(self.live), self.count) == len(self.live):
            return self
        smaller = Packed.of(self.rows, chosen, self.count)
        smaller.where = self.where[smaller.where]
        return smaller


def _gather(rows: Rows, index: np.ndarray) -> Rows:
    return {
        name: tf.gather(row, index) if tf.is_tensor(row) else row[index]
        for name, row in rows.items()
    }


@dataclass(frozen=True)
class Stopping:
    """An attack that an image may leave before its last step.

    Attributes:
        run: The attack: images, labels, ids, epsilon, restart to adversarials and queries.
        whole: Queries of an image that stays to the end.
    """

    run: Callable[..., tuple[Any, np.ndarray]]
    whole: int

    def __call__(
        self, images: Any, labels: Any, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[Any, np.ndarray]:
        """As any attack."""
        return self.run(images, labels, ids, epsilon, restart)


def stopped_early(attack: Any, queries: np.ndarray) -> np.ndarray:
    """Which images (N,) left an attack before its last step, by the queries that they cost."""
    return np.asarray(queries < (attack.whole if isinstance(attack, Stopping) else 0))


class Outcome:
    """What an attack has made of a batch so far.

    Of all iterates the one that is wrong by most is kept, and where none is wrong the one that came
    nearest to it. An image has fallen, and is let go, when it leads by the slack (see `border`): so
    one that does to begin with is not attacked and stays as it is, for one query. Copies of the
    first image at the end of the batch are padding: they are not attacked.

    Args:
        replicas: The model.
        images: (N, H, W, 3) in [0, 1].
        labels: (N,).
        ids: Their names; those of padding are the first one's.
        full: Whether every image is attacked, also one that is wrong to begin with, and none is
            let go when it falls.

    Attributes:
        logits: Of the images (N, K).
        adversarials: (N, H, W, 3); the images themselves to begin with.
        fallen: (N,); none under `full`.
        wrong: Whether the model gets wrong what is kept (N,).
        lead: Best wrong logit of what is kept less the label's (N,).
        queries: Forward and gradient passes (N,).
    """

    def __init__(
        self,
        replicas: Replicas,
        images: tf.Tensor,
        labels: tf.Tensor,
        ids: Sequence[str],
        *,
        full: bool = False,
    ) -> None:
        self.images = tf.convert_to_tensor(images)
        self.labels = np.asarray(labels, np.int64)
        self.count = replicas.count
        logits = replicas.forward(self.images)
        self.logits = logits.numpy()
        self.adversarials = self.images.numpy().copy()
        self.full = full
        # Before the first iterate there is nothing but the image, which only counts if it is wrong.
        at = border.seen(logits, self.labels).numpy()
        self.fallen = at.clear & (not full)
        self.wrong = at.wrong & (not full)
        self.lead = np.where(self.wrong, at.lead, -np.inf)
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

    def store(self, pack: Packed, chosen: np.ndarray, images: tf.Tensor) -> None:
        """Keep these images (size, H, W, 3) of the packed batch, where `chosen` (size,)."""
        if chosen.any():
            index = np.flatnonzero(chosen)
            self.adversarials[pack.where[index]] = tf.gather(images, index).numpy()

    def judge(self, pack: Packed, images: tf.Tensor, seen: border.Seen) -> None:
        """Keep the iterates that are better than what is kept; what falls leaves the pack.

        Args:
            pack: Changed in place.
            images: Iterates (size, H, W, 3), for one query each.
            seen: What the model sees in them, as arrays (size,).
        """
        self.queries[pack.where[pack.live]] += 1
        self.store(pack, self.sift(pack, pack.live, seen), images)

    def sift(self, pack: Packed, offered: np.ndarray, seen: border.Seen) -> np.ndarray:
        """Which iterates of those offered (size,) `keep` keeps; what falls leaves the pack."""
        at = np.flatnonzero(offered)
        kept = np.zeros(len(offered), bool)
        kept[at] = self.keep(pack.where[at], border.Seen(*(part[at] for part in seen)))
        pack.live &= ~self.fallen[pack.where]
        return kept

    def keep(self, where: np.ndarray, seen: border.Seen) -> np.ndarray:
        """Which of these iterates (n,) are better than what is kept, and so are kept from here on.

        One that is wrong is better than one that is right; else that which leads by more. What is
        clear is best of all where it is let go for that: no other comes after it.

        Args:
            where: Their positions in the batch (n,), each once.
            seen: What the model sees in them, as arrays (n,).
        """
        better = np.asarray(seen.lead > self.lead[where])
        better = np.where(seen.wrong == self.wrong[where], better, seen.wrong)
        if not self.full:
            better |= seen.clear
            self.fallen[where] |= seen.clear
        at = where[better]
        self.wrong[at], self.lead[at] = seen.wrong[better], seen.lead[better]
        return better

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Adversarials and queries; those of padding are the first image's."""
        self.adversarials[self.padding] = self.adversarials[0]
        self.queries[self.padding] = self.queries[0]
        return self.adversarials, self.queries


def aims(classes: int, at_most: int = 9) -> int:
    """How many of the other classes are aimed at in turn."""
    return min(classes - 1, at_most)


def targets(logits: np.ndarray, labels: np.ndarray, at_most: int = 9) -> np.ndarray:
    """Every image's other classes by descending logit, (N, `aims`)."""
    others = logits.astype(np.float64)
    others[np.arange(len(labels)), labels] = -np.inf
    return np.argsort(-others, axis=1, kind="stable")[:, : aims(logits.shape[1], at_most)]
