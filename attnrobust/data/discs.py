"""`disc.csv` beside records fitted to the eye's disc: where it was found, and how sure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from attnrobust.data import upright
from attnrobust.disk import runs

log = logging.getLogger("attnrobust")

FILE = "disc.csv"
COLUMNS = ("id", "x", "y", "radius", "rim_seen", "notch", "turned")


def report(folder: Path, parts: Iterable[Mapping[str, Any]], *, turn: bool) -> None:
    """Write the list, least sure first, and say what is worth a look.

    A row is an image: centre and radius in pixels of the photograph, the share of the rim that
    shows an edge (of what the frame shows of it), where the camera's notch stands, and whether the
    photograph is upside down, as it was taken (`upright.turned`).

    Args:
        folder: Of the records.
        parts: Summaries of shards.
        turn: Those that are upside down have been turned back.
    """
    rows = [{"id": id_, **disc} for part in parts for id_, disc in part["facts"].items()]
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["rim_seen", "id"])
    runs.save_text(folder / FILE, table.to_csv(index=False, lineterminator="\n"))
    if rows:
        log.info(
            "eye discs: the least sure is that of %s, whose rim is seen over %.0f %%; all in %s",
            table["id"].iloc[0],
            100 * table["rim_seen"].iloc[0],
            FILE,
        )
    inverted = int((table["turned"] == upright.YES).sum())
    if inverted:
        log.warning(
            "warning: %d photographs are upside down, by the camera's notch or the side of the "
            "optic nerve%s (turned in %s)",
            inverted,
            ", and turned back" if turn else "; they are stored so without --turn-inverted",
            FILE,
        )
