"""What was found: rows, rejects and classes, and whether labels are such as classes have."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnrobust.data import raw
from attnrobust.data.raw import SPLITS, Reject, Row
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

DECIMAL = re.compile(r"[+-]?[0-9]*\.[0-9]+(e[+-]?[0-9]+)?", re.IGNORECASE)
SEVERAL = ("|", ";")


@dataclass(frozen=True)
class Found:
    """Somebody's own images, read.

    Images of arrays lie in a temporary folder that lives as long as this object.

    Attributes:
        rows: What can be used.
        rejects: What cannot, and why.
        classes: Class names in label order.
        layout: What was recognised, in a line.
        source: Files and folders that were read.
        name: Of the data set.
        held: What must live as long as the rows' files.
    """

    rows: list[Row]
    rejects: list[Reject]
    classes: tuple[str, ...]
    layout: str
    source: list[Path]
    name: str
    held: object = dataclasses.field(default=None, repr=False, compare=False)

    def lines(self) -> list[str]:
        """What people should see before anything is made of it: layout, class order, splits."""
        counts = Counter(row.label for row in self.rows)
        order = ", ".join(
            f"{place} {name} ({counts[name]:,})" for place, name in enumerate(self.classes)
        )
        said = [self.layout, f"classes in label order, with their images: {order}"]
        splits = Counter(row.split for row in self.rows)
        if set(splits) - {""}:
            named = [f"{name} {splits[name]:,}" for name in SPLITS if splits[name]]
            left = [f"open {splits['']:,}"] if splits[""] else []
            said.append(f"splits of the data: {', '.join([*named, *left])}")
        if any(row.group != raw.whole_number(row.id) for row in self.rows):
            groups = len({row.group for row in self.rows})
            said.append(f"{groups:,} groups, each kept in one split")
        elif "" in splits:
            said.append("no groups named: images of one patient may stand in two splits")
        return said


def ordered(
    rows: Sequence[Row],
    rejects: Sequence[Reject],
    given: Sequence[str],
    *,
    found: Sequence[str] = (),
    what: str,
    folders: bool = False,
) -> tuple[list[Row], list[Reject], tuple[str, ...]]:
    """Rows of known classes, rejects, and the classes in label order.

    Args:
        rows: At least one, or all of them are among the rejects.
        rejects: So far.
        given: The order that is asked for; labels may then be its numbers, from 0.
        found: The order that the layout itself has; else numbers by size, names by alphabet.
        what: Was read, for messages.
        folders: Classes are folders: numbers too go by alphabet, as in Keras and torchvision.

    Raises:
        UserError: Nothing usable, a single class, labels that are no classes, or none of the given.
    """
    if not rows:
        raise UserError(f"{what}: {_nothing(rejects)}")
    if len(set(given)) < len(given):
        raise UserError(f"--classes {' '.join(given)}: one stands twice")
    labels = {row.label for row in rows}
    for name in sorted({*labels, *given}):
        if not name.isprintable():
            raise UserError(f"{what}: class {name!r}: signs that cannot be written; rename it")
    if given:
        return *_as_given(rows, rejects, given, what), tuple(given)
    if len(labels) == 1:
        raise UserError(
            f"{what}: a single class, '{min(labels)}'; expected two or more, or --classes with all "
            "that there are, in label order"
        )
    numbers = all(label.isascii() and label.isdigit() for label in labels)
    by_size = sorted(labels, key=int) if numbers else []
    order = list(found) or (by_size if numbers and not folders else sorted(labels))
    if folders and numbers and order != by_size:
        log.warning(
            "warning: folders named by numbers go by alphabet, as Keras and torchvision take them: "
            "%s; --classes gives another order",
            ", ".join(order),
        )
    places = [str(place) for place in range(len(order))]
    if numbers and not folders and order != places:
        log.warning(
            "warning: %s: labels are the numbers %s, not %s to %s: the model's first output is "
            "taken for %s, its last for %s; if it was trained on other numbers, name all classes "
            "in the order of its outputs with --classes",
            what,
            ", ".join(order),
            places[0],
            places[-1],
            order[0],
            order[-1],
        )
    _alike(order)
    return list(rows), list(rejects), tuple(order)


def check_labels(labels: Sequence[str], where: str) -> None:
    """Refuse a column of a table that holds ids or measurements.

    Raises:
        UserError: All of three or more labels differ, or most are decimal numbers.
    """
    if len(labels) > 2 and len(set(labels)) == len(labels):
        raise UserError(
            f"{where}: all {len(labels):,} labels differ, from '{labels[0]}' to '{labels[-1]}', as "
            "ids do; expected classes; name the column of the labels (--label-column)"
        )
    decimal = [label for label in labels if DECIMAL.fullmatch(label)]
    if len(decimal) > len(labels) / 2:
        raise UserError(
            f"{where}: decimal numbers such as {decimal[0]}; expected classes; name the column of "
            "the labels (--label-column)"
        )


def label_reason(label: str) -> str:
    """Why a label is none; empty where it is one."""
    if not label:
        return "empty label"
    if any(sign in label for sign in SEVERAL):
        return f"several labels, '{label}'; expected one class an image"
    if not label.isprintable():
        return f"label {label!r}: signs that cannot be written"
    return ""


def _nothing(rejects: Sequence[Reject]) -> str:
    if not rejects:
        return "no image in it"
    first = min(rejects, key=lambda reject: reject.line)
    return (
        f"none of {len(rejects):,} images can be used; the first is line {first.line} "
        f"({first.id!r}): {first.reason}"
    )


def _as_given(
    rows: Sequence[Row], rejects: Sequence[Reject], given: Sequence[str], what: str
) -> tuple[list[Row], list[Reject]]:
    labels = {row.label for row in rows}
    numbered = {str(place): name for place, name in enumerate(given)}
    if not labels & set(given) and labels <= numbered.keys():
        log.info("labels are numbers, taken as places in --classes, from 0")
        rows = [dataclasses.replace(row, label=numbered[row.label]) for row in rows]
    elif not labels & set(given):
        there = ", ".join(sorted(labels)[:10])
        shifted = labels == {str(place + 1) for place in range(len(given))}
        hint = f"; shifted by one? expected 0 to {len(given) - 1}" if shifted else ""
        raise UserError(
            f"{what}: no label is one of --classes {', '.join(given)}; there are {there}{hint}"
        )
    kept = [row for row in rows if row.label in given]
    for row in rows:
        if row.label not in given:
            reason = f"class '{row.label}', expected one of {', '.join(given)}"
            rejects = [*rejects, Reject(row.line, row.id, reason)]
    missing = [name for name in given if name not in {row.label for row in kept}]
    if missing:
        log.warning("warning: no image of %s", ", ".join(missing))
    return kept, list(rejects)


def _alike(classes: Sequence[str]) -> None:
    """Warn of classes that may be one, written in two ways."""
    by_key: dict[str, list[str]] = {}
    for name in classes:
        by_key.setdefault(re.sub(r"[\s_-]+", "", name.casefold()), []).append(name)
    for names in by_key.values():
        if len(names) > 1:
            log.warning(
                "warning: classes that differ in case, spaces or dashes alone: %s", ", ".join(names)
            )
