"""Folders and CSV files to rows.

An id or path from a CSV is never turned into a file path: images are found by listing the data
folder and looking the id up in that list.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pandas as pd

from attnrobust.data import images, places, tables
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

SPLITS = ("train", "validation", "test")
SAFE_ID = re.compile(r"[A-Za-z0-9_@(][A-Za-z0-9 ._@()-]*")
WHOLE = re.compile(r"\+?[0-9]+(\.[0-9]*)?(e\+?[0-9]{1,2})?", re.IGNORECASE)
# A decimal comma; with three digits behind it, it may be one of thousands.
COMMA = re.compile(r"(\+?[0-9]+),0{0,2}")


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
        eye: `left` or `right`, of a photograph of one where the data set tells which.
        map: File of the classes of its pixels, of a row to be segmented; its label is empty.
        values: Number in that file that stands for each class; empty: 0, 1, 2, ….
    """

    id: str
    path: Path
    label: str
    group: str
    line: int
    mask: Path | None = None
    split: str = ""
    eye: str = ""
    map: Path | None = None
    values: tuple[int, ...] = ()

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
    """A whole number in one spelling: `7` for 7, 7.0, 7,0, 007, +7 and 7e0; other text as it is.

    Spreadsheets and pandas write whole numbers as floats where a column has a gap, some with a
    comma, and drop or add leading zeros. Digits of other scripts become those of ASCII.
    """
    plain = unicodedata.normalize("NFKC", text)
    if not plain.isascii():
        # Signs that nobody sees, such as a zero width space, part no patient from himself.
        plain = "".join(sign for sign in plain if unicodedata.category(sign) != "Cf")
        plain = "".join(str(unicodedata.decimal(sign, sign)) for sign in plain)
    plain = plain.strip()
    comma = COMMA.fullmatch(plain)
    text = comma[1] if comma else plain
    if not WHOLE.fullmatch(text):
        return plain
    number = Decimal(text)
    return f"{number.to_integral_value():f}" if number == number.to_integral_value() else plain


def read_table(
    path: Path,
    columns: Sequence[str],
    *,
    instead: Mapping[str, Sequence[str]] | None = None,
    prose: Sequence[str] = (),
) -> pd.DataFrame:
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
    folder: Path,
    names: Sequence[str],
    columns: Sequence[str],
    *,
    id_: str,
    instead: Mapping[str, Sequence[str]] | None = None,
    prose: Sequence[str] = (),
) -> tuple[pd.DataFrame, list[Reject]]:
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


def bare_ids(names: Iterable[str]) -> list[str]:
    """Names of images without the suffix of one, in whatever case."""
    return [
        stem if suffix.lower() in images.SUFFIXES else name
        for name in names
        for stem, suffix in [os.path.splitext(name)]
    ]


def images_in(folder: Path, names: Sequence[str], suffixes: Sequence[str]) -> dict[str, Path]:
    """As `index_images`, from the named folders below one, in other case or nested too.

    Raises:
        UserError: As there; where none is found, the message says where there are some.
    """
    return index_images(
        places.folders(folder, names, images.SUFFIXES),
        suffixes,
        hint=lambda: places.elsewhere(folder, images.SUFFIXES),
    )


def index_images(
    folders: Iterable[Path], suffixes: Sequence[str], *, hint: Callable[[], str] = str
) -> dict[str, Path]:
    """Files by name without suffix, from the folders that exist, not below them.

    Of files of one name, that with one of the data set's own suffixes is taken, then another
    image; what is no image by its suffix, or a link to nothing, stands for the reason to be said
    (`find_images`).

    Args:
        folders: To look into.
        suffixes: Of the data set's images, in lower case.
        hint: Ends the message where there are none.

    Raises:
        UserError: None of the folders holds an image, or two files that differ have the same name.
    """
    own: dict[str, Path] = {}
    others: dict[str, Path] = {}
    rest: dict[str, Path] = {}
    twice: dict[tuple[bool, str], Path] = {}
    folders = list(folders)
    for folder in filter(Path.is_dir, folders):
        for name in places.files(folder):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in images.SUFFIXES:
                if not images.is_image(folder / name):
                    rest.setdefault(stem, folder / name)
                    continue
                stem = name
            found = own if suffix.lower() in suffixes else others
            if stem in found and not filecmp.cmp(found[stem], folder / name, shallow=False):
                twice.setdefault((found is own, stem), folder / name)
            found.setdefault(stem, folder / name)
        for name in places.broken_links(folder):
            rest.setdefault(os.path.splitext(name)[0], folder / name)
    for (ours, stem), path in twice.items():
        if ours or stem not in own:
            first = (own if ours else others)[stem]
            raise UserError(f"{path}: a second file for {stem}, besides {first}")
    if not own and not others:
        listed = ", ".join(str(folder) for folder in folders)
        raise UserError(f"no {' or '.join(suffixes)} image in {listed}{hint() or _kinds(rest)}")
    return rest | others | own


def _kinds(files: Mapping[str, Path]) -> str:
    """What there is instead of images, for a message."""
    counts = Counter(path.suffix.lower() for path in files.values())
    listed = [f"{count:,} {suffix}" for suffix, count in counts.most_common(3) if suffix]
    read = ", ".join(images.SUFFIXES)
    return f"; there are {' and '.join(listed)} files; {read} are read" if listed else ""


def find_images(
    ids: Sequence[str], lines: Sequence[int], files: Mapping[str, Path]
) -> tuple[dict[int, Path], list[Reject]]:
    """Each line's image file; lines with an unsafe, doubled or unknown id are rejected.

    Of doubled ids none is kept: nothing tells which line is the right one.
    """
    paths: dict[int, Path] = {}
    rejects = []
    seen: dict[str, list[int]] = {}
    for line, id_ in zip(lines, ids, strict=True):
        seen.setdefault(id_, []).append(line)
    stems = dict(zip(bare_ids(files), files.values(), strict=True))
    for line, id_ in zip(lines, ids, strict=True):
        if not SAFE_ID.fullmatch(id_):
            rejects.append(
                Reject(line, id_, "unsafe id: letters, digits, space . _ - @ ( ) expected")
            )
        elif len(seen[id_]) > 1:
            rejects.append(Reject(line, id_, f"id stands in lines {line_words(seen[id_])}"))
        elif reason := _no_image(id_, files, stems):
            rejects.append(Reject(line, id_, reason, missing=True))
        else:
            paths[line] = files[id_]
    unnamed = sum(images.is_image(files[name]) for name in files.keys() - set(ids))
    if unnamed:
        log.info("%d image files have no row in the table; left out", unnamed)
    return paths, rejects


def _no_image(id_: str, files: Mapping[str, Path], stems: Mapping[str, Path]) -> str:
    """Why there is no image of this id; empty where there is one."""
    path = files.get(id_)
    if path is None:
        near = stems.get(bare_ids([id_])[0])
        return "no image file of this name" + (f"; {near.name} is there" if near else "")
    if path.suffix and not images.is_image(path):
        return f"{path.name} is there; {', '.join(images.SUFFIXES)} are read"
    if path.is_symlink() and not path.exists():
        return f"{path.name} is a link to {os.readlink(path)}, where nothing is"
    return ""


def line_words(numbers: Sequence[int]) -> str:
    """Line numbers for a message: '4, 5'."""
    return ", ".join(str(number) for number in numbers)


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes; empty string where it cannot be read (found out later)."""
    try:
        if path.is_file():  # opening a pipe may never end
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return ""
    except OSError:
        return ""
