"""JSON files and lines, read and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from attnrobust.disk import files
from attnrobust.disk.files import AGAIN
from attnrobust.disk.schemas.kinds import Epoch, Records
from attnrobust.errors import UserError


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
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # JSON can hold half a sign.
        raise damaged(path, error, again) from None
    return value


def load_json(path: Path, kind: type, again: str = AGAIN) -> Any:
    """A JSON file of this kind, as plain values; keys that the kind does not name stay.

    Raises:
        UserError: Not there, or damaged.
    """
    return checked(files.load_json(path, again), kind, path, again)


def load_records(path: Path) -> dict[str, Any]:
    """A `dataset.json` from its file.

    Raises:
        UserError: Damaged.
    """
    return records(files.load_json(path, AGAIN), path)


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
        each = found.get("task") == "segmentation"
        total = max(counts.values(), default=0) if each else sum(counts.values())
        short = total < part["count"] and not each
        if counts.keys() != set(classes) or total > part["count"] or short:
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
        except (ValueError, RecursionError, SystemError, msgspec.ValidationError) as error:
            # SystemError: msgspec's, of a whole number that no float can hold.
            raise damaged(path, f"line {number}: not a history row: {error}", again) from None
    return rows
