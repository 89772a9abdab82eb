"""Which preprocessing a model was trained on, as far as a few labelled images tell: a diagnosis.

It is no measurement: what is chosen by the labels of test images flatters the model on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, task
from attnrobust.errors import UserError
from attnrobust.measures import class_order
from attnrobust.models.adopted import adopting, preprocessing
from attnrobust.models.adopted.preprocessing import PREPROCESSING

# Images that it looks at.
MOST = 64
# Of these images, a share that is no accident.
FAR = 0.1


def diagnose(
    adopted: config.Adopted,
    images: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    model: keras.Model | None = None,
) -> pd.DataFrame:
    """Clean accuracy under every preprocessing, RGB and BGR, best first.

    Args:
        adopted: The model; what it says of preprocessing is one of the rows, or left aside.
        images: (N, H, W, 3) float32 RGB in [0, 1]; at most 64 are looked at. They are resized to
            what the model demands.
        labels: (N,) classes of the images.
        classes: Names, in the data's order.
        model: As `load` gives it, whatever it is fed; loaded here if None.

    Returns:
        A row for each way to feed the model: `preprocess`, `bgr`, `given` (it is the way that was
        given), `accuracy`, `confidence` (mean of the largest probability), `balanced` (accuracy),
        `reordered` (balanced accuracy, were the classes in the order that fits best), `majority`
        (share of the most frequent label), `note` (where that order looks like the true one).

    Raises:
        UserError: No images, or a model that cannot be loaded.
    """
    if not len(images):
        raise UserError("diagnosis: no images; expected some of every class, with their labels")
    images, labels = np.asarray(images[:MOST], np.float32), np.asarray(labels[:MOST])
    # The front is put on here; any row will do to load what is behind it.
    model = model or adopting.load(
        dataclasses.replace(adopted, preprocess="unit", bgr=False), classes=classes
    )
    size, channels = model.input_shape[1], adopting.told(model).channels
    if size and images.shape[1:3] != (size, size):
        images = tf.image.resize(images, (size, size), antialias=True).numpy()
    behind = keras.Model(model.get_layer("preprocessing").output, model.output)
    majority = float(np.bincount(labels).max() / len(labels))
    rows = []
    for name, bgr in _ways(channels, adopted):
        front = preprocessing.layer(name, bgr=bgr, channels=channels)
        logits = behind.predict(front(images), batch_size=16, verbose=0)
        given = name == adopted.preprocess and bgr == adopted.bgr
        judged = _judged(logits, labels, classes, adopted)
        rows.append(
            {"preprocess": name, "bgr": bgr, "given": given, "majority": majority, **judged}
        )
    order = ["accuracy", "balanced", "confidence"]
    return pd.DataFrame(rows).sort_values(order, ascending=False, ignore_index=True)


def said(table: pd.DataFrame) -> list[str]:
    """The table in lines for people, and what it may mean."""
    lines = [
        f"diagnosis on at most {MOST} images: a row chosen here by their labels is no measurement, "
        "it flatters the model; look for what the model was trained on",
        "preprocess      channels  accuracy  confidence  other order",
    ]
    for row in table.itertuples():
        channels = "BGR" if row.bgr or preprocessing.row_of(row.preprocess).bgr else "RGB"
        lines.append(
            f"{row.preprocess:<15} {channels:<9} {row.accuracy:8.2f}  {row.confidence:10.2f}  "
            f"{row.reordered:11.2f}{'  <- as given' if row.given else ''}"
        )
    return [*lines, *_concluded(table)]


def doubt(table: pd.DataFrame, far: float = FAR) -> str:
    """That another way fits clearly better than the one that was given; empty where none does."""
    best, given = table.iloc[0], table[table.given]
    if not len(given) or best.accuracy - given.accuracy.iloc[0] <= far:
        return ""
    return (
        f"as given ({_way(given.iloc[0])}) accuracy is {given.accuracy.iloc[0]:.2f}, but "
        f"{best.accuracy:.2f} by {_way(best)}: was the model trained on that?"
    )


def _concluded(table: pd.DataFrame) -> list[str]:
    """What the table says of the way that was given, and of the order of the classes."""
    best, lines = table.iloc[0], []
    alike = int((table.accuracy == best.accuracy).sum())
    if alike > 1 and best.accuracy > best.majority:
        lines.append(
            f"the first {alike} rows are equally right: these images do not tell them apart"
        )
    if doubted := doubt(table):
        lines.append(doubted)
    # Where red and blue exchanged is an order of classes, too: RGB is the likelier.
    most = table.sort_values(["reordered", "bgr"], ascending=[False, True]).iloc[0]
    if most.note and most.reordered > best.balanced + class_order.GAIN:
        lines.append(f"with {_way(most)}, {most.note}")
    elif best.accuracy <= best.majority:
        lines.append(
            f"no row is right more often than naming one class for all ({best.majority:.2f}): a "
            "preprocessing that is not among them (mean/deviation), other classes, or other images"
        )
    return lines


def _way(row: Any) -> str:
    return f"--preprocess {row.preprocess}" + (" --bgr" if row.bgr else "")


def _ways(channels: int, adopted: config.Adopted) -> Iterator[tuple[str, bool]]:
    """What was given and all rows, and whether blue comes first, none twice."""
    done: list[object] = []
    known = (
        {adopted.preprocess: preprocessing.row_of(adopted.preprocess)} if adopted.preprocess else {}
    )
    for bgr in (adopted.bgr, not adopted.bgr) if channels == 3 else (False,):
        for name, row in {**known, **PREPROCESSING}.items():
            if channels == 1 and len(row.scale + row.offset) > 2:
                continue
            fed = row.scale, row.offset, row.bgr or bgr
            if fed not in done:
                done.append(fed)
                yield name, bgr


def _judged(
    logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], adopted: config.Adopted
) -> dict[str, object]:
    predictions = task.predict(logits)
    confusion = np.zeros((len(classes),) * 2, np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    balanced, reordered = class_order.best_order(confusion)
    largest = tf.nn.softmax(logits).numpy().max(axis=1)
    return {
        "accuracy": float((predictions == labels).mean()),
        "balanced": balanced,
        "confidence": float(largest.mean()),
        "reordered": reordered,
        "note": class_order.order_note(confusion, classes, adopted.classes),
    }
