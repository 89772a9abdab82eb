"""What a folder or file is: the layouts that are read, in the order in which they are asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from attnrobust.data import images, places
from attnrobust.data.own import arrays, columns, folders, labelled
from attnrobust.data.own.columns import Columns
from attnrobust.data.own.folders import SPLIT_WORDS
from attnrobust.data.own.found import Found
from attnrobust.data.own.labelled import Table
from attnrobust.data.own.listing import Listing, listed
from attnrobust.errors import UserError

METADATA = ("metadata.csv", "metadata.jsonl")
EXPECTED = (
    "expected a folder a class, a CSV with a column of images and one of labels, Hugging Face's "
    "metadata.csv, or MedMNIST's .npz"
)


def read(
    source: Path,
    *,
    csv: Path | None = None,
    classes: Sequence[str] = (),
    file_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
    mask_column: str | None = None,
    split_by: str = "group",
    name: str | None = None,
) -> Found:
    """Somebody's images, in whatever usual layout.

    Args:
        source: Folder, table beside its images, or .npz.
        csv: The table, where it is not the one table beside the images.
        classes: The label order; empty: the column order of a class a column, else numbers by size
            and names by alphabet (folders all by alphabet).
        file_column: Column of the image's name or path; None: found by its name. So are the others.
        label_column: Of the class; several with commas: one for each class, of 0 and 1.
        group_column: Of the patient or lesion, which no split tears apart.
        split_column: Of the split.
        mask_column: Of the mask.
        split_by: `group`, or `image`: groups are not heeded.
        name: Of the data set; None: that of the folder or file.

    Raises:
        UserError: One line: nothing recognised, two tables, no column of labels, labels that are
            ids or several an image, a single class, arrays of another kind.
    """
    asked = Columns(
        file=file_column or "",
        label=label_column or "",
        group=group_column or "",
        split=split_column or "",
        mask=mask_column or "",
    )
    source = Path(source)
    found = _recognised(source, csv, tuple(classes), asked, grouped=split_by == "group")
    place = source.resolve()
    return dataclasses.replace(found, name=name or (place.stem if source.is_file() else place.name))


def _recognised(
    source: Path, csv: Path | None, classes: Sequence[str], asked: Columns, *, grouped: bool
) -> Found:
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if source.suffix.lower() == ".npz" and source.is_file():
        return arrays.from_npz(source, classes)
    if source.is_file():
        if source.suffix.lower() not in (*columns.SUFFIXES, ".jsonl"):
            raise UserError(f"{source}: a {source.suffix or 'plain'} file; {EXPECTED}")
        source, csv = source.parent, csv or source
    listing = listed(source)
    tables = [Table(csv, listing)] if csv else _tables(listing, asked)
    if csv and not csv.is_file():
        raise UserError(f"{csv}: no such file; expected a table of images and their classes")
    if tables:
        if not listing.files:
            raise UserError(f"{source}: no image in it or below{_instead(listing)}")
        return labelled.read(tables, classes, asked, grouped=grouped)
    seen = _seen(source)
    if asked != Columns():
        for path in seen:
            columns.chosen(path, columns.header(path), asked)
        raise UserError(
            f"{source}: no table of classes in it{_seen_words(seen)}; name it with --csv"
        )
    try:
        found = folders.read(listing, classes)
    except UserError as error:
        raise UserError(f"{error}{_seen_words(seen)}") from None
    if found:
        return dataclasses.replace(found, layout=f"{found.layout}{_seen_words(seen)}")
    raise UserError(
        f"{source}: no class folders and no table of classes found; there are "
        f"{len(listing.files):,} images{_instead(listing)}{_seen_words(seen)}; {EXPECTED}"
    )


def _tables(listing: Listing, asked: Columns) -> list[Table]:
    """Hugging Face's tables, of the whole or of each split, or the one table beside the images."""
    root = listing.root
    named = [root / name for name in METADATA if (root / name).is_file()]
    if named and labelled.is_one(named[0], asked):
        return [Table(named[0], listing)]
    inner = [place for place in sorted(root.iterdir()) if place.name.lower() in SPLIT_WORDS]
    split = [
        Table(place / name, listing, SPLIT_WORDS[place.name.lower()], place.name)
        for place in inner
        for name in METADATA
        if (place / name).is_file() and labelled.is_one(place / name, asked)
    ]
    if split:
        return split
    good = [path for path in _seen(root) if labelled.is_one(path, asked)]
    if len(good) > 1:
        names = ", ".join(path.name for path in good)
        raise UserError(f"{root}: {len(good)} tables of classes, {names}; name one with --csv")
    return [Table(path, listing) for path in good]


def _seen(root: Path) -> list[Path]:
    """Tables in a folder."""
    return [
        root / name for name in places.files(root) if name.lower().endswith((*columns.SUFFIXES,))
    ]


def _seen_words(tables: Sequence[Path]) -> str:
    if not tables:
        return ""
    said = [f"{path.name} (columns {', '.join(columns.header(path))})" for path in tables[:2]]
    return f"; no column of classes in {' and '.join(said)}"


def _instead(listing: Listing) -> str:
    """What there is beside images, for a message."""
    kinds = listing.kinds()
    return f", and other files: {kinds}; {', '.join(images.SUFFIXES)} are read" if kinds else ""
