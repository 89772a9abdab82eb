"""Tables that stages wrote, read and checked."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from attnrobust.disk import files
from attnrobust.disk.schemas.plain import damaged

if TYPE_CHECKING:
    import pandas as pd


class Columns(NamedTuple):
    """A kind of table: names of its columns of text, and of its numbers with what each must be."""

    text: tuple[str, ...]
    numbers: Mapping[str, Callable[[float], bool]]


def _whole(number: float) -> bool:
    return number.is_integer() and abs(number) < 2**53


def _finite(number: float) -> bool:
    return math.isfinite(number)


def _radius(number: float) -> bool:
    return 0 <= number < math.inf


_measured = {
    "seed": _whole,
    "level": _radius,
    "value": _finite,
    "low": _finite,
    "high": _finite,
    "n": _whole,
}
MEASUREMENTS = Columns(("dataset", "experiment", "split", "condition", "name", "metric"), _measured)
COMPARISON = Columns(
    ("dataset", "experiment", "method", "condition", "name", "subset", "metric"),
    {**_measured, "left_out": _whole},
)


def load_table(path: Path, kind: Columns, *, stage: str) -> pd.DataFrame:
    """A table that a stage wrote: text as it stands, numbers as floats, NaN where empty.

    Raises:
        UserError: Not there, or damaged; line and column are named.
    """
    import pandas as pd

    again = f"run '{stage}' again"
    text = files.load_text(path, again)
    try:
        lines = list(filter(None, csv.reader(io.StringIO(text, newline=""), strict=True)))
    except csv.Error as error:
        raise damaged(path, error, again) from None
    if not text.endswith("\n"):
        raise damaged(path, "cut off: its last line has no end", again)
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    missing = [name for name in (*kind.text, *kind.numbers) if name not in header]
    if missing or len(set(header)) < len(header):
        raise damaged(
            path, f"no column {', '.join(missing)}" if missing else "a column twice", again
        )
    if uneven := next((row for row in rows if len(row) != len(header)), None):
        raise damaged(
            path,
            f"row {rows.index(uneven) + 1}: {len(uneven)} fields, expected {len(header)}",
            again,
        )
    columns: dict[str, list[Any]] = {
        name: [row[place] for row in rows] for place, name in enumerate(header)
    }
    for name, right in kind.numbers.items():
        columns[name] = [_number(cell, right) for cell in columns[name]]
        if None in columns[name]:
            row = columns[name].index(None)
            raise damaged(path, f"row {row + 1}, {name}: '{rows[row][header.index(name)]}'", again)
    return pd.DataFrame(columns)


def _number(cell: str, right: Callable[[float], bool]) -> float | None:
    """NaN for an empty cell, None for one that is not as it must be."""
    if cell in ("", "nan"):
        return math.nan
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if right(number) else None
