"""HAM10000 (Tschandl et al. 2018): dermatoscopy, seven classes, split by lesion.

Layout, as downloaded:
    HAM10000_metadata.csv                    lesion_id,image_id,dx,dx_type,age,sex,localization;
                                             the Dataverse's HAM10000_metadata, with or without .tab
                                             (tabs), and the ISIC archive's metadata.csv (isic_id,
                                             lesion_id, diagnosis_3) too
    ISIC2018_Task3_Training_GroundTruth.csv  or this (a column for each class), with the lesions in
                                             ISIC2018_Task3_Training_LesionGroupings.csv
    HAM10000_images_part_1/ISIC_*.jpg        and _part_2/, or one images/, or beside the CSV,
                                             or ISIC2018_Task3_Training_Input/
    HAM10000_segmentations_lesion_tschandl/  <image_id>_segmentation.png, if downloaded

    attnrobust prepare ham10000 --raw DIR [--out DIR]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from attnrobust.data import places, prepare, raw, shards, writing
from attnrobust.data.raw import Reject, Row
from attnrobust.errors import UserError

NAME = "ham10000"
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
TABLE = "HAM10000_metadata.csv"
TABLES = (
    TABLE,
    "HAM10000_metadata",
    "HAM10000_metadata.tab",
    "HAM10000_metadata.tsv",
    "metadata.csv",
)
COLUMNS = ("lesion_id", "image_id", "dx")
ISIC = {"image_id": ("isic_id",), "dx": ("diagnosis_3", "diagnosis")}
# Labels spelled out: Hugging Face's, and the ISIC archive's for the same images, where akiec is
# two diagnoses and vasc has its name one level up (diagnosis_2).
SPELLED = {
    "actinic keratoses": "akiec",
    "actinic keratosis": "akiec",
    "solar or actinic keratosis": "akiec",
    "squamous cell carcinoma, nos": "akiec",
    "basal cell carcinoma": "bcc",
    "benign keratosis-like lesions": "bkl",
    "benign keratosis": "bkl",
    "pigmented benign keratosis": "bkl",
    "dermatofibroma": "df",
    "melanoma": "mel",
    "melanoma, nos": "mel",
    "melanocytic nevi": "nv",
    "melanocytic nevus": "nv",
    "nevus": "nv",
    "vascular lesions": "vasc",
    "vascular lesion": "vasc",
    "benign soft tissue proliferations - vascular": "vasc",
}
# The same images as the training set of a challenge (Codella et al. 2019).
CHALLENGE = "ISIC2018_Task3_Training"
TRUTHS = (f"{CHALLENGE}_GroundTruth.csv", f"{CHALLENGE}_GroundTruth/{CHALLENGE}_GroundTruth.csv")
GROUPINGS = f"{CHALLENGE}_LesionGroupings.csv"
FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2", f"{CHALLENGE}_Input", "images", "")
SUFFIXES = (".jpg", ".jpeg")
MASKS = "HAM10000_segmentations_lesion_tschandl"


def read(
    folder: Path, *, split_by: str = "lesion", wanted: Sequence[str] = CLASSES
) -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a raw folder.

    Args:
        folder: Holds the CSV and the image folders.
        split_by: `lesion` (all images of a lesion stay together) or `image`, as several
            published studies split, which lets test lesions be seen in training.
        wanted: Images of other classes play no part, be they usable or not.

    Raises:
        UserError: CSV missing or without a needed column, no images, or a split by lesion where
            nothing names the lesions.
    """
    table, rejects = _table(folder, split_by)
    images = raw.images_in(folder, FOLDERS, SUFFIXES)
    masks: dict[str, Path] = {}
    if (folder / MASKS).is_dir():
        masks = raw.images_in(folder, [MASKS], (".png",))
    lines = [index + 2 for index in table.index]
    ids = raw.bare_ids(table["image_id"])
    paths, unusable = raw.find_images(ids, lines, images)
    rejects += unusable
    rows, others = [], set()
    for line, lesion, image, written in zip(
        lines, table["lesion_id"], ids, table["dx"], strict=True
    ):
        dx = SPELLED.get(written.lower().replace("_", " "), written)
        if dx in CLASSES and dx not in wanted:
            others.add(line)
            continue
        if line not in paths:
            continue
        if dx not in CLASSES:
            reason = f"unknown dx '{dx}', known: {', '.join(CLASSES)}"
            rejects.append(Reject(line, image, reason))
        elif not lesion:
            rejects.append(Reject(line, image, "empty lesion_id: its split would be a guess"))
        else:
            group = lesion if split_by == "lesion" else image
            mask = masks.get(f"{image}_segmentation")
            rows.append(Row(image, paths[line], dx, group, line, mask))
    return rows, [reject for reject in rejects if reject.line not in others]


def _table(folder: Path, split_by: str) -> tuple[pd.DataFrame, list[Reject]]:
    """The table with lesion_id, image_id and dx, and rejects for its short rows."""
    path = places.table(folder, (*TABLES, *TRUTHS), COLUMNS)
    if path.name.lower() == TRUTHS[0].lower():
        return _one_hot(folder, path, split_by)
    table, rejects = raw.open_table(folder, TABLES, COLUMNS, id_="image_id", instead=ISIC)
    if "diagnosis_2" in table:
        table["dx"] = table["dx"].where(table["dx"] != "", table["diagnosis_2"])
    return table, rejects


def _one_hot(folder: Path, path: Path, split_by: str) -> tuple[pd.DataFrame, list[Reject]]:
    """The same of the challenge's table, which has a column of 0.0 and 1.0 for each class."""
    names = [name.upper() for name in CLASSES]
    table, rejects = raw.open_table(folder, TRUTHS, ("image", *names), id_="image")
    values = table[names].map(raw.whole_number)
    said = [
        [
            name.lower() if value == "1" else f"{name}={value}"
            for name, value in row.items()
            if value != "0"
        ]
        for _, row in values.iterrows()
    ]
    table = table.assign(image_id=table["image"], dx=[", ".join(words) for words in said])
    if split_by == "image":
        return table.assign(lesion_id=table["image"]), rejects
    listed = places.find(path.parent, (GROUPINGS,)) or places.find(folder, (GROUPINGS,))
    if not listed:
        raise UserError(
            f"{path}: names no lesions, and {GROUPINGS} is not beside it; get it, or split by "
            "image with --split-by image, which lets test lesions be seen in training"
        )
    groups = raw.read_table(listed, ("image", "lesion_id"))
    lesions = dict(zip(raw.bare_ids(groups["image"]), groups["lesion_id"], strict=True))
    lesion = [lesions.get(id_, "") for id_ in raw.bare_ids(table["image"])]
    return table.assign(lesion_id=lesion), rejects


def write(folder: Path, out: Path, *, name: str = NAME, size: int) -> None:
    """Read a raw folder of this layout and write its records, with the default split."""
    rows, rejects = read(folder)
    how = shards.Preparation(size=size)
    writing.write(out, name=name, classes=CLASSES, rows=rows, rejects=rejects, how=how)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return prepare.main(NAME, CLASSES, read, split_by=("lesion", "image"), about=__doc__, argv=argv)


if __name__ == "__main__":
    raise SystemExit(main())
