"""A tiny folder in HAM10000's layout, with drawn colours, and what tests ask of its records."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
from PIL import Image

from attnrobust.data import prepare, records, shards, writing
from tfrecords import ham10000

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
SIZE = 16


def colours(seed: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """A smooth random picture, uint8 RGB."""
    few = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR)


def encoded(image: np.ndarray, kind: str = "JPEG", **settings: Any) -> bytes:
    """A picture as a file's bytes, written by Pillow."""
    content = io.BytesIO()
    if kind == "JPEG":
        settings = {"quality": 95, "subsampling": 0, **settings}
    Image.fromarray(image).save(content, kind, **settings)
    return content.getvalue()


def make_raw(folder: Path, *, lesions: int = 4, masks: bool = False) -> Path:
    """Write a raw folder: `lesions` lesions a class, the first of each photographed twice."""
    (folder / PARTS[0]).mkdir(parents=True)
    (folder / PARTS[1]).mkdir()
    rows = []
    for class_, dx in enumerate(ham10000.CLASSES):
        for lesion in range(lesions):
            for view in range(2 if lesion == 0 else 1):
                number = class_ * 100 + lesion * 10 + view
                rows.append(
                    [
                        f"HAM_{class_}{lesion}",
                        f"ISIC_{number:04d}",
                        dx,
                        "histo",
                        "50.0",
                        "male",
                        "back",
                    ]
                )
                image = folder / PARTS[number % 2] / f"ISIC_{number:04d}.jpg"
                image.write_bytes(encoded(colours(number)))
                if masks:
                    path = folder / ham10000.MASKS / f"ISIC_{number:04d}_segmentation.png"
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(encoded(mask(), "PNG"))
    write_table(folder, [dict(zip(COLUMNS, row, strict=True)) for row in rows])
    return folder


def mask() -> np.ndarray:
    """The mask of every drawn image: a white rectangle, grey uint8."""
    picture = np.zeros((SIZE, SIZE), np.uint8)
    picture[4:12, 2:8] = 255
    return picture


def read_table(folder: Path) -> list[dict[str, str]]:
    """Rows of the folder's CSV."""
    with (folder / ham10000.TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def write_table(folder: Path, rows: Sequence[dict[str, str]]) -> None:
    """Replace the folder's CSV."""
    with (folder / ham10000.TABLE).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def image_file(folder: Path, image: str) -> Path:
    """Where an image of the folder lies."""
    return next(folder.glob(f"*/{image}.jpg"))


def write_records(folder: Path, out: Path, **changes: Any) -> records.Dataset:
    """Read and write in this process, with small shards, whatever is rejected."""
    rows, rejects = ham10000.read(folder)
    tasks = changes.pop("tasks", None)
    settings = {"size": SIZE, "shard_size": 4, "workers": 1, "max_rejects": 1.0, **changes}
    return writing.write(
        out,
        name="ham10000",
        classes=ham10000.CLASSES,
        rows=rows,
        tasks=tasks,
        rejects=rejects,
        how=shards.Preparation(**settings),
    )


def command(folder: Path, out: Path, *options: str) -> int:
    """The prepare command in this process; its exit code."""
    log = logging.getLogger("attnrobust")
    before = list(log.handlers)
    argv = [
        "--raw",
        str(folder),
        "--out",
        str(out),
        "--size",
        str(SIZE),
        "--shard-size",
        "4",
        "--workers",
        "1",
        *options,
    ]
    try:
        return prepare.main(
            ham10000.NAME, ham10000.CLASSES, ham10000.read, split_by=("lesion", "image"), argv=argv
        )
    finally:
        log.handlers = before


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def shard_files(folder: Path) -> dict[str, bytes]:
    """The shards among them."""
    return {name: data for name, data in contents(folder).items() if name.endswith(".tfrecord")}


def stored(dataset: records.Dataset, split: str | None = None) -> dict[str, dict[str, Any]]:
    """Examples by id, read without the project's own parser; an id that comes twice fails."""
    examples: dict[str, dict[str, Any]] = {}
    for name in [split] if split else list(dataset.splits):
        for file in dataset.files(name):
            for raw in tf.data.TFRecordDataset(file).as_numpy_iterator():
                features = tf.train.Example.FromString(raw).features.feature
                id_ = features["id"].bytes_list.value[0].decode()
                assert id_ not in examples
                examples[id_] = {
                    "split": name,
                    "group": features["group"].bytes_list.value[0].decode(),
                    "image": features["image"].bytes_list.value[0],
                    "mask": features["mask"].bytes_list.value[0],
                    "label": features["label"].int64_list.value[0],
                }
    return examples


def pixels(content: bytes) -> np.ndarray:
    """A stored image decoded by Pillow."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def reject_reasons(path: Path) -> dict[str, str]:
    """Reasons by id of a rejects.csv."""
    with path.open(newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def make_eyepacs(folder: Path, *, patients: int = 20) -> Path:
    """Write EyePACS' layout: two eyes a patient, all five grades alike."""
    (folder / "train").mkdir(parents=True)
    lines = ["image,level"]
    for patient in range(patients):
        for side, level in (("left", patient % 5), ("right", 4 - patient % 5)):
            name = f"{100 + patient}_{side}"
            image = colours(2 * patient + (side == "left"))
            (folder / "train" / f"{name}.jpeg").write_bytes(encoded(image))
            lines.append(f"{name},{level}")
    (folder / "trainLabels.csv").write_text("\n".join(lines) + "\n")
    return folder


XRAY_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)


def make_chestxray14(folder: Path, *, patients: int = 20) -> Path:
    """Write ChestX-ray14's layout: two X-rays a patient, every fourth patient with pneumothorax."""
    (folder / "images").mkdir(parents=True)
    lines = [XRAY_HEADER]
    for patient in range(1, patients + 1):
        for follow in range(2):
            name = f"{patient:08d}_{follow:03d}.png"
            grey = colours(2 * patient + follow)[..., 0]
            (folder / "images" / name).write_bytes(encoded(grey, "PNG"))
            findings = "Effusion|Pneumothorax" if patient % 4 == 0 else "No Finding"
            lines.append(f"{name},{findings},{follow},{patient},50,M,PA,2500,2048,0.171,0.171,")
    (folder / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")
    return folder
