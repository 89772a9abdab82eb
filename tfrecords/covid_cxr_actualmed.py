"""Actualmed's COVID-19 chest X-rays (2020): COVID-19 or no finding, split by patient.

Layout, as downloaded from github.com/agchung/Actualmed-COVID-chestxray-dataset:
    metadata.csv    patientid,…,finding,…,view,modality,imagename,…,notes
    images/*.png

Rows that the notes call inconclusive have no finding and are left out; how many is said. The task
`covid` has the classes of covid_cxr's, so that a model trained on one data set can be tested on
the other.

    attnrobust prepare covid_cxr_actualmed --raw DIR [--out DIR]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnrobust.data import prepare, raw
from attnrobust.data.raw import Reject, Row
from attnrobust.data.records import Task
from attnrobust.errors import UserError
from tfrecords import covid_cxr

NAME = "covid_cxr_actualmed"
CLASSES = ("no_finding", "covid_19")
TASKS = {"covid": Task(classes=covid_cxr.TASKS["covid"].classes, of=(0, 1))}
LABELS = {"no finding": "no_finding", "covid-19": "covid_19"}
COLUMNS = ("patientid", "finding", "view", "imagename", "notes")


def read(folder: Path, *, split_by: str = "patient") -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a raw folder.

    Args:
        folder: Holds the CSV and `images/`.
        split_by: `patient`, or `image`, which lets a test patient's other X-rays be seen in
            training.

    Raises:
        UserError: CSV missing or without a needed column, or no images.
    """
    if not folder.is_dir():
        raise UserError(f"--raw {folder}: no such folder")
    table, rejects = raw.open_table(
        folder, (covid_cxr.TABLE,), COLUMNS, id_="imagename", prose=("notes",)
    )
    said = table["finding"].where(table["finding"] != "", table["notes"])
    left_out = {
        "inconclusive": said.str.lower().str.startswith("inconclusive"),
        "lateral or CT": table["view"].str.lower().isin(covid_cxr.OTHER_VIEWS),
    }
    return covid_cxr.frontal(
        folder,
        table,
        rejects,
        name="imagename",
        left_out=left_out,
        labels=LABELS,
        split_by=split_by,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return prepare.main(
        NAME, CLASSES, read, split_by=("patient", "image"), tasks=TASKS, about=__doc__, argv=argv
    )


if __name__ == "__main__":
    raise SystemExit(main())
