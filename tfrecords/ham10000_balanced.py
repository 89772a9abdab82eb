"""The balanced subset of HAM10000 of Margeloiu et al. (2020, appendix A): nv, bkl and mel.

Layout: HAM10000's (tfrecords/ham10000.py).

Equally many images a class, as many as the smallest class has (1,099 in all of HAM10000), and
299/1099 of them for test: 800 and 299 a class there, as in the paper. Which ones is decided by a
hash of their names, so that the order of the table plays no part; --seed only divides what is not
test into train and validation, in the proportion of their shares.

Ours: the split is by lesion where the paper's is by image, so that the test images of a class can
be off by one lesion's (never more than 299/1099; `--split-by image` gives the exact number, and
lets test lesions be seen in training); and an eighth of the other 800 is for validation, of which
the paper says nothing.

    attnrobust prepare ham10000_balanced --raw DIR --size 224    the centre square, as the paper
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attnrobust import keyed
from attnrobust.data import prepare, raw, splits
from attnrobust.data.raw import Reject, Row
from attnrobust.errors import UserError
from tfrecords import ham10000

NAME = "ham10000_balanced"
CLASSES = ("nv", "bkl", "mel")
TEST_SHARE = 299 / 1099


def read(folder: Path, *, split_by: str = "lesion") -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a raw folder, those of its three classes.

    Args:
        folder: Holds the CSV and the image folders.
        split_by: `lesion` or `image`, as the paper splits.

    Raises:
        UserError: CSV missing or without a needed column, no images, or none of a class.
    """
    rows, rejects = ham10000.read(folder, split_by=split_by, wanted=CLASSES)
    drawn = _draw(rows, folder)
    # The same picture under two ids must not be named for two splits.
    hashes = [raw.content_hash(row.path) for row in drawn]
    drawn, double, _ = splits.merge_duplicates(drawn, hashes)
    test = _test_groups(drawn)
    named = [replace(row, split="test" if row.group in test else "") for row in drawn]
    return named, [*rejects, *double]


def _draw(rows: Sequence[Row], folder: Path) -> list[Row]:
    """Equally many rows of every class, in the order of the table."""
    by_class = {name: [row for row in rows if row.label == name] for name in CLASSES}
    for name, mine in by_class.items():
        if not mine:
            raise UserError(f"{folder / ham10000.TABLE}: no usable image of {name}")
    number = min(map(len, by_class.values()))
    drawn = {
        row.id
        for mine in by_class.values()
        for row in sorted(mine, key=lambda row: _hash(row.id))[:number]
    }
    return [row for row in rows if row.id in drawn]


def _test_groups(rows: Sequence[Row]) -> set[str]:
    """Whole groups for test, of each class as near to its share as they come without passing it."""
    test: set[str] = set()
    decided: set[str] = set()
    for name in CLASSES:
        sizes = Counter(row.group for row in rows if row.label == name)
        # A group with images of two classes is decided with the first.
        taken = sum(size for group, size in sizes.items() if group in test)
        target = round(TEST_SHARE * sizes.total())
        for group in sorted(sizes.keys() - decided, key=_hash):
            if taken + sizes[group] <= target:
                test.add(group)
                taken += sizes[group]
        decided |= sizes.keys()
    return test


def _hash(name: str) -> bytes:
    return keyed.rank(NAME, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return prepare.main(
        NAME, CLASSES, read, split_by=("lesion", "image"), fit="crop", about=__doc__, argv=argv
    )


if __name__ == "__main__":
    raise SystemExit(main())
