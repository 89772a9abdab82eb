"""ChestX-ray14 (Wang et al. 2017): pneumothorax or not on frontal X-rays, split by patient.

Layout, as downloaded:
    Data_Entry_2017.csv             Image Index,Finding Labels,Follow-up #,Patient ID,…;
                                    Data_Entry_2017_v2020.csv (Box) and sample_labels.csv (Kaggle's
                                    sample, with sample/images/) too
    images_001/images/*.png         to images_012/images/, or images_001/ to images_012/, or images/
    train_val_list.txt              and test_list.txt: the official split, if both are there

With the two lists, the test list is the test split, and the patients of the other list are divided
into train and validation in the proportion of their shares. Without them all patients are divided.

The stored label is that of Wasserman, section 3.1: a pneumothorax among the findings, or none. So
is the preparation: resized, then `gaussian_high_pass`; `--filter none` keeps the X-ray as it is.

    attnrobust prepare chestxray14 --raw DIR [--out DIR]
    attnrobust prepare chestxray14 --raw DIR --figure FILE.png    the steps of the filter
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from attnrobust.data import prepare, preprocessing, raw, tables
from attnrobust.data.raw import Reject, Row
from attnrobust.disk import runs
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

NAME = "chestxray14"
CLASSES = ("no_pneumothorax", "pneumothorax")
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)
NOTHING = "No Finding"
TABLE = "Data_Entry_2017.csv"
TABLES = (TABLE, "Data_Entry_2017_v2020.csv", "sample_labels.csv", "sample/sample_labels.csv")
COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
PARTS = tuple(f"images_{number:03d}" for number in range(1, 13))
FOLDERS = (*(f"{part}/images" for part in PARTS), *PARTS, "images", "sample/images")
TRAIN_LIST, TEST_LIST = "train_val_list.txt", "test_list.txt"
FILTER = "gaussian_high_pass"
NAMED = re.compile(r"([0-9]{8})_")  # a file's name begins with the patient


def pneumothorax(findings: Sequence[str]) -> str:
    """The class of an image by the names of its findings, as they stand in the table."""
    return CLASSES["Pneumothorax" in findings]


def read(
    folder: Path,
    *,
    split_by: str = "patient",
    label_of: Callable[[Sequence[str]], str] = pneumothorax,
) -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a raw folder.

    Args:
        folder: Holds the CSV, the image folders and, if wanted, both lists.
        split_by: `patient`, or `image`, which lets a test patient's other X-rays be seen in
            training; the official lists are by patient, so `image` goes without them.
        label_of: The class of an image by its findings.

    Raises:
        UserError: CSV missing or without a needed column, no images, one list without the other,
            a patient in both, a test list without a usable image, or lists with `image`.
    """
    if not folder.is_dir():
        raise UserError(f"--raw {folder}: no such folder")
    table, rejects = raw.open_table(folder, TABLES, COLUMNS, id_="Image Index")
    images = raw.images_in(folder, FOLDERS, (".png",))
    lines = [index + 2 for index in table.index]
    ids = raw.bare_ids(table["Image Index"])
    official = _official(folder, ids)
    if official is not None and split_by == "image":
        raise UserError(
            f"--split-by image: {TRAIN_LIST} and {TEST_LIST} divide the patients; take them away "
            "for a split by image"
        )
    paths, unusable = raw.find_images(ids, lines, images)
    rejects += unusable
    rows = []
    for line, image, findings, patient in zip(
        lines, ids, table["Finding Labels"], table["Patient ID"], strict=True
    ):
        if line not in paths:
            continue
        reason = _unusable(image, findings, patient)
        if not reason and official is not None and image not in official:
            reason = f"in neither {TRAIN_LIST} nor {TEST_LIST}: its split would be a guess"
        if reason:
            rejects.append(Reject(line, image, reason))
            continue
        split = official[image] if official else ""
        group = patient if split_by == "patient" else image
        rows.append(
            Row(image, paths[line], label_of(findings.split("|")), group, line, split=split)
        )
    if official:
        _check_official(rows)
    return rows, rejects


def _unusable(image: str, findings: str, patient: str) -> str:
    """Why a line cannot be used; empty where it can."""
    names = findings.split("|")
    unknown = [name for name in names if name not in (*FINDINGS, NOTHING)]
    if unknown:
        known = ", ".join((*FINDINGS, NOTHING))
        return f"unknown finding '{unknown[0]}', known: {known}"
    if NOTHING in names and len(names) > 1:
        return f"'{NOTHING}' beside a finding: '{findings}'"
    if not patient:
        return "empty Patient ID: its split would be a guess"
    named = NAMED.match(image)
    if named and raw.whole_number(named[1]) != raw.whole_number(patient):
        return f"Patient ID '{patient}', but the file's name says {named[1]}"
    return ""


def _official(folder: Path, ids: list[str]) -> dict[str, str] | None:
    """What the two lists say of each image: `test`, or empty for train and validation."""
    files = {"": folder / TRAIN_LIST, "test": folder / TEST_LIST}
    there = [path for path in files.values() if path.is_file()]
    if not there:
        return None
    if len(there) == 1:
        raise UserError(
            f"{there[0]}: there without the other of {TRAIN_LIST} and {TEST_LIST}; the official "
            "split needs both, a split of our own neither"
        )
    official: dict[str, str] = {}
    for split, path in files.items():
        for number, text in enumerate(tables.read_text(path, "list").split("\n"), 1):
            image = raw.bare_ids([text.strip()])[0]
            if official.get(image, split) != split:
                raise UserError(f"{path}: line {number}: {image} stands in {TRAIN_LIST} too")
            if image:
                official[image] = split
    if not official:
        raise UserError(f"{there[0]}: no image in it")
    absent = len(official.keys() - set(ids))
    if absent:
        log.info(
            "%s and %s name %s images that %s does not: taken for a subset",
            TRAIN_LIST,
            TEST_LIST,
            f"{absent:,}",
            TABLE,
        )
    return official


def _check_official(rows: list[Row]) -> None:
    if rows and not any(row.split for row in rows):
        raise UserError(
            f"none of the usable images stands in {TEST_LIST}: there would be no test split; "
            "without the two lists all patients are divided"
        )
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.group, row)
        if other.split != row.split:
            raise UserError(
                f"patient {row.group} is in both {TRAIN_LIST} and {TEST_LIST}: {other.id} and "
                f"{row.id} (lines {other.line} and {row.line} of {TABLE})"
            )


def draw_steps(image: np.ndarray, file: Path) -> None:
    """A figure of the filter's steps on one image, like figure 1 of the paper, and its other sigma.

    Args:
        image: uint8 RGB (H, W, 3), fitted.
        file: PNG to write.
    """
    from matplotlib.figure import Figure

    steps = {"original": image, **preprocessing.high_pass_steps(image)}
    steps["result"] = preprocessing.gaussian_high_pass(image)
    steps["sigma 20 / 1,024 of the size"] = preprocessing.gaussian_high_pass_by_size(image)
    figure = Figure(figsize=(12.5, 2.8), layout="constrained")
    for axes, (title, step) in zip(figure.subplots(1, len(steps)), steps.items(), strict=True):
        axes.imshow(step[..., 0], cmap="gray", vmin=0, vmax=255)
        axes.set_title(title)
        axes.axis("off")
    with runs.atomic(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    log.info("%s", file)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return prepare.main(
        NAME,
        CLASSES,
        read,
        split_by=("patient", "image"),
        image_filter=FILTER,
        draw=draw_steps,
        about=__doc__,
        argv=argv,
    )


if __name__ == "__main__":
    raise SystemExit(main())
