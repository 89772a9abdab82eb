"""Where records, runs and pages are kept unless a command says otherwise."""

from __future__ import annotations

from pathlib import Path

from attnrobust import config
from attnrobust.errors import UserError

RECORDS, RUNS, REPORTS = Path("tfrecords/shards"), Path("runs"), Path("reports")


def records_of(given: Path | None, data: config.Data) -> Path:
    """A data set's records: the folder given, what lies below it by the data set's name, or theirs.

    Args:
        given: Folder of the records or of several data sets'; None: where prepare puts them.
        data: What is read.
    """
    return _records(given, data.folder)


def records_named(given: Path, dataset: str = "") -> Path:
    """The same where no experiment says which data set: by its name, or the only one there is.

    Args:
        given: Folder of the records or of several data sets'.
        dataset: Name of the data set; empty: the one that `given` holds.

    Raises:
        UserError: None is named, and several lie below `given`.
    """
    if dataset or (given / "dataset.json").is_file():
        return _records(given, dataset) if dataset else given
    names = sorted(path.parent.name for path in given.glob("*/dataset.json"))
    if len(names) > 1:
        raise UserError(f"{given}: records of several data sets; name one: {', '.join(names)}")
    return given / names[0] if names else given


def _records(given: Path | None, name: str) -> Path:
    below = (given or RECORDS) / name
    return given if given and not below.is_dir() and given != RECORDS else below
