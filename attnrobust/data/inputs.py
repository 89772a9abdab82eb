"""INPUTS: shards to batched tf.data of float32 RGB in [0, 1].

Training batches are all full: the last one of an epoch is topped up with examples of the same
epoch, so that no example is lost and no replica gets an empty batch. Evaluation sees each example
once, in record order, the last batch being as small as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from attnrobust import config, keyed
from attnrobust.corruptions import CORRUPTIONS, SEVERITIES
from attnrobust.data import decoding, sampling
from attnrobust.data.augmentation import AUGMENTATIONS, augment, augment_maps
from attnrobust.data.corrupting import random_corruption
from attnrobust.data.records import Dataset
from attnrobust.errors import UserError
from attnrobust.keyed import batches as keys


def count(dataset: Dataset, split: str, limit: int | None = None) -> int:
    """Examples that a split gives under a limit.

    Raises:
        UserError: None.
    """
    number = min(dataset.count(split), limit or dataset.count(split))
    if not number:
        raise UserError(f"{dataset.root}: no example in the {split} split")
    return number


def steps(dataset: Dataset, data: config.Data, training: config.Training) -> int:
    """Batches in one epoch."""
    return math.ceil(_share(dataset, data, training) / training.batch_size)


def _share(dataset: Dataset, data: config.Data, training: config.Training) -> int:
    """Examples that an epoch sees."""
    return max(1, math.ceil(training.epoch_fraction * total(dataset, data, training) - 1e-6))


def total(dataset: Dataset, data: config.Data, training: config.Training) -> int:
    """Examples in one pass: those of the split, or every class as often as the commonest."""
    number = count(dataset, "train", data.limit)
    config.lookup("training.sampling", sampling.SAMPLING, training.sampling)
    if training.sampling == "none":
        return number
    counts = class_counts(dataset, data.limit)
    return len(counts) * int(counts.max())


def class_counts(dataset: Dataset, limit: int | None = None) -> np.ndarray:
    """How many examples of each class the train split gives under a limit, (K,).

    Of images to be segmented, those that show the class at their stored size.
    """
    if limit is None:
        described = dataset.splits["train"]["class_counts"]
        return np.array([described[name] for name in dataset.classes], np.int64)
    return shown(dataset, "train", limit).sum(axis=0)


def shown(dataset: Dataset, split: str, limit: int | None = None) -> np.ndarray:
    """Of which classes each image of a split is an example, (N, K) bool, in record order."""
    every = np.arange(len(dataset.classes))
    found = _labels(dataset, split, limit, dataset.size)
    rows = [np.isin(every, label) for label in found]
    return np.array(rows, bool).reshape(-1, len(every))


def class_pixels(dataset: Dataset, data: config.Data) -> np.ndarray:
    """Of each class the pixels in a training image that shows it, on average, (K,) float64.

    0 for a class that none shows. Images are of `data.image_size`.
    """
    number, images = np.zeros(len(dataset.classes)), np.zeros(len(dataset.classes))
    for label in _labels(dataset, "train", data.limit, data.image_size):
        found = np.bincount(label.ravel(), minlength=len(number))
        number, images = number + found, images + (found > 0)
    return number / np.maximum(images, 1)


def training_batches(
    dataset: Dataset,
    *,
    data: config.Data,
    training: config.Training,
    seed: int,
    epoch: int,
    made: tf.data.Dataset | None = None,
) -> tf.data.Dataset:
    """One epoch of augmented training batches, the same for the same seed and epoch.

    With `epoch_fraction` f, the epochs are cut one after the other from an endless row of passes,
    each in an order of its own, so that every example is seen equally often.

    Args:
        dataset: Records.
        data: Size and limit.
        training: Batch size, share of the data in an epoch, corruptions, augmentation.
        seed: Of the run.
        epoch: From 0.
        made: Where the row of SAMPLING makes examples: these.

    Returns:
        Batches of (float32 images (B, H, W, 3) in [0, 1], int64 labels (B,) or (B, H, W)).
    """
    drawn = config.lookup("training.sampling", sampling.SAMPLING, training.sampling)
    if drawn.made and made is None:
        raise ValueError(f"training.sampling = {training.sampling} without the examples it makes")
    for name in training.corruptions:
        config.lookup("training.corruptions", CORRUPTIONS, name)
    rows = [
        config.lookup("training.augmentation", AUGMENTATIONS, name)
        for name in training.augmentation
    ]

    @tf.autograph.experimental.do_not_convert  # no branch on a tensor: sooner traced
    def pair(place: tf.Tensor, example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = decoding.parse(example, dataset, data.image_size)
        image = parsed["image"]
        if training.corruptions:
            id_ = parsed["id"]
            if training.sampling != "none":  # Each copy of an image by itself.
                id_ = tf.strings.join([id_, tf.strings.as_string(place)], "#")
            image = _corrupted(image, id_, training.corruptions, keyed.seed_of(seed, epoch))
        return image, parsed["label"]

    @tf.autograph.experimental.do_not_convert
    def augmented(
        index: tf.Tensor, pair: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        key = keys.key(seed, epoch, index, keys.AUGMENTATION)
        moved = pair[1] if pair[1].shape.rank == 1 else augment_maps(pair[1], rows, key)
        return augment(pair[0], rows, key), moved

    examples = _epoch(dataset, data, training, seed=seed, epoch=epoch, made=made)
    batches = examples.enumerate().map(pair, num_parallel_calls=tf.data.AUTOTUNE)
    batches = batches.batch(training.batch_size, drop_remainder=True)
    batches = batches.take(steps(dataset, data, training))
    if rows:
        batches = batches.enumerate().map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def _epoch(
    dataset: Dataset,
    data: config.Data,
    training: config.Training,
    *,
    seed: int,
    epoch: int,
    made: tf.data.Dataset | None,
) -> tf.data.Dataset:
    """Serialized examples of an epoch in its order, without end."""
    every, share = total(dataset, data, training), _share(dataset, data, training)
    number, done = divmod(epoch * share, every)

    def order(number: int) -> tf.data.Dataset:
        examples = decoding.serialized(dataset, "train", data.limit)
        key = keyed.seed_of(seed, number)
        if training.sampling == "none":
            size = min(every, sampling.SHUFFLE_BUFFER)
            return examples.shuffle(size, seed=key, reshuffle_each_iteration=False)
        counts = class_counts(dataset, data.limit)
        return sampling.balanced(
            examples,
            lambda each: decoding.features(each, dataset, data.image_size)["label"],
            counts,
            key,
            made,
        )

    return order(number).skip(done).concatenate(order(number + 1)).take(share).repeat()


def evaluation_batches(
    dataset: Dataset,
    split: str,
    *,
    data: config.Data,
    batch_size: int,
    chosen: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Every example of a split once, in record order, or those that are `chosen` (N,) bool.

    Returns:
        Batches of dicts: `id` and `group` (B,) strings, `image` (B, H, W, 3) float32 in [0, 1],
        `label` (B,) or (B, H, W) int64, `mask` (B,) PNG bytes (empty where there is none).
    """
    count(dataset, split, data.limit)
    examples = decoding.serialized(dataset, split, data.limit)
    if chosen is not None:
        examples = decoding.only(examples, chosen)
    parsed = examples.map(
        lambda example: decoding.parse(example, dataset, data.image_size),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return parsed.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def labels(dataset: Dataset, split: str, limit: int | None = None, *, size: int = 0) -> np.ndarray:
    """A split's labels in record order, int64 (N,), without decoding an image.

    Of images to be segmented (N, size, size), at the stored size where `size` is 0.
    """
    return np.array(list(_labels(dataset, split, limit, size or dataset.size)), np.int64)


def _labels(dataset: Dataset, split: str, limit: int | None, size: int) -> Iterator[np.ndarray]:
    examples = decoding.serialized(dataset, split, limit)
    parsed = examples.map(lambda example: decoding.features(example, dataset, size)["label"])
    found: Iterator[np.ndarray] = parsed.as_numpy_iterator()
    return found


def read(
    dataset: Dataset, split: str, ids: Sequence[str], *, data: config.Data
) -> dict[str, np.ndarray]:
    """Chosen examples, in the order of `ids`.

    Returns:
        `id`, `image` float32 (N, H, W, 3) in [0, 1], `label` (N,) or (N, H, W), `mask` bool
        (N, H, W), all False where there is none.

    Raises:
        UserError: An id is not in the split.
    """
    wanted = {name: position for position, name in enumerate(ids)}
    table = tf.constant(list(ids))
    examples = decoding.serialized(dataset, split, data.limit).filter(
        lambda example: tf.reduce_any(
            tf.io.parse_single_example(example, decoding.FEATURES)["id"] == table
        )
    )
    found: dict[int, dict[str, Any]] = {}
    for example in examples.map(
        lambda e: decoding.parse(e, dataset, data.image_size)
    ).as_numpy_iterator():
        found[wanted[example["id"].decode()]] = example
    missing = [name for name in ids if wanted[name] not in found]
    if missing:
        raise UserError(f"{dataset.root}: no {missing[0]} in the {split} split")
    rows = [found[position] for position in range(len(ids))]
    return {
        "id": np.array(list(ids)),
        "image": np.stack([row["image"] for row in rows]),
        "label": np.array([row["label"] for row in rows]),
        "mask": np.stack([decoding.mask(row["mask"], data.image_size) for row in rows]),
    }


def _corrupted(image: tf.Tensor, id_: tf.Tensor, names: Sequence[str], seed: int) -> tf.Tensor:
    def work(image: np.ndarray, id_: bytes) -> np.ndarray:
        return random_corruption(image, id_.decode(), names, (0, *SEVERITIES), seed=seed)[0]

    found = tf.numpy_function(work, [image, id_], tf.float32)
    found.set_shape(image.shape)
    return found
