"""Records to a stream of images, and a stream to batches of what an attack made of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from attnrobust import config, task
from attnrobust.attacks.packing import stopped_early
from attnrobust.attacks.pool import Item, Pooled
from attnrobust.attacks.row import Attack
from attnrobust.data import inputs
from attnrobust.data.records import Dataset

Thing = TypeVar("Thing")


class Attacked(NamedTuple):
    """What an attack made of some images, before it is judged."""

    positions: np.ndarray
    images: np.ndarray
    adversarials: np.ndarray
    queries: np.ndarray
    stopped: np.ndarray  # (n,) whether before its last step, since the image had fallen


class Loader:
    """The test split, streamed anew whenever it is asked for.

    Args:
        dataset: Records.
        data: Size and limit.
        batch_size: Of every batch an attack gets.
    """

    def __init__(self, dataset: Dataset, data: config.Data, batch_size: int) -> None:
        self.dataset = dataset
        self.data = data
        self.batch_size = batch_size

    def batches(self, chosen: np.ndarray | None = None) -> Iterator[dict[str, np.ndarray]]:
        """All, or those of `chosen` (N,) bool, as `inputs.evaluation_batches` gives them."""
        batches = inputs.evaluation_batches(
            self.dataset, "test", data=self.data, batch_size=self.batch_size, chosen=chosen
        )
        return iter(batches.as_numpy_iterator())

    def items(self, todo: np.ndarray, state: Mapping[str, np.ndarray]) -> Iterator[Item]:
        """The images of `todo` (N,) bool in record order, with `id` and `label` of the state."""
        if not todo.any():
            return
        positions = iter(np.flatnonzero(todo).tolist())
        for batch in self.batches(todo):
            for image, position in zip(batch["image"], positions, strict=False):
                yield Item(position, image, state["label"][position], str(state["id"][position]))


def attacked(
    attack: Attack, items: Iterable[Item], size: int, epsilon: float, restart: int
) -> Iterator[Attacked]:
    """What the attack makes of these images, at most a batch of `size` at a time, in any order."""
    if isinstance(attack, Pooled):
        for done in _batched(attack.stream(items, size, epsilon, restart), size):
            yield Attacked(
                np.array([each.item.position for each in done]),
                np.stack([each.item.image for each in done]),
                np.stack([each.adversarial for each in done]),
                np.array([each.passes + 1 for each in done]),
                np.array([each.fell for each in done]),
            )
        return
    for batch in _batched(items, size):
        number = len(batch)
        # Padded, so that the shape never changes.
        full = batch + batch[:1] * (size - number)
        images = np.stack([item.image for item in full])
        labels = tf.constant([item.label for item in full], tf.int64)
        made, queries = attack(
            tf.constant(images), labels, [item.id for item in full], epsilon, restart
        )
        yield Attacked(
            np.array([item.position for item in batch]),
            images[:number],
            np.asarray(made)[:number],
            queries[:number],
            stopped_early(attack, queries[:number]),
        )


def sample_positions(labels: np.ndarray, number: int) -> np.ndarray:
    """Positions of sample images: the first of each class, then the second, and so on.

    A class map (H, W) counts as its largest structure.
    """
    labels = task.main_class(labels)
    turn = np.zeros(len(labels), int)
    for class_ in np.unique(labels):
        mine = np.flatnonzero(labels == class_)
        turn[mine] = np.arange(len(mine))
    return np.lexsort((labels, turn))[:number]


def _batched(items: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    """Lists of `size` items, the last as long as it is."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch
