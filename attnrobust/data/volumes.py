"""Volumes of NIfTI files to slices: square images and label maps as PNG, the voxels' size kept.

Axes are made those of the patient first (right, anterior, superior: RAS), so that a plane is the
same cut of every scan; then a slice's rows and columns are made of equal length in mm.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from attnrobust.data import nifti, preprocessing, raw
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
# White is this percentile of what is brighter than the darkest voxel.
WHITE = 99.5
# What is brighter than this share of white shows something; around it stays a margin.
DARK, MARGIN = 0.05, 0.05
# Of spacings and places, in mm.
ALIKE = 0.01
# What a label that was stored scaled may be off a whole number; none is as large as FAR.
WHOLE, FAR = 1e-3, 2**31
# Pixels of a slice's side: voxels so unlike in length are a fault of the header.
LONGEST = 8192


@dataclass(frozen=True)
class Scan:
    """A volume and the labels of its voxels.

    Attributes:
        subject: Whose it is; no split tears one apart.
        image: NIfTI file.
        labels: NIfTI file of whole numbers on the same grid.
        split: That the data set puts it in; empty where it leaves that open.
    """

    subject: str
    image: Path
    labels: Path
    split: str = ""


@dataclass(frozen=True)
class Cut:
    """How a volume becomes slices.

    Attributes:
        plane: `sagittal`, `coronal` or `axial`.
        size: Height and width of a slice; 0 keeps its own.
        background: Slices that show nothing but background are kept, too.
        whole_field: The whole field of view; else the square around what is brighter than air.
    """

    plane: str = "coronal"
    size: int = 256
    background: bool = False
    whole_field: bool = False


def pair(scan: Scan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intensities in [0, 1] (X, Y, Z), whole labels (X, Y, Z), and mm a voxel (3,).

    Raises:
        UserError: As `nifti.load`; the two are not on one grid, intensities are not finite or all
            the same, labels are not whole.
    """
    (image, affine), (labels, other) = nifti.load(scan.image), nifti.load(scan.labels)
    if image.shape != labels.shape:
        sizes = [" x ".join(map(str, each.shape)) for each in (labels, image)]
        raise UserError(f"{scan.labels}: {sizes[0]} voxels, its image {sizes[1]}")
    if not np.allclose(affine, other, atol=ALIKE):
        raise UserError(f"{scan.labels}: lies elsewhere than its image (another affine)")
    with np.errstate(invalid="ignore"):  # infinity less itself; of NaN nothing is true
        whole = (np.abs(np.rint(labels) - labels) <= WHOLE) & (np.abs(labels) < FAR)
    if not whole.all():
        raise UserError(f"{scan.labels}: labels that are no whole numbers")
    image = image.astype(np.float32)
    if not np.isfinite(image).all() or np.ptp(image) == 0:
        raise UserError(f"{scan.image}: intensities not finite, or all the same")
    image = image - image.min()
    image = np.clip(image / np.percentile(image[image > 0], WHITE), 0, 1)
    return image, np.rint(labels).astype(np.int64), np.linalg.norm(affine[:3, :3], axis=0)


def as_classes(
    labels: np.ndarray, classes: Sequence[str], values: Mapping[int, int], path: Path
) -> np.ndarray:
    """Labels to the classes that they stand for, uint8 of the same shape.

    Args:
        labels: Whole numbers.
        classes: Names in label order.
        values: Class of each number.
        path: Where they are from.

    Raises:
        UserError: A number without a class.
    """
    numbers, places = np.unique(labels, return_inverse=True)
    strange = [str(number) for number in numbers if int(number) not in values]
    if strange:
        raise UserError(
            f"{path}: label {', '.join(strange[:5])} stands for no structure of the label map "
            f"({', '.join(classes)}); add it there, to {classes[0]} if it plays no part"
        )
    found = np.array([values[int(number)] for number in numbers], np.uint8)
    return found[places].reshape(labels.shape)


def slices(
    volume: np.ndarray, voxel: np.ndarray, plane: str, *, nearest: bool = False
) -> tuple[np.ndarray, float]:
    """All cuts of a volume (X, Y, Z), (N, H, W), the upper side of the patient up; mm a pixel.

    Where voxels are longer one way, slices are enlarged that way; `nearest` for classes.
    """
    axis = PLANES[plane]
    cuts = np.moveaxis(volume, axis, 0).transpose(0, 2, 1)[:, ::-1]
    width, height = np.delete(voxel, axis)
    mm = float(min(width, height))
    if abs(width - height) > ALIKE * mm:
        shape = (round(cuts.shape[2] * width / mm), round(cuts.shape[1] * height / mm))
        if max(shape) > LONGEST:
            raise UserError(
                f"voxels of {width:g} x {height:g} mm in a slice: a fault of the header"
            )
        how = cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_LINEAR
        plain = map(np.ascontiguousarray, cuts)
        cuts = np.stack([cv2.resize(each, shape, interpolation=how) for each in plain])
    return cuts, mm


def square(cuts: np.ndarray, *, whole_field: bool) -> tuple[int, int, int]:
    """Top, left and side of the square of slices (N, H, W) that shows all there is to see."""
    bottom, right = cuts.shape[1:]
    top = left = 0
    side = max(bottom, right)
    if not whole_field:
        seen = (cuts > DARK).any(axis=0)
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        side = round(max(bottom - top, right - left) * (1 + 2 * MARGIN))
    return (top + bottom - side) // 2, (left + right - side) // 2, side


def cropped(cuts: np.ndarray, place: tuple[int, int, int]) -> np.ndarray:
    """Slices (N, H, W) to that square (N, side, side), 0 where there is nothing."""
    top, left, side = place
    made = np.zeros((len(cuts), side, side), cuts.dtype)
    height, width = cuts.shape[1:]
    rows = slice(max(top, 0), min(top + side, height))
    columns = slice(max(left, 0), min(left + side, width))
    made[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = cuts[
        :, rows, columns
    ]
    return made


def unpack(
    scans: Sequence[Scan],
    folder: Path,
    *,
    classes: Sequence[str],
    values: Mapping[int, int],
    cut: Cut,
) -> tuple[list[raw.Row], dict[str, dict[str, object]]]:
    """Write every scan's slices, `<subject>-<number>.png` and `-labels.png`, and say their rows.

    Args:
        scans: One a subject.
        folder: Where slices go; it exists.
        classes: Names in label order, the background first.
        values: Class of each number in a label file.
        cut: How.

    Returns:
        Rows; and by subject what is to be known in mm: `voxel` (R, A, S), `side` of a slice,
        `thickness` from one slice to the next, and how many `slices` there are and were `left_out`.

    Raises:
        UserError: As `pair` and `as_classes`; no slice shows a structure.
    """
    rows: list[raw.Row] = []
    facts: dict[str, dict[str, object]] = {}
    for scan in scans:
        image, labels, voxel = pair(scan)
        found = as_classes(labels, classes, values, scan.labels)
        cuts, mm = slices(image, voxel, cut.plane)
        maps, _ = slices(found, voxel, cut.plane, nearest=True)
        place = square(cuts, whole_field=cut.whole_field)
        kept = 0
        for number, (picture, map_) in enumerate(
            zip(cropped(cuts, place), cropped(maps, place), strict=True)
        ):
            grey, small = _sized(picture, map_, cut.size)
            # Black slices of two subjects are one picture, and would make one subject of both.
            if np.ptp(grey) == 0 or not (cut.background or small.any()):
                continue
            id_ = f"{scan.subject}-{number:03d}"
            files = folder / f"{id_}.png", folder / f"{id_}-labels.png"
            for file, content in zip(files, (grey, small), strict=True):
                if not cv2.imwrite(str(file), content):
                    raise OSError(28, f"{file} could not be written")
            line = len(rows) + 2
            rows.append(
                raw.Row(id_, files[0], "", scan.subject, line, split=scan.split, map=files[1])
            )
            kept += 1
        facts[scan.subject] = {
            "voxel": [round(float(side), 4) for side in voxel],
            "side": round(place[2] * mm, 3),
            "thickness": round(float(voxel[PLANES[cut.plane]]), 4),
            "slices": kept,
            "left_out": len(cuts) - kept,
        }
    if not rows:
        raise UserError("no slice shows a structure; look at the label map (--labels)")
    _say(facts)
    return rows, facts


def _sized(picture: np.ndarray, map_: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A slice in [0, 1] and its classes, both uint8 (size, size); 0 keeps their own."""
    grey = np.rint(255 * picture).astype(np.uint8)
    if not size:
        return grey, map_
    return preprocessing.stretch(grey, size), preprocessing.stretch(map_, size, nearest=True)


def _say(facts: Mapping[str, Mapping[str, object]]) -> None:
    left = sum(int(str(each["left_out"])) for each in facts.values())
    log.info(
        "%d scans, %d slices; %d that are black or show background alone are left out",
        len(facts),
        sum(int(str(each["slices"])) for each in facts.values()),
        left,
    )
