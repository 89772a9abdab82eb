"""COVID-19 image data collection (Cohen et al. 2020): chest X-rays, split by patient.

Layout, as downloaded from github.com/ieee8023/covid-chestxray-dataset:
    metadata.csv    patientid,offset,sex,age,finding,…,view,modality,…,filename,…
    images/         JPEG and PNG, lateral views and CT slices among them

An image's id is its file name with the suffix, since names differ in nothing else at times. Only
frontal X-rays with a finding are taken; how many others the table has is said.

The stored label is the finding. Older versions of the table name it alone (`SARS`), newer ones
with its kind (`Pneumonia/Viral/SARS`); both give the same classes, but newer ones have no
`COVID-19, ARDS`. Many classes have few images, and some none in the test split. The task `covid`
is COVID-19 against all else, for which Martinez-Martinez and Nabavi use the data set.

    attnrobust prepare covid_cxr --raw DIR [--out DIR]
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

import pandas as pd

from attnrobust.data import images, places, prepare, raw
from attnrobust.data.raw import Reject, Row
from attnrobust.data.records import Task
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

NAME = "covid_cxr"
FINDINGS = {
    "no_finding": "No Finding",
    "covid_19": "Pneumonia/Viral/COVID-19",
    "covid_19_ards": "COVID-19, ARDS",
    "ards": "ARDS",
    "sars": "Pneumonia/Viral/SARS",
    "mers": "Pneumonia/Viral/MERS-CoV",
    "influenza": "Pneumonia/Viral/Influenza",
    "h1n1": "Pneumonia/Viral/Influenza/H1N1",
    "herpes": "Pneumonia/Viral/Herpes",
    "varicella": "Pneumonia/Viral/Varicella",
    "bacterial": "Pneumonia/Bacterial",
    "chlamydophila": "Pneumonia/Bacterial/Chlamydophila",
    "e_coli": "Pneumonia/Bacterial/E.Coli",
    "klebsiella": "Pneumonia/Bacterial/Klebsiella",
    "legionella": "Pneumonia/Bacterial/Legionella",
    "mycoplasma": "Pneumonia/Bacterial/Mycoplasma",
    "nocardia": "Pneumonia/Bacterial/Nocardia",
    "mrsa": "Pneumonia/Bacterial/Staphylococcus/MRSA",
    "streptococcus": "Pneumonia/Bacterial/Streptococcus",
    "aspergillosis": "Pneumonia/Fungal/Aspergillosis",
    "pneumocystis": "Pneumonia/Fungal/Pneumocystis",
    "aspiration": "Pneumonia/Aspiration",
    "lipoid": "Pneumonia/Lipoid",
    "pneumonia": "Pneumonia",
    "tuberculosis": "Tuberculosis",
}
CLASSES = tuple(FINDINGS)
LABELS = {
    spelling.lower(): label
    for label, finding in FINDINGS.items()
    for spelling in (finding, finding.rpartition("/")[2])
}
TASKS = {
    "covid": Task(
        classes=("other", "covid_19"),
        of=tuple(int(label in ("covid_19", "covid_19_ards")) for label in CLASSES),
    )
}
TABLE = "metadata.csv"
COLUMNS = ("patientid", "finding", "view", "filename")
FOLDER = "images"
FRONTAL = ("pa", "ap", "ap supine", "ap erect", "ap semi erect")
OTHER_VIEWS = ("l", "axial", "coronal", "ct")
UNLABELLED = ("todo", "unknown")


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
    table, rejects = raw.open_table(folder, (TABLE,), COLUMNS, id_="filename")
    volumes = table["filename"].str.lower().str.endswith((".nii", ".nii.gz"))
    left_out = {
        "lateral or CT": table["view"].str.lower().isin(OTHER_VIEWS),
        f"finding {' or '.join(UNLABELLED)}": table["finding"].str.lower().isin(UNLABELLED),
    }
    left_out["lateral or CT"] |= volumes
    if "modality" in table:
        left_out["lateral or CT"] |= table["modality"].str.lower() == "ct"
    return frontal(
        folder, table, rejects, name="filename", left_out=left_out, labels=LABELS, split_by=split_by
    )


def frontal(
    folder: Path,
    table: pd.DataFrame,
    rejects: Sequence[Reject],
    *,
    name: str,
    left_out: Mapping[str, pd.Series],
    labels: Mapping[str, str],
    split_by: str,
) -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a table in this layout.

    Args:
        folder: Holds `images/`.
        table: With patientid, finding and view.
        rejects: Of the table, to which those of its rows are added.
        name: Its column of file names.
        left_out: Which lines are not even rejects, by a reason to say.
        labels: Class of each finding in lower case.
        split_by: `patient` or `image`.

    Raises:
        UserError: No images.
    """
    files, every = _files(folder / FOLDER, set(table[name])), set(table[name])
    for reason, which in left_out.items():
        gone = table[which.reindex(table.index)]
        if len(gone):
            log.info("%d rows left out: %s", len(gone), reason)
        table = table.drop(gone.index)
    for unwanted in every - set(table[name]):
        files.pop(unwanted, None)
    lines = [index + 2 for index in table.index]
    paths, unusable = raw.find_images(list(table[name]), lines, files)
    rejects = [*rejects, *unusable]
    rows = []
    for line, image, patient, finding, view in zip(
        lines, table[name], table["patientid"], table["finding"], table["view"], strict=True
    ):
        if line not in paths:
            continue
        reason = _unusable(patient, finding, view, labels)
        if reason:
            rejects.append(Reject(line, image, reason))
            continue
        group = patient if split_by == "patient" else image
        rows.append(Row(image, paths[line], labels[finding.lower()], group, line))
    return rows, rejects


def _files(folder: Path, named: Set[str]) -> dict[str, Path]:
    """Image files by name with suffix; by name without it too, where the table has it so."""
    (folder,) = places.folders(folder.parent, [folder.name], images.SUFFIXES)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected the images in it")
    every = [*places.files(folder), *places.broken_links(folder)]
    found = {
        name: folder / name
        for name in every
        if name.lower().endswith(images.SUFFIXES) or name in named
    }
    if not found:
        raise UserError(f"no image in {folder}; {', '.join(images.SUFFIXES)} are read")
    for stem, names in _stems(found).items():
        if stem in named and stem not in found and len(names) == 1:
            found[stem] = found.pop(names[0]) if names[0] not in named else found[names[0]]
    return found


def _stems(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what stands before a known suffix."""
    names = list(names)
    by_stem: dict[str, list[str]] = {}
    for name, stem in zip(names, raw.bare_ids(names), strict=True):
        by_stem.setdefault(stem, []).append(name)
    return by_stem


def _unusable(patient: str, finding: str, view: str, labels: Mapping[str, str]) -> str:
    """Why a line cannot be used; empty where it can."""
    if view.lower() not in FRONTAL:
        return f"unknown view '{view}', known: {', '.join((*FRONTAL, *OTHER_VIEWS))}"
    if not finding:
        return "empty finding"
    if finding.lower() not in labels:
        return f"unknown finding '{finding}', known: {', '.join(labels)}"
    if not patient:
        return "empty patientid: its split would be a guess"
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return prepare.main(
        NAME, CLASSES, read, split_by=("patient", "image"), tasks=TASKS, about=__doc__, argv=argv
    )


if __name__ == "__main__":
    raise SystemExit(main())
