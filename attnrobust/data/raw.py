"""Folders and CSV files to rows.

An id or path from a CSV is never turned into a file path: images are found by listing the data
folder and looking the id up in that list.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pandas as pd

from attnrobust.data import places, tables
from attnrobust.data.images import UnusableImageError, load_image
from attnrobust.errors import UserError

# Images are one module further, but everyone asks for them here.
__all__ = ["UnusableImageError", "load_image"]

log = logging.getLogger("attnrobust")

SPLITS = ("train", "validation", "test")
SAFE_ID = re.compile(r"[A-Za-z0-9_@(][A-Za-z0-9 ._@()-]*")
WHOLE = re.compile(r"\+?[0-9]+(\.[0-9]*)?(e\+?[0-9]{1,2})?", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One usable line of a data set's table.

    Attributes:
        id: Name of the image, unique in the data set.
        path: Its file.
        label: Class name.
        group: What must not be torn apart by a split (lesion or patient); a number is kept as
            `whole_number` writes it, so that no reader can make three patients of one.
        line: Line in the CSV, the header being line 1.
        mask: File of the region mask, if there is one.
        split: Split that the data set itself puts the row in; empty where it leaves that open.
    """

    id: str
    path: Path
    label: str
    group: str
    line: int
    mask: Path | None = None
    split: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", whole_number(self.group))


@dataclass(frozen=True)
class Reject:
    """One line of the table that cannot be used, and why; `missing`: it has no image file."""

    line: int
    id: str
    reason: str
    missing: bool = False


def whole_number(text: str) -> str:
    """A whole number in one spelling: `7` for 7, 7.0, 7., 007, +7 and 7e0; other text as it is.

    Spreadsheets and pandas write whole numbers as floats where a column has a gap, and drop or
    add leading zeros.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    found = WHOLE.fullmatch(plain)
    if not found:
        return plain
    number = Decimal(plain)
    return str(int(number)) if number == number.to_integral_value() else plain


def read_table(
    path: Path, columns: Sequence[str], *, instead: Mapping[str, Sequence[str]] | None = None,
    prose: Sequence[str] = (),
) -> pd.DataFrame:  # fmt: skip
    """A CSV as text columns, stripped, empty where nothing stands; blank lines are left out.

    The index is the line in an editor less 2, so that the line below the header is 0. Rows shorter
    than the header stand in it with empty ends: `open_table` rejects them.

    Args:
        path: Of the file.
        columns: What must be there.
        instead: Other names of some of them, taken where the first is not there.
        prose: Those of them that may have line breaks inside quotes.

    Raises:
        UserError: As `tables.parse` says, in one line; or the file is missing.
    """
    others = instead or {}
    names = [(column, *others.get(column, ())) for column in columns]
    try:
        found = tables.parse(path, names, prose)
    except FileNotFoundError:
        raise UserError(f"{path}: not there; expected a CSV with {', '.join(columns)}") from None
    header = list(found.header)
    for column, *more in names:
        if column not in header:
            header[header.index(next(name for name in more if name in header))] = column
    table = pd.DataFrame(
        {
            name: [record.fields[place].strip() for record in found.records]
            for place, name in enumerate(header)
            if name
        },
        index=[record.line - 2 for record in found.records],
        dtype=str,
    )
    table.attrs["short"] = found.short
    return table


def open_table(
    folder: Path, names: Sequence[str], columns: Sequence[str], *, id_: str,
    instead: Mapping[str, Sequence[str]] | None = None, prose: Sequence[str] = (),
) -> tuple[pd.DataFrame, list[Reject]]:  # fmt: skip
    """A raw folder's table, and rejects for the rows that are shorter than its header.

    Args:
        folder: The raw folder.
        names: Of the table, as it is distributed; the first that is there is read.
        columns: What must be there.
        id_: The column that names the image.
        instead: Other names of some columns.
        prose: Needed columns that may have line breaks inside quotes.

    Raises:
        UserError: As `places.table` and `read_table` say.
    """
    path = places.table(folder, names, columns)
    table = read_table(path, columns, instead=instead, prose=prose)
    short = table.attrs["short"]
    rejects = [Reject(line, table[id_][line - 2], reason) for line, reason in short.items()]
    return table.drop([line - 2 for line in short]), rejects


def bare_ids(names: Iterable[str], suffixes: Sequence[str]) -> list[str]:
    """Names of images without a known suffix, in whatever case."""
    return [
        stem if suffix.lower() in suffixes else name
        for name in names
        for stem, suffix in [os.path.splitext(name)]
    ]


def images_in(folder: Path, names: Sequence[str], suffixes: Sequence[str]) -> dict[str, Path]:
    """Image files by name without suffix, from the named folders, in other case or nested too.

    Raises:
        UserError: None there (the message says where there are some), or two of one name.
    """
    where = places.folders(folder, names, suffixes)
    hint = "" if any(map(Path.is_dir, where)) and _any_image(where, suffixes) else \
        places.elsewhere(folder, suffixes)  # fmt: skip
    if hint:
        listed = ", ".join(map(str, where))
        raise UserError(f"no {' or '.join(suffixes)} image in {listed}{hint}")
    return index_images(where, suffixes)


def _any_image(where: Sequence[Path], suffixes: Sequence[str]) -> bool:
    return any(name.lower().endswith(tuple(suffixes))
               for folder in where if folder.is_dir() for name in places.files(folder))  # fmt: skip


def index_images(folders: Iterable[Path], suffixes: Sequence[str]) -> dict[str, Path]:
    """Image files by name without suffix, from the folders that exist, not below them.

    Raises:
        UserError: None of the folders holds such a file, or two files have the same name.
    """
    found: dict[str, Path] = {}
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            continue
        for name in places.files(folder):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in suffixes:
                continue
            if stem in found:
                raise UserError(f"{folder / name}: a second file for {stem}, besides {found[stem]}")
            found[stem] = folder / name
    if not found:
        listed = ", ".join(str(folder) for folder in folders)
        raise UserError(f"no {' or '.join(suffixes)} image in {listed}")
    return found


def find_images(
    ids: Sequence[str], lines: Sequence[int], images: Mapping[str, Path]
) -> tuple[dict[int, Path], list[Reject]]:
    """Each line's image file; lines with an unsafe, doubled or unknown id are rejected.

    Of doubled ids none is kept: nothing tells which line is the right one.
    """
    paths: dict[int, Path] = {}
    rejects = []
    seen: dict[str, list[int]] = {}
    for line, id_ in zip(lines, ids, strict=True):
        seen.setdefault(id_, []).append(line)
    for line, id_ in zip(lines, ids, strict=True):
        if not SAFE_ID.fullmatch(id_):
            rejects.append(
                Reject(line, id_, "unsafe id: letters, digits, space . _ - @ ( ) expected")
            )
        elif len(seen[id_]) > 1:
            rejects.append(Reject(line, id_, f"id stands in lines {line_words(seen[id_])}"))
        elif id_ not in images:
            rejects.append(Reject(line, id_, "no image file of this name", missing=True))
        else:
            paths[line] = images[id_]
    unnamed = len(images.keys() - set(ids))
    if unnamed:
        log.info("%d image files have no row in the table; left out", unnamed)
    return paths, rejects


def line_words(numbers: Sequence[int]) -> str:
    """Line numbers for a message: '4, 5'."""
    return ", ".join(str(number) for number in numbers)


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes; empty string where it cannot be read (found out later)."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
