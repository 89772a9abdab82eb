"""Records as stored and their decoding: a split's serialized examples, images, labels, masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from attnrobust.data.raw import SPLITS
from attnrobust.data.records import Dataset
from attnrobust.errors import UserError
from attnrobust.task.graph import GRAPHS

# Those of every record, beside what its task decodes the label from.
FEATURES = {
    "id": tf.io.FixedLenFeature([], tf.string),
    "group": tf.io.FixedLenFeature([], tf.string, default_value=""),
    "image": tf.io.FixedLenFeature([], tf.string),
    "mask": tf.io.FixedLenFeature([], tf.string, default_value=""),
}


def serialized(dataset: Dataset, split: str, limit: int | None = None) -> tf.data.Dataset:
    """A split's examples as stored, in record order."""
    files = dataset.files(split)
    # Typed, since a split can be empty.
    examples = tf.data.Dataset.from_tensor_slices(tf.constant(files, tf.string)).interleave(
        tf.data.TFRecordDataset,
        cycle_length=max(1, min(len(files), 8)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if split in dataset.members:
        examples = only(examples, dataset.members[split])
    return examples.take(limit) if limit else examples


def only(examples: tf.data.Dataset, chosen: Sequence[bool] | np.ndarray) -> tf.data.Dataset:
    """Those at the positions where `chosen` is true."""
    table = tf.constant(chosen, tf.bool)
    kept = examples.enumerate().filter(lambda index, _: tf.gather(table, index))
    return kept.map(lambda _, example: example)


def features(example: tf.Tensor, dataset: Dataset, size: int) -> dict[str, tf.Tensor]:
    """FEATURES of a serialized example and its decoded `label`; a class map of `size` pixels."""
    task = GRAPHS[dataset.kind]
    parsed = tf.io.parse_single_example(example, {**FEATURES, **task.features})
    parsed["label"] = task.decode(parsed, dataset.label_map, size)
    # An image of no group is one by itself.
    alone = tf.equal(parsed["group"], "")
    return {**parsed, "group": tf.where(alone, parsed["id"], parsed["group"])}


def parse(example: tf.Tensor, dataset: Dataset, size: int) -> dict[str, tf.Tensor]:
    """The same with `image` decoded, float32 RGB (size, size, 3) in [0, 1]."""
    parsed = features(example, dataset, size)
    # The accurate inverse DCT is the one other decoders use, so pixels agree with theirs.
    image = tf.io.decode_jpeg(parsed["image"], channels=3, dct_method="INTEGER_ACCURATE")
    image = tf.image.convert_image_dtype(image, tf.float32)
    shape = tf.shape(image)
    image = tf.cond(
        tf.reduce_all(shape[:2] == size),
        lambda: image,
        lambda: tf.clip_by_value(tf.image.resize(image, (size, size), antialias=True), 0.0, 1.0),
    )
    image.set_shape((size, size, 3))
    return {**parsed, "image": image}


def mask(content: bytes, size: int) -> np.ndarray:
    """A mask from its PNG bytes: bool (size, size), all False for no bytes."""
    if not content:
        return np.zeros((size, size), bool)
    mask = tf.io.decode_png(content, channels=1)
    return np.asarray(tf.image.resize(mask, (size, size), method="nearest")[..., 0] > 127)


def check(dataset: Dataset) -> None:
    """Decode every stored image and mask; a stage does so after an error that names none.

    Raises:
        UserError: The first that does not decode.
    """
    for split in SPLITS:
        for file in dataset.files(split):
            for example in tf.data.TFRecordDataset(file).as_numpy_iterator():
                stored = tf.io.parse_single_example(example, FEATURES)
                try:
                    tf.io.decode_jpeg(stored["image"], channels=3)
                    mask(stored["mask"].numpy(), 8)
                    features(example, dataset, 8)
                except tf.errors.OpError:
                    raise UserError(
                        f"{file}: the image or mask of {stored['id'].numpy().decode()} "
                        "does not decode; make the records anew"
                    ) from None
