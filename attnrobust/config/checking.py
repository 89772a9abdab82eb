"""One clear line for a value or a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from attnrobust.errors import UserError

Row = TypeVar("Row")

# More names than these are not listed where one of them may be meant.
MANY = 40


def lookup(kind: str, table: Mapping[str, Row], name: str) -> Row:
    """The row called `name`.

    Raises:
        UserError: No such row; the message has near misses and, unless they are too many to
            read, the known names.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else ""
    known = "" if near and len(table) > MANY else f"known: {', '.join(table)}"
    raise UserError(f"no {kind} '{name}'; {hint}{' ' * bool(hint and known)}{known}")


def require(holds: bool, key: str, value: object, expected: str) -> None:
    """Raise a UserError that names setting, value and what was expected, unless it holds."""
    if not holds:
        raise UserError(f"{key} = {value}: expected {expected}")
