"""Where records, runs and pages are kept unless a command says otherwise."""

from __future__ import annotations

from pathlib import Path

from attnrobust import config

RECORDS, RUNS, REPORTS = Path("tfrecords/shards"), Path("runs"), Path("reports")


def records_of(given: Path | None, data: config.Data) -> Path:
    """A data set's records: the folder given, what lies below it by the data set's name, or theirs.

    Args:
        given: Folder of the records or of several data sets'; None: where prepare puts them.
        data: What is read.
    """
    below = (given or RECORDS) / data.folder
    return given if given and not below.is_dir() and given != RECORDS else below
