"""What must be in the files that stages leave for each other: one schema for each kind of file.

Settings are `config.from_json`'s; all else that is read back from a run or from records comes
through here, so that whatever is damaged ends in one line that names the file.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct

from attnrobust import files
from attnrobust.errors import UserError
from attnrobust.files import AGAIN

if TYPE_CHECKING:
    import pandas as pd

Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
# No half of a sign, which JSON can hold and nothing can draw.
Word = Annotated[str, Meta(pattern=r"^[^\ud800-\udfff]+\Z")]
Names = Annotated[list[Word], Meta(min_length=1)]
# Where another run stands below the folder of the data set's runs: never further up.
Below = Annotated[str, Meta(pattern=r"^(?!.*(^|/)\.\.(/|$))[^/]")]
SHARD = r"(train|validation|test)-\d{5}-of-\d{5}\.tfrecord"


class Surrogate(Struct):
    """Another run whose adversarials an attack's check takes."""

    run: Below
    weights: str = ""


class Used(Struct):
    """What a stage was made with."""

    data: dict[str, Any] = {}
    model: dict[str, Any] = {}
    training: dict[str, Any] = {}
    corruptions: dict[str, Any] = {}
    attack: dict[str, Any] = {}
    checks: dict[str, Any] = {}
    explanation: dict[str, Any] = {}


class Stamp(Struct):
    """`stage.json`."""

    used: Used
    inputs: str
    finished: bool
    seconds: Annotated[float, Meta(ge=0, le=1e12)] = 0
    version: Count = 1
    began: Annotated[float, Meta(ge=0, le=1e12)] = 0
    started: str = ""
    again: list[str] = []
    files: list[str] = []
    beside: list[str] = []
    norm: str = ""
    command: str = ""
    weights: str | None = None
    surrogate: Surrogate | None = None


class Part(Struct):
    """Of a split, its examples."""

    count: Count
    class_counts: dict[str, Count]


class Corrupted(Struct):
    """How records were corrupted."""

    corruptions: list[str] = []
    levels: list[int] = []
    splits: list[str] = []
    oversampled: bool = False


class Learned(Struct):
    """The records that a run learned from."""

    classes: Names
    splits: dict[str, Part] = {}
    corrupted: Corrupted = msgspec.field(default_factory=Corrupted)


class Provenance(Struct):
    """`provenance.json`; those of long ago hold less."""

    dataset: Learned | None = None
    parameters: Count | None = None
    attention_parameters: Count | None = None
    input_scale: Positive | None = None
    devices: list[str] = []
    packages: dict[str, str] = {}


class Check(Struct):
    """One sanity check of an attack."""

    name: str
    title: str
    status: Literal["warn", "note", "pass"]
    said: str
    meaning: str


class Checks(Struct):
    """`checks.json`."""

    epsilon: Annotated[float, Meta(ge=0, le=1e9)]
    images: Count
    checks: list[Check]


class Shard(Struct):
    """One file of records."""

    file: Annotated[str, Meta(pattern=rf"^{SHARD}\Z")]
    count: Count
    bytes: Count
    sha256: str


class Split(Part):
    """A split of records."""

    shards: list[Shard]


class Splits(Struct):
    """The splits of records."""

    train: Split
    validation: Split
    test: Split


class Task(Struct):
    """What else labels may stand for."""

    classes: Names
    of: list[Count]


class Records(Struct):
    """`dataset.json`."""

    name: Word
    classes: Names
    size: Count
    splits: Splits
    hash: Word
    tasks: dict[str, Task] = {}
    corrupted: Corrupted = msgspec.field(default_factory=Corrupted)
    filter: str = "none"


class Reject(Struct):
    """A row of which no record was made."""

    line: int
    id: str
    reason: str


class Written(Shard):
    """`parts/<shard>.json` of records that are being written."""

    class_counts: dict[str, Count]
    rejects: list[Reject]
    converted: dict[str, Count]
    fingerprints: dict[str, str]
    discs: dict[str, tuple[float, float, float, float, str]]
    clipped: Annotated[float, Meta(ge=0)]


class Epoch(Struct):
    """A row of `history.jsonl`; all else in it are numbers, too."""

    epoch: Annotated[int, Meta(ge=1, le=2**53)]


class Progress(Struct):
    """What a training that was cut off goes on from, beside its arrays."""

    history: list[dict[str, float]]
    best: float
    wait: Count


def damaged(path: Path, reason: object, again: str = AGAIN) -> UserError:
    """The error for a file that is not what its stage has written."""
    return UserError(f"{path}: damaged ({' '.join(str(reason).split())}); {again}")


def checked(value: Any, kind: type, path: Path, again: str = AGAIN) -> Any:
    """The value, as it is, if it is of this kind (a Struct, or any type that msgspec knows).

    Raises:
        UserError: It is not; what is wrong where, and `again`, which says what to do.
    """
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise damaged(path, error, again) from None
    return value


def load_json(path: Path, kind: type, again: str = AGAIN) -> Any:
    """A JSON file of this kind, as plain values; keys that the kind does not name stay.

    Raises:
        UserError: Not there, or damaged.
    """
    return checked(files.load_json(path, again), kind, path, again)


def records(described: Any, path: Path) -> dict[str, Any]:
    """A `dataset.json`, checked, that its parts go together included.

    Raises:
        UserError: Damaged.
    """
    again = "make them anew, elsewhere if it is another program's"
    found: dict[str, Any] = checked(described, Records, path, again)
    classes = found["classes"]
    names = [shard["file"] for split in found["splits"].values() for shard in split["shards"]]
    for split, part in found["splits"].items():
        counts = part["class_counts"]
        if counts.keys() != set(classes) or sum(counts.values()) != part["count"]:
            raise damaged(path, f"splits.{split}.class_counts: not of its classes or count", again)
        if sum(shard["count"] for shard in part["shards"]) != part["count"]:
            raise damaged(path, f"splits.{split}.shards: not of its count", again)
    if len(set(classes)) != len(classes) or len(set(names)) != len(names):
        raise damaged(path, "a class or a shard twice", again)
    for name, task in found.get("tasks", {}).items():
        if len(task["of"]) != len(classes) or max(task["of"]) >= len(task["classes"]):
            raise damaged(path, f"tasks.{name}.of: not a class of it for each label", again)
    return found


def load_history(path: Path, again: str = "run 'train' again") -> list[dict[str, float]]:
    """The rows of a `history.jsonl`, in the order of the file; NaN and infinity are numbers.

    Raises:
        UserError: Not there, or damaged; the line is named.
    """
    rows = []
    for number, line in enumerate(files.load_text(path, again).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            msgspec.convert(row, Epoch)
            rows.append(msgspec.convert(row, dict[str, float]))
        except (ValueError, RecursionError, msgspec.ValidationError) as error:
            raise damaged(path, f"line {number}: not a history row: {error}", again) from None
    return rows


# Of each array its kind, then its shape: a letter stands for one length in all arrays of a file.
# Kinds are those of NumPy (U text, i whole, f real and finite, b truth), and p, a pixel in [0, 1].
# A "?" behind the name: it may be missing.
Arrays = Mapping[str, str]
SEEN: Arrays = {"group?": "U N", "label": "i N", "logits": "f N K"}
PREDICTED: Arrays = {"id": "U N", **SEEN}
SHOWN: Arrays = {"id": "U N", "label": "i N", "sample_id": "U S", "sample_image": "p S H W 3"}
MEASURED: Arrays = {**PREDICTED, "linf": "f N", "l2?": "f N", "l0?": "f N"}
ATTACKED: Arrays = {**MEASURED, "queries?": "i N", **SHOWN, "sample_mask?": "b S H W"}
EXPLAINED: Arrays = {"id": "U N", "heatmap": "f N H W", "target?": "i N", "prediction?": "i N"}


def judged(names: Sequence[str]) -> Arrays:
    """The kind of files that `transfer` writes: what these models see."""
    logits = {f"logits-{name}": "f N K" for name in names}
    return {"group?": "U N", "label": "i N", **logits}


KINDS = {"U": "U", "i": "iu", "f": "f", "b": "b", "p": "f"}


def load_npz(path: Path, kind: Arrays, again: str = "") -> dict[str, np.ndarray]:
    """A .npz of this kind, whole; arrays that the kind does not name stay.

    Raises:
        UserError: Not there, or damaged: an array missing, of another type or shape or without
            rows, a number that is not finite, a label that is no class, an id twice.
    """
    again = again or f"delete it and {AGAIN}"
    arrays = files.load_npz(path, again)
    lengths: dict[str, int] = {}
    for each, said in kind.items():
        name, (type_, *shape) = each.removesuffix("?"), said.split()
        if name in arrays:
            wrong = _wrong(arrays[name], type_, shape, lengths)
        else:
            wrong = "" if each.endswith("?") else f"no {name} in it"
        if wrong:
            raise damaged(path, wrong if name not in arrays else f"{name}: {wrong}", again)
    for name in ("id", "sample_id"):
        if name in arrays and len(np.unique(arrays[name])) < len(arrays[name]):
            raise damaged(path, f"{name}: one comes twice", again)
    label, classes = arrays.get("label"), lengths.get("K", 0)
    if label is not None and "K" in lengths and not ((label >= 0) & (label < classes)).all():
        raise damaged(path, f"label: expected 0 to {classes - 1}", again)
    if "sample_id" in kind and not np.isin(arrays["sample_id"], arrays["id"]).all():
        raise damaged(path, "sample_id: one is not among the ids", again)
    return arrays


def _wrong(array: np.ndarray, type_: str, shape: Sequence[str], lengths: dict[str, int]) -> str:
    """What is wrong with an array; empty for nothing. Takes down the lengths it stands for."""
    if array.dtype.kind not in KINDS[type_]:
        return f"{array.dtype}, expected another type"
    expected = [int(side) if side.isdigit() else lengths.get(side) for side in shape]
    alike = len(shape) == array.ndim and all(
        length >= 1 if side is None else length == side
        for length, side in zip(array.shape, expected, strict=True)
    )
    if not alike:
        sides = ", ".join(side if at is None else str(at)
                          for side, at in zip(shape, expected, strict=True))  # fmt: skip
        return f"shape {array.shape}, expected ({sides})"
    lengths.update(zip(shape, array.shape, strict=True))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "not finite"
    if type_ == "p" and not (array.min() >= 0 and array.max() <= 1):
        return "expected values in [0, 1]"
    return ""


class Columns(NamedTuple):
    """A kind of table: names of its columns of text, and of its numbers with what each must be."""

    text: tuple[str, ...]
    numbers: Mapping[str, Callable[[float], bool]]


def _whole(number: float) -> bool:
    return number.is_integer() and abs(number) < 2**53


def _finite(number: float) -> bool:
    return math.isfinite(number)


def _radius(number: float) -> bool:
    return 0 <= number < math.inf


_measured = {"seed": _whole, "level": _radius, "value": _finite, "low": _finite, "high": _finite,
           "n": _whole}  # fmt: skip
MEASUREMENTS = Columns(("dataset", "experiment", "split", "condition", "name", "metric"), _measured)
COMPARISON = Columns(
    ("dataset", "experiment", "method", "condition", "name", "subset", "metric"),
    {**_measured, "left_out": _whole},
)


def load_table(path: Path, kind: Columns, *, stage: str) -> pd.DataFrame:
    """A table that a stage wrote: text as it stands, numbers as floats, NaN where empty.

    Raises:
        UserError: Not there, or damaged; line and column are named.
    """
    import pandas as pd

    again = f"run '{stage}' again"
    text = files.load_text(path, again)
    try:
        lines = list(filter(None, csv.reader(io.StringIO(text, newline=""), strict=True)))
    except csv.Error as error:
        raise damaged(path, error, again) from None
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    missing = [name for name in (*kind.text, *kind.numbers) if name not in header]
    if missing or len(set(header)) < len(header):
        raise damaged(path, f"no column {', '.join(missing)}" if missing else "a column twice",
                      again)  # fmt: skip
    if uneven := next((row for row in rows if len(row) != len(header)), None):
        raise damaged(path, f"row {rows.index(uneven) + 1}: {len(uneven)} fields, expected "
                      f"{len(header)}", again)  # fmt: skip
    columns: dict[str, list[Any]] = {
        name: [row[place] for row in rows] for place, name in enumerate(header)
    }
    for name, right in kind.numbers.items():
        columns[name] = [_number(cell, right) for cell in columns[name]]
        if None in columns[name]:
            row = columns[name].index(None)
            raise damaged(path, f"row {row + 1}, {name}: '{rows[row][header.index(name)]}'", again)
    return pd.DataFrame(columns)


def _number(cell: str, right: Callable[[float], bool]) -> float | None:
    """NaN for an empty cell, None for one that is not as it must be."""
    if cell in ("", "nan"):
        return math.nan
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if right(number) else None
