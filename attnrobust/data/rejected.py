"""`rejects.csv`: what of a data set could not be used, and when that is too much."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path

from attnrobust.data import shards
from attnrobust.data.raw import Reject
from attnrobust.disk import files, runs
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

FILE = "rejects.csv"
COLUMNS = ("line", "id", "reason")


def stop_if_too_many(
    rejects: Sequence[Reject], total: int, how: shards.Preparation, partial: Path
) -> None:
    """Stop where too much is unusable: of what is there, and, without --partial, of all."""
    missing = sum(reject.missing for reject in rejects)
    damaged, there, allowed = len(rejects) - missing, total - missing, how.max_rejects
    absent = not how.partial and len(rejects) > allowed * total and missing > allowed * total
    if damaged <= allowed * there and (how.partial or len(rejects) <= allowed * total):
        if missing:
            log.info("%s of %s rows have no image file", f"{missing:,}", f"{total:,}")
        return
    path = beside(partial.with_name(partial.name.removesuffix(".partial")))
    if path.exists() and not ours(path):
        raise UserError(f"{path}: in the way of the list of rejects, and not one; move it away")
    write(path, rejects)
    if absent:
        first = min((one for one in rejects if one.missing), key=lambda reject: reject.line)
        raise UserError(
            f"{missing:,} of {total:,} rows have no image file"
            + (f", and {damaged:,} others cannot be used" if damaged else "")
            + f", more than --max-rejects {allowed:g} allows; --partial if that is meant, as of a "
            f"partial download; the first is line {first.line} ({_shown(first.id)}): "
            f"{_shown(first.reason)}; all are in {path}"
        )
    worst = [reject for reject in rejects if not reject.missing] or rejects
    first = min(worst, key=lambda reject: reject.line)
    count, of = (damaged, there) if damaged > allowed * there else (len(rejects), total)
    kind = " with an image file" if missing and of == there else ""
    raise UserError(
        f"{count:,} of {of:,} rows{kind} cannot be used, more than --max-rejects {allowed:g} "
        f"allows; the first is line {first.line} ({_shown(first.id)}): {_shown(first.reason)}; "
        f"all are in {path}"
    )


def _shown(text: str) -> str:
    """Text for a message of one line."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def write(path: Path, rejects: Sequence[Reject]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for reject in sorted(rejects, key=lambda reject: reject.line):
        # The csv module quotes the line end that it writes, not the others (a bare CR).
        breaks = len(f"{reject.id}.{reject.reason}.".splitlines()) > 1
        (quoting if breaks else writer).writerow([reject.line, reject.id, reject.reason])
    runs.save_text(path, text.getvalue())


def beside(out: Path) -> Path:
    """The list of what stopped a preparation, since there are no records that it could be in."""
    return files.beside(out, "{}.rejects.csv")


def ours(listed: Path) -> bool:
    """Whether a file is such a list."""
    if not listed.is_file():
        return False
    with listed.open("rb") as file:
        return file.readline().rstrip() == ",".join(COLUMNS).encode()
