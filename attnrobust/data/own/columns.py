"""Which column of a stranger's table is what: by usual names, or as the options say."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from attnrobust.data import raw, tables
from attnrobust.errors import UserError

SUFFIXES = (".csv", ".tsv", ".tab")
# Usual names, the surer ones first, as `_plain` writes them.
ALIASES: Mapping[str, Sequence[str]] = {
    "file": (
        *("file", "file_name", "filename", "image", "image_id", "image_name", "imagename", "img"),
        *("path", "image_path", "img_path", "filepath", "file_path", "image_index", "isic_id"),
        *("id_code", "img_name", "img_id", "sample", "id"),
    ),
    "label": (
        *("label", "labels", "class", "class_name", "dx", "diagnosis", "target", "level"),
        *("grade", "category", "finding", "finding_labels", "classes"),
    ),
    "group": (
        *("group", "patient", "patient_id", "patientid", "subject", "subject_id", "case_id"),
        *("lesion", "lesion_id"),
    ),
    "split": ("split", "partition", "set", "usage", "subset", "fold"),
    "mask": ("mask", "mask_path", "mask_file", "mask_name"),
}


@dataclass(frozen=True)
class Columns:
    """Names of columns; empty: looked for.

    Attributes:
        file: Of the image.
        label: Of the class; several with commas between them: one for each class, of 0 and 1.
        group: Of the patient or lesion.
        split: Of the split.
        mask: Of the mask.
    """

    file: str = ""
    label: str = ""
    group: str = ""
    split: str = ""
    mask: str = ""


def header(path: Path) -> list[str]:
    """Names of a table's columns, or of the keys in a JSONL's first line.

    Raises:
        UserError: Not text in UTF-8, or not JSON.
    """
    if path.suffix.lower() == ".jsonl":
        return list(_json(path).columns)
    first = next((line for line in tables.read_text(path).split("\n") if line.strip()), "")
    tabs = first.count("\t") > first.count(",")
    try:
        fields = next(csv.reader([first], delimiter="\t" if tabs else ","), [])
    except csv.Error as error:
        raise UserError(f"{path}: not a readable CSV (header: {error})") from None
    return [" ".join(name.split()) for name in fields if name.strip()]


def open_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """A table as text, by the line that an editor shows, as `raw.read_table` reads it.

    Rows shorter than the header stand in `attrs["short"]` with the reason, and not in it.

    Raises:
        UserError: As there.
    """
    if path.suffix.lower() == ".jsonl":
        return _json(path)
    found = raw.read_table(path, needed)
    short = found.attrs["short"]
    found.index += 2
    found = found.drop(list(short))
    found.attrs["short"] = short
    return found


def _json(path: Path) -> pd.DataFrame:
    rows, lines = [], []
    for number, line in enumerate(tables.read_text(path, "JSONL").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once, parse_constant=lambda _: None)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: line {number}: not usable JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}: line {number}: expected an object, {{…}}")
        rows.append({str(key): _text(value) for key, value in row.items()})
        lines.append(number)
    if not rows:
        raise UserError(f"{path}: no rows")
    found = pd.DataFrame(rows, index=lines, dtype=object).fillna("")
    found.attrs["short"] = {}
    return found


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON; json takes the last of two values of one key, which is a guess."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)} stands twice")
    return found


def _text(value: object) -> str:
    if isinstance(value, list):
        return "|".join(_text(each) for each in value)
    return "" if value is None else str(value).strip()


def chosen(path: Path, names: Sequence[str], asked: Columns) -> Columns:
    """The columns of a table, empty where there is none of a kind.

    Raises:
        UserError: One that is asked for is not there.
    """
    plain = {_plain(name): name for name in reversed(names)}
    found = {}
    for kind, aliases in ALIASES.items():
        word = getattr(asked, kind)
        words = [word] if _plain(word) in plain else word.split(",")
        missing = [each for each in words if word and _plain(each) not in plain]
        if missing:
            raise UserError(
                f"--{kind}-column {word}: {path} has no column {missing[0].strip()}; it has "
                f"{', '.join(names)}"
            )
        known = words if word else [alias for alias in aliases if alias in plain][:1]
        found[kind] = ",".join(plain[_plain(each)] for each in known)
    return Columns(**found)


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
