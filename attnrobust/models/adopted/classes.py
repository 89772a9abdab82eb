"""The order of a model's outputs against the order of the data's classes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from attnrobust.errors import UserError


def order(theirs: Sequence[str], ours: Sequence[str], *, outputs: int, file: str) -> list[int]:
    """Column of the model's outputs for each class of the data.

    Args:
        theirs: Names in the model's order; empty: the data's order.
        ours: The data's classes.
        outputs: Number of the model's classes.
        file: For messages.

    Raises:
        UserError: Other classes, by name and with what is near, or another number of them.
    """
    if theirs and sorted(theirs) != sorted(ours):
        raise UserError(_differ(theirs, ours))
    if outputs != len(ours):
        raise UserError(
            f"{file}: tells {outputs} classes apart, but the data has {len(ours)} "
            f"({', '.join(ours)})"
            + ("; labels from 1, or a background class?" if outputs == len(ours) + 1 else "")
        )
    return [list(theirs).index(name) for name in ours] if theirs else list(range(len(ours)))


def _differ(theirs: Sequence[str], ours: Sequence[str]) -> str:
    unknown = [name for name in theirs if name not in ours]
    missing = [name for name in ours if name not in theirs]
    said = []
    for name in unknown:
        near = difflib.get_close_matches(name.lower(), [each.lower() for each in missing], n=1)
        hints = [each for each in missing if each.lower() in near]
        said.append(f"'{name}'" + (f" (did you mean '{hints[0]}'?)" if hints else ""))
    parts = []
    if said:
        parts.append(f"the data has no {', '.join(said)}")
    if missing:
        parts.append(f"the model's list lacks {', '.join(missing)}")
    return f"--classes {','.join(theirs)}: {'; '.join(parts)}; expected the data's own names"
