"""Found images to records, with the splits that the data has, or a test split alone."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attnrobust.data import records, shards, writing
from attnrobust.data.own.found import Found
from attnrobust.data.raw import SPLITS, Row
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

# Images for which another process is worth its start.
WORTH = 200


def write(
    found: Found,
    out: Path,
    *,
    name: str = "",
    how: shards.Preparation,
    test_only: bool = False,
    everything: bool = False,
) -> records.Dataset:
    """Write records of found images.

    Splits that the data has are kept. One that it lacks is cut from its train split by the shares
    of `how`; where it has none, all three are, by group.

    Args:
        found: Of `read`, `from_arrays` or `from_dataset`.
        out: Folder to make.
        name: Of the data set; empty: `found.name`.
        how: Size, shares, limits.
        test_only: To test a model of elsewhere: images that no split claims are all in the test
            split, and no other split is cut.
        everything: With `test_only`: so are those that the data puts into other splits.

    Raises:
        UserError: As `data.writing.write` says; a class of one image; no test split to test on.
    """
    # Another process costs seconds before its first image.
    how = dataclasses.replace(how, workers=min(how.workers, 1 + len(found.rows) // WORTH))
    if test_only:
        rows = _for_test(found.rows, everything=everything)
        how = dataclasses.replace(how, fractions=(0.0, 0.0, 1.0))
    else:
        _require_two(found)
        rows = _all_splits(found.rows)
    return writing.write(
        out,
        name=name or found.name,
        classes=found.classes,
        rows=rows,
        rejects=found.rejects,
        how=how,
        sources=found.source,
    )


def _for_test(rows: Sequence[Row], *, everything: bool) -> list[Row]:
    placed = [
        dataclasses.replace(row, split="test" if everything or not row.split else row.split)
        for row in rows
    ]
    counts = Counter(row.split for row in placed)
    if not counts["test"]:
        there = ", ".join(f"{split} {counts[split]:,}" for split in SPLITS if counts[split])
        raise UserError(
            f"no image to test on: the data has the splits {there} and no test; --everything "
            "tests on all of it"
        )
    return placed


def _require_two(found: Found) -> None:
    for name, count in Counter(row.label for row in found.rows).items():
        if count == 1:
            row = next(row for row in found.rows if row.label == name)
            raise UserError(
                f"class '{name}' has one image, {row.id} (line {row.line}), which cannot be in "
                "training and in the test; expected at least two of each class"
            )


def _all_splits(rows: Sequence[Row]) -> list[Row]:
    """The rows, those of train open where the data lacks a split, so that it is cut from them."""
    given = {row.split for row in rows} - {""}
    missing = [split for split in SPLITS if split not in given]
    if "train" not in given or not missing:
        return list(rows)
    if len(given) > 1:
        log.info("no %s split in the data: a share of train is taken", " and no ".join(missing))
    return [
        dataclasses.replace(row, split="" if row.split == "train" else row.split) for row in rows
    ]
