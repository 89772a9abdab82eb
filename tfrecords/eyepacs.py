"""EyePACS (Kaggle's Diabetic Retinopathy Detection, 2015): fundus photographs, split by patient.

Layout, as downloaded:
    trainLabels.csv    image,level
    train/<patient>_left.jpeg and <patient>_right.jpeg, or beside the CSV; .jpg and .png too

or as the resized mirrors have it: resized_train/ beside trainLabels.csv, resized_train_cropped/
beside trainLabels_cropped.csv; with both, trainLabels.csv is read.

The stored label is the grade; the task `binary` is that of Wasserman, section 3.1: moderate and
above are positive.

    attnrobust prepare eyepacs --raw DIR [--out DIR]
    attnrobust prepare eyepacs --raw DIR --fit disc --filter graham --size 256 [--out DIR]
    attnrobust prepare eyepacs --raw DIR --figure FILE

The second command is the preprocessing of Wu, section 2.2, after Graham
(attnrobust/data/fundus.py); the third draws it on the first photograph, before and after. An
all-black photograph and one without an eye's disc are rejected with their reason.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attnrobust.data import fundus, graham, places, prepare, preprocessing, raw
from attnrobust.data.raw import Reject, Row
from attnrobust.data.records import Task
from attnrobust.disk import runs
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

NAME = "eyepacs"
CLASSES = ("no_dr", "mild", "moderate", "severe", "proliferative")  # grades 0 to 4
TASKS = {"binary": Task(classes=("negative", "positive"), of=(0, 0, 1, 1, 1))}
TABLE = "trainLabels.csv"
TABLES = {
    TABLE: ("train", "resized_train", ""),
    "trainLabels_cropped.csv": ("resized_train_cropped", "train", ""),
}
COLUMNS = ("image", "level")
SUFFIXES = (".jpeg", ".jpg", ".png")
EYE = re.compile(r"(?P<patient>.+)_(?P<side>left|right)")


def read(folder: Path, *, split_by: str = "patient") -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a raw folder.

    Args:
        folder: Holds the CSV and the images.
        split_by: `patient` (both eyes stay together) or `image`, which lets a test patient's
            other eye be seen in training.

    Raises:
        UserError: CSV missing or without a needed column, or no images.
    """
    if not folder.is_dir():
        raise UserError(f"--raw {folder}: no such folder")
    table, rejects = raw.open_table(folder, tuple(TABLES), COLUMNS, id_="image")
    name = places.table(folder, tuple(TABLES), COLUMNS).name
    folders = next((value for key, value in TABLES.items() if key.lower() == name.lower()))
    images = raw.images_in(folder, folders, SUFFIXES)
    lines = [index + 2 for index in table.index]
    ids = raw.bare_ids(table["image"])
    paths, unusable = raw.find_images(ids, lines, images)
    rejects += unusable
    grades = {str(grade): label for grade, label in enumerate(CLASSES)}
    rows = []
    for line, image, level in zip(lines, ids, table["level"], strict=True):
        if line not in paths:
            continue
        eye = EYE.fullmatch(image)
        grade = raw.whole_number(level)
        if grade not in grades:
            rejects.append(Reject(line, image, f"level '{level}', expected 0, 1, 2, 3 or 4"))
        elif not eye:
            reason = "id is not <patient>_left or <patient>_right: its split would be a guess"
            rejects.append(Reject(line, image, reason))
        else:
            group = eye["patient"] if split_by == "patient" else image
            rows.append(Row(image, paths[line], grades[grade], group, line, eye=eye["side"]))
    return rows, rejects


def draw_steps(image: np.ndarray, file: Path) -> None:
    """A figure of Graham's preprocessing of one photograph, like figure 1 of Wu.

    Args:
        image: uint8 RGB (H, W, 3), as it was taken.
        file: PNG to write.

    Raises:
        UnusableImageError: No eye's disc in it.
    """
    from matplotlib.figure import Figure

    found = fundus.find_disc(image)
    disc, _ = preprocessing.disc(image, 512)
    steps = {"original": image, "disc": disc, **graham.graham_steps(disc)}
    figure = Figure(figsize=(12.5, 2.8), layout="constrained")
    panels = figure.subplots(1, len(steps))
    for axes, (title, step) in zip(panels, steps.items(), strict=True):
        axes.imshow(np.clip(np.rint(step), 0, 255).astype(np.uint8))
        axes.set_title(title)
        axes.axis("off")
    angles = np.linspace(0, 2 * np.pi, 200)
    panels[0].plot(
        found.x + found.radius * np.cos(angles),
        found.y + found.radius * np.sin(angles),
        color="lime",
        linewidth=1,
    )
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
        tasks=TASKS,
        draw=draw_steps,
        draw_fitted=False,
        about=__doc__,
        argv=argv,
    )


if __name__ == "__main__":
    raise SystemExit(main())
