"""The first look at a given model: what it makes of clean images, before anything attacks it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import confusion_matrix

from attnrobust.disk import schemas
from attnrobust.errors import UserError
from attnrobust.stages.context import Context

if TYPE_CHECKING:
    import pandas as pd
    from tensorflow import keras

log = logging.getLogger("attnrobust")

# At most so many images are shown to the ways of preprocessing that a diagnosis tries.
DIAGNOSED = 64
# Another way of preparing them is worth a word from this gain in accuracy on.
FAR = 0.1


def diagnose(context: Context) -> str:
    """Try every known preprocessing on some images and print what came out; the words of the best.

    Raises:
        UserError: The model cannot be loaded, or the records hold no test images.
    """
    from attnrobust.models import adopted

    table = _diagnosed(context)
    for line in adopted.said(table):
        log.info("%s", line)
    best = table[table["accuracy"] == table["accuracy"].max()]
    return " or ".join(
        f"--preprocess {row.preprocess}{' --bgr' if row.bgr else ''}" for row in best.itertuples()
    )


def _diagnosed(context: Context, model: keras.Model | None = None) -> pd.DataFrame:
    """The table of `adopted.diagnose` on some test images."""
    from attnrobust.data import inputs
    from attnrobust.models import adopted

    dataset, data = context.dataset(), context.experiment.data
    number = inputs.count(dataset, "test", data.limit)
    rng = np.random.default_rng(context.experiment.seed)
    chosen = np.isin(np.arange(number), rng.permutation(number)[:DIAGNOSED])
    batches = inputs.evaluation_batches(
        dataset, "test", data=data, batch_size=DIAGNOSED, chosen=chosen
    )
    examples = next(batches.as_numpy_iterator())
    return adopted.diagnose(
        context.experiment.adopted, examples["image"], examples["label"], dataset.classes, model
    )


def look(context: Context) -> None:
    """Print clean accuracy by class and who is taken for whom; doubt what looks wrong.

    Raises:
        UserError: Clean accuracy is not above chance.
    """
    from attnrobust.models import adopted

    dataset = context.dataset()
    found = schemas.load_npz(context.run.path("predict", "clean.npz"), schemas.PREDICTED)
    labels, said = found["label"], found["logits"].argmax(axis=1)
    counts = confusion_matrix(labels, said, labels=range(len(dataset.classes)))
    for line in confusion_lines(counts, dataset.classes):
        log.info("%s", line)
    given = context.experiment.adopted.classes
    if note := adopted.order_note(counts, dataset.classes, given):
        log.warning("warning: %s", note)
    share = adopted.saturation(context.trained(dataset).model, found["logits"])
    if share:
        log.warning(
            "warning: for %.1f %% of the images a probability has rounded to 0 or 1 (float32): a "
            "log cannot undo it, and gradient attacks on them say nothing; save the model with "
            "logits for its outputs",
            100 * share,
        )
    right, most = int(np.trace(counts)), int(counts.sum(axis=1).max())
    balanced = float(np.mean([row[i] / row.sum() for i, row in enumerate(counts) if row.sum()]))
    chance = 1 / max(1, int((counts.sum(axis=1) > 0).sum()))
    if right <= most and balanced <= 1.15 * chance:
        # Another order of the classes explains it better than other pixels would.
        why = note or (
            f"a diagnosis by their labels is best for {diagnose(context)}; --classes gives the "
            "order of the model's classes"
        )
        raise UserError(
            f"{context.experiment.adopted.file}: {right} of {len(labels)} images right, which is "
            f"not above chance (the largest class has {most}); {why}"
        )
    _doubt_preprocessing(context, right / len(labels), len(labels))


def _doubt_preprocessing(context: Context, accuracy: float, number: int) -> None:
    """Warn where images prepared in another known way are clearly more often right.

    The choice stays the user's: by the labels of test images it would flatter the model.
    """
    from attnrobust.models import adopted

    # By chance two ways differ by so much.
    far = max(FAR, 1 / np.sqrt(min(number, DIAGNOSED)))
    if not context.experiment.adopted.preprocess or 1 - accuracy <= far:
        return
    table = _diagnosed(context, context.trained(context.dataset()).model)
    if doubted := adopted.doubt(table, far):
        log.warning("warning: on %d images, %s", min(number, DIAGNOSED), doubted)


def confusion_lines(counts: np.ndarray, classes: Sequence[str]) -> list[str]:
    """The table for people, with each class's accuracy."""
    width = max(6, *(len(name) + 2 for name in classes))
    total = int(counts.sum())
    lines = [
        f"clean accuracy {np.trace(counts) / total:.3f}, {np.trace(counts)} of {total} images",
        "is \\ taken for".ljust(width)
        + "".join(name.rjust(width) for name in classes)
        + "   right",
    ]
    for name, row in zip(classes, counts, strict=True):
        share = f"{row[classes.index(name)] / row.sum():8.3f}" if row.sum() else "       -"
        lines.append(name.ljust(max(width, 14)) + "".join(str(n).rjust(width) for n in row) + share)
    return lines
