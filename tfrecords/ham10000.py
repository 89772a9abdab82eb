"""HAM10000 (Tschandl et al. 2018): dermatoscopy, seven classes, split by lesion.

Layout, as downloaded:
    HAM10000_metadata.csv                    lesion_id,image_id,dx,dx_type,age,sex,localization
    HAM10000_images_part_1/ISIC_*.jpg        and _part_2/, or one images/, or beside the CSV
    HAM10000_segmentations_lesion_tschandl/  <image_id>_segmentation.png, if downloaded

    python -m tfrecords.ham10000 --raw DIR [--out DIR]
"""

from __future__ import annotations

from pathlib import Path

from attnrobust.data import prepare, raw, shards, writing
from attnrobust.data.raw import Reject, Row
from attnrobust.errors import UserError

NAME = "ham10000"
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
TABLE = "HAM10000_metadata.csv"
COLUMNS = ("lesion_id", "image_id", "dx")
FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2", "images", "")
MASKS = "HAM10000_segmentations_lesion_tschandl"


def read(folder: Path, *, split_by: str = "lesion") -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a raw folder.

    Args:
        folder: Holds the CSV and the image folders.
        split_by: `lesion` (all images of a lesion stay together) or `image`, as several
            published studies split, which lets test lesions be seen in training.

    Raises:
        UserError: CSV missing or without a needed column, or no images.
    """
    if not folder.is_dir():
        raise UserError(f"--raw {folder}: no such folder")
    table = raw.read_table(folder / TABLE, COLUMNS)
    images = raw.index_images([folder / name for name in FOLDERS], (".jpg", ".jpeg"))
    masks: dict[str, Path] = {}
    if (folder / MASKS).is_dir():
        masks = raw.index_images([folder / MASKS], (".png",))
    lines = [index + 2 for index in table.index]
    paths, rejects = raw.find_images(list(table["image_id"]), lines, images)
    rows = []
    for line, lesion, image, dx in zip(
        lines, table["lesion_id"], table["image_id"], table["dx"], strict=True
    ):
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
    return rows, rejects


def write(folder: Path, out: Path, *, name: str = NAME, size: int) -> None:
    """Read a raw folder of this layout and write its records, with the default split."""
    rows, rejects = read(folder)
    how = shards.Preparation(size=size)
    writing.write(out, name=name, classes=CLASSES, rows=rows, rejects=rejects, how=how)


if __name__ == "__main__":
    raise SystemExit(prepare.main(NAME, CLASSES, read, split_by=("lesion", "image")))
