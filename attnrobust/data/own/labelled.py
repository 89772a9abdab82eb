"""Images whose classes stand in a table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from attnrobust.data import raw
from attnrobust.data.own import columns, found
from attnrobust.data.own.columns import Columns
from attnrobust.data.own.folders import SPLIT_WORDS
from attnrobust.data.own.found import Found
from attnrobust.data.own.listing import Listing
from attnrobust.data.raw import Reject, Row
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

SEMICOLONS = " (semicolons; expected commas or tabs)"


@dataclass(frozen=True)
class Table:
    """A table of images.

    Attributes:
        path: Its file.
        listing: What its names are looked up in.
        split: That all of its rows are in; empty: its column tells, or nothing.
        below: Folder that its names start from.
    """

    path: Path
    listing: Listing
    split: str = ""
    below: str = ""

    def find(self, word: str) -> tuple[str, str]:
        """As `Listing.find`."""
        return self.listing.find(f"{self.below}/{word}" if self.below and word else word)


def is_one(path: Path, asked: Columns) -> bool:
    """Whether a file has the columns that a table of images and classes needs."""
    names = columns.header(path)
    try:
        known = columns.chosen(path, names, asked)
    except UserError:
        return False
    if not known.file or known.label:
        return bool(known.file)
    return len(_one_hot(columns.open_table(path, [known.file]), known)) > 1


def read(
    tables: Sequence[Table],
    classes: Sequence[str],
    asked: Columns,
    *,
    grouped: bool = True,
) -> Found:
    """Images by the classes that tables give them; the lines of a second count on from the first's.

    Args:
        tables: At least one; all have the columns of the first.
        classes: The label order that is asked for; empty: as `found.ordered` says.
        asked: Columns that are told; others are looked for.
        grouped: Whether the column of groups is heeded.

    Raises:
        UserError: No column of images or labels, labels that are ids or numbers, a single class.
    """
    first = tables[0].path
    rows: list[Row] = []
    rejects: list[Reject] = []
    order: list[str] = []
    labels: list[str] = []
    for table in tables:
        names = columns.header(table.path)
        known = columns.chosen(table.path, names, asked)
        if not known.file:
            raise _no_column(table.path, names, "names the image", "file")
        lines = columns.open_table(table.path, [known.file])
        label, given = _labels(table.path, lines, known)
        order = given or order
        labels += [each for each in label if not found.label_reason(each)]
        splits = _splits(table, lines, known, told=bool(asked.split))
        made, bad = _rows(table, lines, label, splits, known, grouped=grouped)
        moved = max([0, *(row.line for row in rows), *(reject.line for reject in rejects)])
        rows += [replace(row, line=row.line + moved) for row in made]
        rejects += [replace(reject, line=reject.line + moved) for reject in bad]
    if not order:
        found.check_labels(labels, f"{first}: column {known.label}")
    rows, rejects, named = found.ordered(rows, rejects, classes, found=order, what=str(first))
    said = [f"images by {known.file}", f"classes by {known.label or 'a column each, of 0 and 1'}"]
    said += [f"groups by {known.group}"] if known.group and grouped else []
    said += [f"splits by {known.split}"] if any(row.split for row in rows) and known.split else []
    said += [f"masks by {known.mask}"] if known.mask else []
    paths = " and ".join(str(table.path) for table in tables)
    sources = [*(table.path for table in tables), *(table.listing.root for table in tables)]
    return Found(rows, rejects, named, f"{paths}: {', '.join(said)}", sources, first.stem)


def _no_column(path: Path, names: Sequence[str], what: str, kind: str) -> UserError:
    semicolons = SEMICOLONS if names and names[0].count(";") else ""
    return UserError(
        f"{path}: no column that {what} (such as {', '.join(columns.ALIASES[kind][:4])}); it has "
        f"{', '.join(names)}{semicolons}; name it with --{kind}-column"
    )


def _labels(path: Path, lines: pd.DataFrame, known: Columns) -> tuple[list[str], list[str]]:
    """Each line's label, and the classes in their columns' order, where each has one."""
    if known.label in lines:
        return [raw.whole_number(each) for each in lines[known.label]], []
    names = known.label.split(",") if known.label else _one_hot(lines, known)
    if len(names) < 2:
        raise _no_column(path, list(lines), "holds the class", "label")
    values = lines[names].map(raw.whole_number)
    if not values.isin(["0", "1"]).all(axis=None):
        wrong = next(name for name in names if not values[name].isin(["0", "1"]).all())
        raise UserError(f"{path}: column {wrong} of the classes: expected 0 and 1 alone")
    ones = values == "1"
    alone = int((ones.sum(axis=1) == 1).sum())
    if alone < len(ones) / 2:
        raise UserError(
            f"{path}: columns {', '.join(names)} of 0 and 1: {alone:,} of {len(ones):,} rows have "
            "a 1 in exactly one of them; expected one class an image, no multi-label data; name "
            "the column of the labels, or those of the classes with commas (--label-column)"
        )
    empty = [name for name in names if not ones[name].any()]
    if empty:
        log.info("no image of %s; --classes keeps a class without images", ", ".join(empty))
    labels = ["|".join(name for name in names if row[name]) for _, row in ones.iterrows()]
    return labels, [name for name in names if name not in empty]


def _one_hot(lines: pd.DataFrame, known: Columns) -> list[str]:
    """Columns of 0 and 1 alone, which are taken for classes where no column holds the label."""
    taken = {known.file, known.group, known.split, known.mask}
    return [
        name
        for name in lines
        if name not in taken and set(map(raw.whole_number, lines[name])) <= {"0", "1"}
    ]


def _rows(
    table: Table,
    lines: pd.DataFrame,
    labels: Sequence[str],
    splits: Sequence[str],
    known: Columns,
    *,
    grouped: bool,
) -> tuple[list[Row], list[Reject]]:
    short = lines.attrs["short"]
    rejects = [Reject(line, f"line {line}", reason) for line, reason in short.items()]
    groups = list(lines[known.group]) if known.group and grouped else None
    masks = list(lines[known.mask]) if known.mask else [""] * len(lines)
    rows: list[Row] = []
    files = table.listing
    for place, word in enumerate(lines[known.file]):
        line, label = int(lines.index[place]), labels[place]
        path, reason = table.find(word)
        if reason:
            rejects.append(Reject(line, word, reason, missing=True))
            continue
        id_ = files.ids[path]
        mask, no_mask = table.find(masks[place]) if masks[place] else ("", "")
        group = groups[place] if groups else id_
        reason = found.label_reason(label) or (no_mask and f"mask: {no_mask}")
        reason = reason or ("" if group else f"empty {known.group}: its split would be a guess")
        if reason:
            rejects.append(Reject(line, id_, reason))
            continue
        at = files.files[mask] if mask else None
        rows.append(Row(id_, files.files[path], label, group, line, at, split=splits[place]))
    kept, twice = _once(rows)
    _unnamed(files, rows, rejects)
    return kept, [*rejects, *twice]


def _splits(table: Table, lines: pd.DataFrame, known: Columns, *, told: bool) -> list[str]:
    """Each line's split; a column that was only guessed and holds other words is passed over."""
    if table.split or not known.split:
        return [table.split] * len(lines)
    words = [word.lower().replace(" ", "") for word in lines[known.split]]
    other = sorted({word for word in words if word and word not in SPLIT_WORDS})
    if not other:
        return [SPLIT_WORDS.get(word, "") for word in words]
    said = f"column {known.split} holds {', '.join(other[:5])}"
    if told:
        raise UserError(f"{table.path}: {said}; expected train, validation, test, or nothing")
    log.warning("warning: %s, which are no splits; not heeded", said)
    return [""] * len(lines)


def _once(rows: Sequence[Row]) -> tuple[list[Row], list[Reject]]:
    """Each image once; where its lines differ, nothing tells which is right."""
    by_id: dict[str, list[Row]] = {}
    for row in rows:
        by_id.setdefault(row.id, []).append(row)
    kept, rejects, again = [], [], 0
    for lines in by_id.values():
        if len({(row.label, row.group, row.split, row.mask) for row in lines}) > 1:
            words = raw.line_words([row.line for row in lines])
            rejects += [
                Reject(row.line, row.id, f"image stands in lines {words}, which differ")
                for row in lines
            ]
            continue
        kept.append(lines[0])
        again += len(lines) - 1
    if again:
        log.info("%s lines name an image once more, with the same class; left out", f"{again:,}")
    return kept, rejects


def _unnamed(files: Listing, rows: Sequence[Row], rejects: Sequence[Reject]) -> None:
    named = {row.id for row in rows} | {reject.id for reject in rejects}
    masks = {row.mask for row in rows}
    left = sum(
        id_ not in named and files.files[path] not in masks for path, id_ in files.ids.items()
    )
    if left:
        log.info("%s image files have no row in the table; left out", f"{left:,}")
