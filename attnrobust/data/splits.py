"""Rows to splits: a group is never torn apart, and one picture never stands in two splits."""

from __future__ import annotations

import dataclasses
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from attnrobust import keyed
from attnrobust.data.raw import SPLITS, Reject, Row, line_words
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")


def merge_duplicates(
    rows: Sequence[Row], hashes: Sequence[str]
) -> tuple[list[Row], list[Reject], int]:
    """Make sure that one picture, or one patient, cannot stand in two splits.

    Rows with the same file content get one common group; where their labels differ, all are
    rejected. So do groups whose names differ in case, signs or leading zeros alone (`P7`,
    `p-007`): taking two patients for one is harmless, the reverse is not.

    Returns:
        Rows, rejects, and how many rows share their content with another one.

    Raises:
        UserError: The data set puts the same content into different splits.
    """
    by_hash: dict[str, list[Row]] = {}
    for row, value in zip(rows, hashes, strict=True):
        if value:
            by_hash.setdefault(value, []).append(row)
    same = [copies for copies in by_hash.values() if len(copies) > 1]
    rejects, together = [], _spellings({row.group for row in rows})
    for copies in same:
        _one_split(copies)
        if len({row.label for row in copies}) > 1:
            lines = line_words([row.line for row in copies])
            reason = f"same image with different labels in lines {lines}"
            rejects += [Reject(row.line, row.id, reason) for row in copies]
        together.append([row.group for row in copies])
    root = _joined(together)
    gone = {reject.line for reject in rejects}
    kept = [dataclasses.replace(row, group=root(row.group)) for row in rows if row.line not in gone]
    return kept, rejects, sum(len(copies) for copies in same)


def join_copies(rows: Sequence[Row], pixels: Mapping[str, str]) -> list[Row]:
    """The rows, those whose pictures are the same pixel by pixel in one group.

    Args:
        rows: As `merge_duplicates` leaves them.
        pixels: A digest of each picture by id; pictures without one are nobody's copy.

    Raises:
        UserError: The data set puts the same picture into different splits.
    """
    alike = _alike(rows, pixels)
    for copies in alike:
        _one_split(copies)
    root = _joined([[row.group for row in copies] for copies in alike])
    return [dataclasses.replace(row, group=root(row.group)) for row in rows]


def count_copies(
    rows: Sequence[Row], contents: Mapping[Path, str], pixels: Mapping[str, str]
) -> int:
    """How many pictures are another's pixel by pixel, in other files; warns of other labels.

    Args:
        rows: As `merge_duplicates` leaves them.
        contents: A digest of each file.
        pixels: A digest of each picture by id.
    """
    count = 0
    for copies in _alike(rows, pixels):
        if len({contents[row.path] for row in copies}) == 1:
            continue
        count += len(copies)
        if len({row.label for row in copies}) > 1:
            log.warning(
                "warning: exact copies have different labels, and one of them is wrong: %s",
                ", ".join(f"{row.id} ({row.label})" for row in copies),
            )
    return count


def _alike(rows: Sequence[Row], pixels: Mapping[str, str]) -> list[list[Row]]:
    """Rows of the same picture, where there are several."""
    by_picture: dict[str, list[Row]] = {}
    for row in rows:
        if row.id in pixels:
            by_picture.setdefault(pixels[row.id], []).append(row)
    return [copies for copies in by_picture.values() if len(copies) > 1]


def _one_split(copies: Sequence[Row]) -> None:
    first = copies[0]
    other = next((row for row in copies if row.split != first.split), None)
    if other:
        raise UserError(
            f"{first.id} and {other.id} are the same image, but the data set puts them "
            f"into different splits (lines {first.line} and {other.line})"
        )


def _joined(together: Iterable[Sequence[str]]) -> Callable[[str], str]:
    """Each group's name after those that belong together have become one, chains of them too."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while group in parent:
            group = parent[group]
        return group

    for names in together:
        for name in names[1:]:
            if root(name) != root(names[0]):
                parent[root(name)] = root(names[0])
    return root


def spelling(group: str) -> str:
    """What all spellings of a group have in common: letters, and numbers without leading zeros.

    Case and all signs (`P-7`, `'7`, `="7"`) are gone, but one between two numbers, which parts
    them; so are the zeros behind a last point (`P7.0`) and the comma of thousands.
    """
    plain = re.sub(r"(?<=[0-9])[.,]0*$", "", group.casefold().rstrip("'\" "))
    plain = re.sub(r"(?<=[0-9])[,'](?=[0-9]{3}(?![0-9]))", "", plain)
    words = "".join(sign if unicodedata.category(sign)[0] in "LMN" else " " for sign in plain)
    words = re.sub(r"(?<![0-9]) | (?![0-9])", "", " ".join(words.split()))
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", words) or group


def _spellings(groups: Iterable[str]) -> list[list[str]]:
    """Names that are one group's, in order; where there is but one, nothing is said of it."""
    by_key: dict[str, list[str]] = {}
    for group in sorted(set(groups)):
        by_key.setdefault(spelling(group), []).append(group)
    several = [names for names in by_key.values() if len(names) > 1]
    if several:
        log.info(
            "%d groups are written in several ways and taken as one each: %s",
            len(several),
            " = ".join(several[0]),
        )
    return several


def split_by_group(
    rows: Sequence[Row], *, fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Each group's split, stratified by label, the same for the same seed.

    A group counts for the label that most of its rows have. Within a label, groups are put in
    the order of a hash of (seed, group), so that no order of the table shows through.

    Where rows name their split, their groups go there and nothing else does: the groups left open
    are divided over the other splits, whose shares keep their proportion.

    Args:
        rows: At least one.
        fractions: Share of train, validation and test; sum 1.
        seed: Other seed, other split.

    Raises:
        UserError: The fractions do not sum to 1 or one is negative; rows of one group name
            different splits; groups are left open and every other split has share 0.
    """
    asked = [fractions[split] for split in SPLITS]
    if min(asked) < 0 or not abs(sum(asked) - 1) < 1e-6:
        raise UserError(f"--split {asked}: expected three shares that sum to 1")
    named = _named_splits(rows)
    given = {group: split for group, split in named.items() if split}
    left = [row for row in rows if row.group not in given]
    if not left:
        return given
    return {**given, **_stratified(left, _open_shares(fractions, set(given.values())), seed)}


def _stratified(rows: Sequence[Row], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    labels: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = labels.setdefault(row.group, {})
        counts[row.label] = counts.get(row.label, 0) + 1
    by_label: dict[str, list[str]] = {}
    for group, counts in labels.items():
        label = max(sorted(counts), key=lambda name, counts=counts: counts[name])  # type: ignore[misc]
        by_label.setdefault(label, []).append(group)
    assigned = {}
    for groups in by_label.values():
        groups.sort(key=lambda group: keyed.rank(seed, group))
        test = round(shares["test"] * len(groups))
        # What rounding leaves over is train's, unless train takes nothing.
        validation = round(shares["validation"] * len(groups)) if shares["train"] else len(groups)
        for position, group in enumerate(groups):
            held_out = "test" if position < test else "validation"
            assigned[group] = held_out if position < test + validation else "train"
    return assigned


def _named_splits(rows: Sequence[Row]) -> dict[str, str]:
    """The split that each group's rows name, empty where they leave it open."""
    named: dict[str, str] = {}
    for row in rows:
        before = named.setdefault(row.group, row.split)
        if before != row.split:
            words = " and ".join(sorted({before or "an open one", row.split or "an open one"}))
            raise UserError(
                f"the data set puts {row.group} into two splits, {words}; line {row.line} differs"
            )
    return named


def _open_shares(fractions: Mapping[str, float], given: set[str]) -> dict[str, float]:
    """Shares of the splits that are not given, in their proportion, sum 1; of the others 0."""
    left = {split: 0.0 if split in given else fractions[split] for split in SPLITS}
    total = sum(left.values())
    if not total:
        raise UserError(
            f"--split: the data set itself fills {', '.join(sorted(given))}, and the other splits "
            "have share 0, so that the rest of it would be lost"
        )
    return {split: share / total for split, share in left.items()}
