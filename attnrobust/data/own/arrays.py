"""Images that are arrays: NumPy's, a tf.data.Dataset's, MedMNIST's .npz.

They are written once, without loss, to a temporary folder, so that they go the way of all images.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from attnrobust.console import progress
from attnrobust.data.own import found as checks
from attnrobust.data.own.found import Found
from attnrobust.data.own.pixels import as_bytes, check_brightness
from attnrobust.data.raw import SPLITS, Row
from attnrobust.errors import UserError

# MedMNIST's names of the splits.
PARTS = dict(zip(("train", "val", "test"), SPLITS, strict=True))
NPZ = "train_images, train_labels, val_images, …, test_labels (MedMNIST), or images and labels"
# An image's place, its array, its label, its split.
Example = tuple[str, np.ndarray, str, str]


def from_arrays(
    images: Any, labels: Any, classes: Sequence[str] = (), groups: Sequence[Any] | None = None
) -> Found:
    """Images and labels in memory.

    Args:
        images: uint8, or floats in [0, 1] (kept in 8 bits), (N, H, W, 3), (N, H, W, 1) or
            (N, H, W).
        labels: Whole numbers or names, (N,) or (N, 1), or one-hot (N, K).
        classes: Class names in label order; numbers are places in it, from 0.
        groups: Patient or lesion of each, which no split tears apart.

    Raises:
        UserError: Arrays of another kind, said with what to do.
    """
    pixels = as_bytes(images, "images")
    check_brightness(int(pixels.max(initial=0)), "images")
    names, order = _named(labels, len(pixels), classes, "labels")
    if groups is not None and len(groups) != len(pixels):
        raise UserError(f"groups: {len(groups):,} for {len(pixels):,} images")
    patients = None if groups is None else [_text(group) for group in groups]
    for place, patient in enumerate(patients or []):
        if patient.lower() in ("", "nan", "none", "<na>"):
            raise UserError(f"groups: empty at {place}; its split would be a guess")
    examples = [
        (f"{place:06d}", image, label, "")
        for place, (image, label) in enumerate(zip(pixels, names, strict=True))
    ]
    said = f"arrays: {len(pixels):,} images of {_sides(pixels)}"
    return _staged(examples, order, classes, said, total=len(pixels), groups=patients)


def from_dataset(dataset: Any, classes: Sequence[str] = ()) -> Found:
    """The (image, label) pairs of a tf.data.Dataset, batched or one by one, in its order.

    Args:
        dataset: Ends; images and labels as `from_arrays` takes them.
        classes: Class names in label order; numbers are places in it, from 0. Empty: those of
            Keras' image_dataset_from_directory, or the labels.

    Raises:
        UserError: It never ends, holds other than pairs, or arrays of another kind.
    """
    if int(dataset.cardinality()) == -1:
        raise UserError("the tf.data.Dataset never ends; take a part of it with .take(…)")
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        held = f"{len(spec)} parts" if isinstance(spec, tuple) else type(spec).__name__
        raise UserError(f"the tf.data.Dataset gives {held}; expected pairs (image, label)")
    classes = classes or getattr(dataset, "class_names", ())
    pixels, labels = [], []
    for image, label in dataset.as_numpy_iterator():
        one = _is_one(image, np.asarray(label))
        pixels.append(as_bytes(image[np.newaxis] if one else image, "images"))
        labels.append(np.asarray(label)[np.newaxis] if one else np.asarray(label))
    if not pixels:
        raise UserError("the tf.data.Dataset is empty")
    names, order = _named(np.concatenate(labels), sum(map(len, pixels)), classes, "labels")
    check_brightness(max(int(batch.max(initial=0)) for batch in pixels), "images")
    every = (image for batch in pixels for image in batch)
    examples = (
        (f"{place:06d}", image, label, "")
        for place, (image, label) in enumerate(zip(every, names, strict=True))
    )
    said = f"tf.data.Dataset: {len(names):,} images of {_sides(pixels[0])}"
    return _staged(examples, order, classes, said, total=len(names))


def from_npz(path: Path, classes: Sequence[str] = ()) -> Found:
    """The arrays of a MedMNIST file, with its splits.

    Args:
        path: Holds images and labels of some of train, val, test, or `images` and `labels`.
        classes: Class names in label order; empty: the labels' numbers.

    Raises:
        UserError: Not such a file, 3-D volumes, or several labels an image.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a readable .npz ({reason}); expected {NPZ}") from None
    parts = {name: split for name, split in PARTS.items() if f"{name}_images" in held}
    keys = {f"{name}_": split for name, split in parts.items()} or {"": ""}
    missing = [
        f"{key}{kind}"
        for key in keys
        for kind in ("images", "labels")
        if f"{key}{kind}" not in held
    ]
    if missing:
        raise UserError(f"{path}: no {missing[0]} in it, but {', '.join(held)}; expected {NPZ}")
    examples: list[Example] = []
    every = np.concatenate([_column(held[f"{key}labels"], f"{path}: {key}labels") for key in keys])
    names, order = _named(every, len(every), classes, f"{path}: labels")
    for key, split in keys.items():
        pixels = as_bytes(held[f"{key}images"], f"{path}: {key}images")
        if len(pixels) != len(held[f"{key}labels"]):
            raise UserError(
                f"{path}: {len(held[f'{key}labels']):,} {key}labels for {len(pixels):,}"
            )
        mine, names = names[: len(pixels)], names[len(pixels) :]
        examples += [
            (f"{key}{place:06d}", image, label, split)
            for place, (image, label) in enumerate(zip(pixels, mine, strict=True))
        ]
    said = f"{path}: {'MedMNIST' if parts else 'arrays'}, images of {_sides(pixels)}"
    return _staged(examples, order, classes, said, total=len(examples), source=path)


def _is_one(image: np.ndarray, label: np.ndarray) -> bool:
    """Whether a pair is of one image, not of a batch of them."""
    if label.ndim == 0 or image.ndim == 2:
        return True
    return image.ndim == 3 and image.shape[2] in (1, 3) and len(label) != len(image)


def _column(labels: Any, what: str) -> np.ndarray:
    """Labels (N,): places of the ones where they are one-hot."""
    found = np.asarray(labels)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim == 2:
        ones = found == 1
        whole = (ones | (found == 0)).all() and (ones.sum(axis=1) == 1).all()
        if not whole:
            wrong = int((~(ones | (found == 0)).all(axis=1) | (ones.sum(axis=1) != 1)).sum())
            raise UserError(
                f"{what}: shape {found.shape}, and {wrong:,} rows have not exactly one 1: "
                "multi-label data; expected one class an image, (N,), (N, 1) or one-hot (N, K)"
            )
        return np.argmax(ones, axis=1)
    if found.ndim != 1:
        raise UserError(f"{what}: shape {found.shape}; expected (N,), (N, 1) or one-hot (N, K)")
    if found.dtype.kind == "f":
        if not (np.isfinite(found) & (found == np.rint(found))).all():
            raise UserError(f"{what}: floats that are no whole numbers; expected classes")
        found = found.astype(np.int64)
    return found


def _named(
    labels: Any, count: int, classes: Sequence[str], what: str
) -> tuple[list[str], tuple[str, ...]]:
    """Each label's class name, and the label order, as far as the labels themselves tell it."""
    found = _column(labels, what)
    if len(found) != count:
        raise UserError(f"{what}: {len(found):,} for {count:,} images")
    if found.dtype.kind not in "iub":
        words = [_text(each) for each in found]
        for place, word in enumerate(words):
            if reason := checks.label_reason(word):
                raise UserError(f"{what}: {reason} (at {place})")
        return words, tuple(classes)
    found = found.astype(np.int64)
    if not classes:
        # A column without a 1 is a class all the same.
        wide = np.shape(labels)[1] if np.ndim(labels) == 2 and np.shape(labels)[1] > 1 else 0
        return [str(each) for each in found], tuple(str(each) for each in range(wide))
    low, high = int(found.min()), int(found.max())
    if low < 0 or high >= len(classes):
        shifted = " (shifted by one? subtract 1)" if (low, high) == (1, len(classes)) else ""
        raise UserError(
            f"{what}: from {low} to {high} for {len(classes)} classes; expected 0 to "
            f"{len(classes) - 1}{shifted}"
        )
    return [classes[each] for each in found], tuple(classes)


def _text(label: Any) -> str:
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label).strip()


def _staged(
    examples: Iterable[Example],
    order: Sequence[str],
    classes: Sequence[str],
    layout: str,
    *,
    total: int,
    groups: Sequence[str] | None = None,
    source: Path | None = None,
) -> Found:
    """Write the images to files that are there as long as what is returned."""
    folder = Path(tempfile.mkdtemp(prefix="attnrobust-"))
    try:
        rows = list(
            progress(
                _rows(examples, folder, groups),
                "unpacking",
                total=total,
                unit="image",
            )
        )
        what = layout.partition(":")[0]
        rows, rejects, named = checks.ordered(rows, [], classes or order, what=what)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    held = _Held()
    weakref.finalize(held, shutil.rmtree, folder, ignore_errors=True)
    sources = [source] if source else []
    return Found(rows, rejects, named, layout, sources, name="arrays", held=held)


class _Held:
    """Lives as long as a `Found` and copies of it; with the last of them its files go."""


def _rows(examples: Iterable[Example], folder: Path, groups: Sequence[str] | None) -> Iterator[Row]:
    for place, (id_, image, label, split) in enumerate(examples):
        path = folder / f"{id_}.png"
        plain = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        path.write_bytes(cv2.imencode(".png", plain)[1].tobytes())
        yield Row(id_, path, label, groups[place] if groups else id_, place, split=split)


def _sides(pixels: np.ndarray) -> str:
    height, width = pixels.shape[1:3]
    return f"{width} x {height} px"
