"""TFRECORDS: a reader for each data set, of its layout as downloaded; records go to `shards/`."""

from __future__ import annotations

from pathlib import Path


def known() -> list[str]:
    """Data sets that there is a reader for, in alphabetical order."""
    files = Path(__file__).parent.glob("[!_]*.py")
    return sorted(path.stem for path in files if not path.stem.startswith("synthetic"))
