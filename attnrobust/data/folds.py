"""FOLDS: cross-validation inside the train split; a group (lesion, patient) is never torn apart.

The stored validation split joins no fold and is not used: what is chosen over folds has then seen
neither it nor the test split, and a later training on the whole train split has it for its own.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from attnrobust import keyed
from attnrobust.data import decoding, inputs, records
from attnrobust.data.records import Dataset
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.task.graph import GRAPHS


def as_fold(dataset: Dataset, folds: int, fold: int) -> Dataset:
    """The same records, one fold of their train split for validation, the others for training.

    The folds are those of the stored labels, and so the same for every task.

    Args:
        dataset: Records, whole.
        folds: At least 2.
        fold: 0 to `folds` - 1.

    Raises:
        UserError: A class of the train split has no example in one of the two parts; a damaged
            shard.
    """
    try:
        labels, groups, shown = _stored(dataset)
    except tf.errors.DataLossError:  # it names no file
        records.verify(dataset)
        raise
    fold_of = assign(labels, groups, folds)
    held_out = np.array([fold_of[group] == fold for group in groups], bool)
    splits, members = dict(dataset.splits), {}
    for split, kept in (("train", ~held_out), ("validation", held_out)):
        found = shown[kept].sum(axis=0)
        counts = dict(zip(dataset.classes, map(int, found), strict=True))
        for name, count in counts.items():
            if not count and dataset.splits["train"]["class_counts"][name]:
                raise UserError(
                    f"{dataset.root}: no {name} in the {split} part of fold {fold} of {folds}: too "
                    "few groups of it in the train split; expected fewer data.folds"
                )
        splits[split] = {
            **dataset.splits["train"],
            "count": int(kept.sum()),
            "class_counts": counts,
        }
        members[split] = tuple(map(bool, kept))
    return dataclasses.replace(
        dataset,
        splits=splits,
        members=members,
        hash=runs.digest(dataset.hash, f"fold {fold} of {folds}"),
    )


def assign(labels: Sequence[int] | np.ndarray, groups: Sequence[str], folds: int) -> dict[str, int]:
    """Each group's fold, stratified by label.

    Groups are dealt out like cards, label after label, within a label in the order of a hash of the
    group: of no label does a fold have two groups more than another, nor of all labels together. A
    group counts for the label that most of its examples have, the first of several.

    Args:
        labels: Of every example.
        groups: Of every example.
        folds: At least 2.
    """
    counts: dict[str, Counter[int]] = {}
    for label, group in zip(labels, groups, strict=True):
        counts.setdefault(group, Counter())[int(label)] += 1

    def place(group: str) -> tuple[int, bytes]:
        count = counts[group]
        most = min(count, key=lambda label: (-count[label], label))
        # Another key than the split's, whose order says which groups came into the train split.
        return most, keyed.rank("fold", group)

    return {group: card % folds for card, group in enumerate(sorted(counts, key=place))}


def _stored(dataset: Dataset) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Of the train split, in record order, no image being decoded.

    Returns:
        Stored labels (N,), all 0 for images to be segmented; groups; and of which classes each
        image is an example, (N, K).
    """
    shape = {"group": decoding.FEATURES["group"], **GRAPHS[dataset.kind].features}
    examples = decoding.serialized(dataset, "train").map(
        lambda example: tf.io.parse_single_example(example, shape)
    )
    found = list(examples.as_numpy_iterator())
    labels = np.array([each.get("label", 0) for each in found], np.int64)
    groups = [each["group"].decode() for each in found]
    return labels, groups, inputs.shown(dataset, "train")
