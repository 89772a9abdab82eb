"""SAMPLING: training examples drawn so that every class comes equally often.

One pass has as many examples of each class as the commonest class has. `oversample` repeats stored
examples, `smote` adds mixtures of two images of one class (Chawla et al. 2002).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

SHUFFLE_BUFFER = 8192
# SMOTE's neighbours of an image among which its partner is drawn; the authors' number.
NEIGHBOURS = 5


def balanced(
    examples: tf.data.Dataset,
    label_of: Callable[[tf.Tensor], tf.Tensor],
    counts: np.ndarray,
    seed: int,
    made: tf.data.Dataset | None = None,
) -> tf.data.Dataset:
    """One pass in random order, the same for a seed: each class as often as the commonest.

    Of no class is an example drawn more than once oftener than another: each class goes round and
    round in a random order of its own, so that two copies of an image lie as far apart as they can.

    Args:
        examples: Serialized; read once for each class. Those of all but the commonest class are
            kept in memory, as stored, during the pass.
        label_of: An example's label, from 0.
        counts: Examples of each class, (K,), without `made`.
        seed: Of the order.
        made: Examples that are added; with them all classes are as large as the commonest.
    """
    most, counts = int(counts.max()), np.asarray(counts)
    if made is not None:
        examples, counts = examples.concatenate(made), np.full_like(counts, most)

    def endless(class_: int) -> tf.data.Dataset:
        mine = examples.filter(lambda each: label_of(each) == class_).shuffle(
            min(int(counts[class_]), SHUFFLE_BUFFER), seed=seed, reshuffle_each_iteration=False
        )
        return mine.cache().repeat() if counts[class_] < most else mine

    classes = np.repeat(np.arange(len(counts)), most)
    order = np.random.default_rng(seed).permutation(classes)
    return tf.data.Dataset.choose_from_datasets(
        list(map(endless, range(len(counts)))), tf.data.Dataset.from_tensor_slices(order)
    )


def require(counts: np.ndarray, classes: Sequence[str], sampling: str) -> None:
    """Refuse what cannot be drawn evenly.

    Raises:
        UserError: A class without a training example, or for `smote` with a single one.
    """
    least = config.lookup("training.sampling", SAMPLING, sampling).least
    few = [
        f"{name} ({count})" for name, count in zip(classes, counts, strict=True) if count < least
    ]
    if few:
        raise UserError(
            f"training.sampling = {sampling}: expected at least {least} training example(s) of "
            f"each class, but there are too few of {', '.join(few)}"
        )


def smote(
    batches: tf.data.Dataset,
    counts: np.ndarray,
    stored: Sequence[int],
    *,
    size: int,
    seed: int,
    free: int | None,
) -> tf.data.Dataset:
    """Synthetic examples, serialized like stored ones, that bring each class to the commonest's.

    Each is a point between an image and one of its 5 nearest of the same class (fewer where the
    class is smaller), nearest by the pixels of the flattened images, made once for all epochs by
    imbalanced-learn and rounded to 8 bits as photographs are.

    Args:
        batches: Every training example once: dicts with `image` (B, size, size, 3) in [0, 1] and
            `label` (B,).
        counts: Examples of each class, (K,), at least 2.
        stored: For each label one that the records spell it by.
        size: Height and width in pixels.
        seed: Of the draws.
        free: Bytes of memory that may be taken; None: not known.

    Raises:
        UserError: It would not fit into memory.
    """
    need = memory(counts, size)
    known = "" if free is None else f", {free / 1e9:.2f} GB are free"
    said = f"SMOTE on {counts.sum():,} images of {size} px: {need / 1e9:.2f} GB of memory{known}"
    if free is not None and need > free:
        raise UserError(
            f"training.sampling = smote: {said}; expected a smaller data.image_size or "
            "data.limit, or training.sampling = oversample"
        )
    log.info("%s", said)
    images, labels = _flattened(batches, int(counts.sum()), size)
    from imblearn.over_sampling import SMOTE  # type: ignore[import-untyped]

    near = min(NEIGHBOURS, int(counts.min()) - 1)
    if near < NEIGHBOURS:
        log.warning(
            "warning: SMOTE takes %d neighbours instead of %d: the smallest class has %d "
            "training examples",
            near,
            NEIGHBOURS,
            counts.min(),
        )
    found, found_labels = SMOTE(random_state=seed, k_neighbors=near).fit_resample(images, labels)
    made = [
        _serialized(f"smote-{index}", image.reshape(size, size, 3), stored[label])
        for index, (image, label) in enumerate(
            zip(found[len(labels) :], found_labels[len(labels) :], strict=True)
        )
    ]
    return tf.data.Dataset.from_tensor_slices(tf.constant(made, tf.string))


def memory(counts: np.ndarray, size: int) -> int:
    """Bytes that SMOTE takes at its peak, of float32 images.

    That is in the end the images and twice the result; or before it, while the class that wants
    most is filled up, the images, the result, and three times as much as that class gets.
    """
    number, total = int(counts.sum()), len(counts) * int(counts.max())
    largest = int(counts.max() - counts.min())
    return 4 * 3 * size * size * (number + total + max(total, 3 * largest))


def _flattened(batches: tf.data.Dataset, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All images as float32 rows, in place, and their labels."""
    images, labels = np.empty((number, 3 * size * size), np.float32), np.empty(number, np.int64)
    done = 0
    for batch in batches.as_numpy_iterator():
        rows = slice(done, done + len(batch["label"]))
        images[rows], labels[rows] = batch["image"].reshape(len(batch["label"]), -1), batch["label"]
        done = rows.stop
    return images, labels


def _serialized(name: str, image: np.ndarray, label: int) -> bytes:
    """An example of an image (size, size, 3) in [0, 1], as PNG: without loss but for 8 bits."""
    png = tf.io.encode_png(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)).numpy()
    values = {
        "id": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name.encode()])),
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=values))
    return bytes(example.SerializeToString())


# (batches, examples of each class (K,), stored labels; size, seed, free bytes) to examples.
Maker = Callable[..., tf.data.Dataset]


@dataclass(frozen=True)
class Row:
    """A way of drawing training examples.

    Attributes:
        what: How it draws, in a line.
        least: Examples that each class must have.
        made: What makes examples that are drawn beside the stored ones; None: these alone.
    """

    what: str
    least: int = 0
    made: Maker | None = None


SAMPLING: dict[str, Row] = {
    "none": Row("Each image once an epoch."),
    "oversample": Row("Every class as often as the commonest, by repetition.", least=1),
    "smote": Row("The same, by mixtures of two images of a class.", least=2, made=smote),
}
