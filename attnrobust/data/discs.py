"""`disc.csv` beside records fitted to the eye's disc: where it was found, and how sure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from attnrobust.disk import runs

log = logging.getLogger("attnrobust")

FILE = "disc.csv"
COLUMNS = ("id", "x", "y", "radius", "rim_seen", "notch")


def report(path: Path, parts: Iterable[Mapping[str, Any]]) -> None:
    """Write the list, least sure first, and say what is worth a look.

    A row is an image: centre and radius in pixels of the photograph, the share of the rim that
    shows an edge (of what the frame shows of it), and where the camera's notch stands.

    Args:
        path: File to write.
        parts: Summaries of shards.
    """
    rows = [(id_, *disc) for part in parts for id_, disc in part["discs"].items()]
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["rim_seen", "id"])
    runs.save_text(path, table.to_csv(index=False, lineterminator="\n"))
    if rows:
        log.info(
            "eye discs: the least sure is that of %s, whose rim is seen over %.0f %%; all in %s",
            table["id"].iloc[0],
            100 * table["rim_seen"].iloc[0],
            FILE,
        )
    inverted = int((table["notch"] == "lower left").sum())
    if inverted:
        log.warning(
            "warning: in %d photographs the camera's notch stands at the lower left: they "
            "are upside down, and are stored so (notch in %s)",
            inverted,
            FILE,
        )
