"""RECORDS: a data set as TFRecord shards + dataset.json + rejects.csv on disk."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnrobust import config
from attnrobust.data.raw import SPLITS
from attnrobust.disk import folders, runs, schemas
from attnrobust.errors import UserError

# What dataset.json names; records of before there was a name have the number 1.
FORMAT = folders.named("records")
FORMER = 1
# What dataset.json calls the rows of task.TASKS.
SEGMENTATION = "segmentation"
KINDS = {"classification": "classify", SEGMENTATION: "segment"}


@dataclass(frozen=True)
class Task:
    """Other classes for stored labels.

    Attributes:
        classes: Class names in label order.
        of: For each stored label its label in this task.
    """

    classes: Sequence[str]
    of: Sequence[int]


@dataclass(frozen=True)
class Dataset:
    """Records on disk, as `dataset.json` describes them.

    Attributes:
        root: Folder of the shards.
        name: Of the data set.
        classes: Class names in label order.
        size: Height and width of the stored images (0: each its own).
        splits: For each split `count`, `class_counts` and `shards` (file, count, bytes, sha256).
        hash: Digest of everything above but the place.
        tasks: What else the labels may stand for, by name.
        label_map: For each stored label the one that is read (empty: the stored one).
        members: For a split that is a part of what its shards hold: for each example there, in
            record order, whether it belongs to the split.
        corrupted: How the images were corrupted, as `data/corrupted.py` says; empty: not at all.
        filter: Row of FILTERS that was put on the images before they were stored.
        kind: What a label is: row of task.TASKS. Of images to be segmented, `class_counts` says
            how many show each class.
        sides: Of slices of scans, by subject, a stored one's side in mm; empty: not known.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    size: int
    splits: Mapping[str, Any]
    hash: str
    tasks: Mapping[str, Task] = dataclasses.field(default_factory=dict)
    label_map: tuple[int, ...] = ()
    members: Mapping[str, tuple[bool, ...]] = dataclasses.field(default_factory=dict)
    corrupted: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    filter: str = "none"
    kind: str = "classify"
    sides: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def files(self, split: str) -> list[str]:
        """Paths of a split's shards, in order."""
        return [str(self.root / shard["file"]) for shard in self.splits[split]["shards"]]

    def sides_of(self, ids: Sequence[str]) -> list[float]:
        """Sides of stored images in mm, by ids `<subject>-<number>`; empty where one is not known.

        Not by group: one may hold several subjects, and spells a number in its own way.
        """
        subjects = [id_.rsplit("-", 1)[0] for id_ in ids]
        known = self.sides.keys() >= set(subjects)
        return [self.sides[subject] for subject in subjects] if known else []

    def count(self, split: str) -> int:
        """Number of a split's examples."""
        return int(self.splits[split]["count"])

    def as_task(self, name: str) -> Dataset:
        """The same examples with the classes of one of `tasks`; itself for an empty name.

        Raises:
            UserError: No such task; the message lists the known ones.
        """
        if not name:
            return self
        if not self.tasks:
            raise UserError(f"no task '{name}'; {self.name} has none beside its own classes")
        task = config.lookup("task", self.tasks, name)
        splits = {}
        for split, described in self.splits.items():
            counts = dict.fromkeys(task.classes, 0)
            for stored, label in zip(self.classes, task.of, strict=True):
                counts[task.classes[label]] += described["class_counts"][stored]
            splits[split] = {**described, "class_counts": counts}
        return dataclasses.replace(
            self,
            classes=tuple(task.classes),
            splits=splits,
            tasks={},
            label_map=tuple(task.of),
            hash=runs.digest(self.hash, name),
        )


def require(root: Path) -> None:
    """Raise a UserError that says how records are made, unless there are some in the folder."""
    if not (root / "dataset.json").is_file():
        raise UserError(
            f"{root}: no records there (dataset.json is missing); make them with "
            f"attnrobust prepare DATASET --raw DIR --out {root}"
        )


def load(root: Path) -> Dataset:
    """The records in a folder.

    Raises:
        UserError: No records there, another format, or a shard that is missing or half-written.
    """
    require(root)
    described = described_in(root)
    for split in SPLITS:
        for shard in described["splits"][split]["shards"]:
            file = root / shard["file"]
            if file.resolve().parent != root.resolve():
                raise UserError(
                    f"{file}: a link to {file.resolve()}; expected the file itself, "
                    "or a link to the folder of all shards"
                )
            size = file.stat().st_size if file.is_file() else None
            if size != shard["bytes"]:
                found = "missing" if size is None else f"{size:,} bytes"
                raise UserError(
                    f"{file}: {found}, expected {shard['bytes']:,} bytes; make the records anew"
                )
    return Dataset(
        root=root,
        name=described["name"],
        classes=tuple(described["classes"]),
        size=described["size"],
        splits=described["splits"],
        hash=described["hash"],
        tasks={name: Task(**task) for name, task in described.get("tasks", {}).items()},
        corrupted=described.get("corrupted", {}),
        filter=described.get("filter", "none"),
        kind=KINDS[described.get("task", "classification")],
        sides={name: each["side"] for name, each in described.get("volumes", {}).items()},
    )


def described_in(root: Path) -> dict[str, Any]:
    """What the `dataset.json` in a folder says, checked; the shards are not looked at.

    Raises:
        UserError: Not there, not ours, or damaged.
    """
    path = root / "dataset.json"
    described = runs.load_json(path, "make them anew")
    found = described.get("format") if isinstance(described, dict) else None
    if found not in (FORMAT, FORMER):
        raise UserError(
            f"{path}: format {found}, expected {FORMER} or {FORMAT}; make anew, "
            "elsewhere if it is another program's"
        )
    return schemas.records(described, path)


def digest(described: Mapping[str, Any]) -> str:
    """The hash of records; that of equal ones of before the format had a name."""
    return runs.digest({**described, "format": FORMER})


def verify(dataset: Dataset) -> None:
    """Read every shard, compare it with its checksum, and count its examples.

    Raises:
        UserError: The first shard whose content has changed, or that was damaged before.
    """
    import tensorflow as tf

    for split in SPLITS:
        for shard in dataset.splits[split]["shards"]:
            file = dataset.root / shard["file"]
            if hashlib.sha256(file.read_bytes()).hexdigest() != shard["sha256"]:
                raise UserError(f"{file}: damaged (checksum differs); make the records anew")
            try:
                number = sum(1 for _ in tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
            except tf.errors.DataLossError:
                raise schemas.damaged(file, "not TFRecord", "make the records anew") from None
            if number != shard["count"]:
                raise schemas.damaged(
                    file,
                    f"{number:,} examples, expected {shard['count']:,}",
                    "make the records anew",
                )
