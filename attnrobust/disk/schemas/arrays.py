"""Arrays in .npz files, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from attnrobust.disk import files
from attnrobust.disk.files import AGAIN
from attnrobust.disk.schemas.plain import damaged
from attnrobust.task import TASKS

# Of each array its kind, then its shape: a letter stands for one length in all arrays of a file.
# Kinds are those of NumPy (U text, i whole, f real and finite, b truth), p, a pixel in [0, 1],
# and n, a number or NaN, which stands for what is not defined.
# A "?" behind the name: it may be missing. What a task keeps stands there as for `classify`; a
# file of another task is held against that one's arrays.
Arrays = Mapping[str, str]
SEEN: Arrays = {"group?": "U N", **TASKS["classify"].stored}
PREDICTED: Arrays = {"id": "U N", "pixel?": "f N", **SEEN}
SHOWN: Arrays = {"id": "U N", "label": "i N", "sample_id": "U S", "sample_image": "p S H W 3"}
MEASURED: Arrays = {**PREDICTED, "linf": "f N", "l2?": "f N", "l0?": "f N"}
ATTACKED: Arrays = {**MEASURED, "queries?": "i N", **SHOWN, "sample_mask?": "b S H W"}
EXPLAINED: Arrays = {
    "id": "U N",
    "heatmap": "f N H W",
    "scale?": "f N",
    "signed?": "f N H W",
    "target?": "i N",
    "prediction?": "i N",
    "logit_difference?": "f N",
    "completeness_error?": "f N",
    "gradients?": "i N",
}
SCORED: Arrays = {"id": "U N", "deletion": "f N", "insertion": "f N", "max_sensitivity?": "n N"}


def judged(names: Sequence[str], task: str = "classify") -> Arrays:
    """The kind of files that `transfer` writes: what these models of a task see."""
    row = TASKS[task]
    scores = {f"{row.scores}-{name}": row.stored[row.scores] for name in names}
    noisy = {f"noisy-{name}?": row.stored[row.scores] for name in names}
    return {"group?": "U N", "label": row.stored["label"], **scores, **noisy}


def _of_its_task(kind: Arrays, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The kind with what the task of this file keeps, where it names what a task keeps."""
    named = TASKS["classify"].stored
    every = (row.stored for row in TASKS.values() if row.stored.keys() <= arrays.keys())
    found = next(every, named)
    if not named.keys() <= kind.keys():
        # Of a kind that asks for the label alone.
        alone = kind.get("label") == named["label"]
        return {**kind, "label": found["label"]} if alone else kind
    rest = {name: said for name, said in kind.items() if name not in named}
    return {**rest, **found}


def crafted(names: Sequence[str], task: str = "classify") -> Arrays:
    """The kind of files that `transfer --paper` writes: adversarials and their noisy twins."""
    row = TASKS[task]
    noisy = {f"noisy-{name}": row.stored[row.scores] for name in names}
    measured = dict.fromkeys(("ssim", "noisy_ssim", "linf", "l2"), "f N")
    embedded = dict.fromkeys(("embedding", "noisy_embedding"), "f N D")
    samples = {f"sample_{name}": "p S H W 3" for name in ("clean", "image", "noisy")}
    shown = {"id": "U N", "sample_id": "U S", **samples}
    found = {**judged(names, task), **noisy, **measured, **shown}
    return found if row.graded else {**found, **embedded}


KINDS = {"U": "U", "i": "iu", "f": "f", "b": "b", "p": "f", "n": "f"}


def load_npz(path: Path, kind: Arrays, again: str = "") -> dict[str, np.ndarray]:
    """A .npz of this kind, whole; arrays that the kind does not name stay.

    Raises:
        UserError: Not there, or damaged: an array missing, of another type or shape or without
            rows, a number that is not finite, a label that is no class, an id twice.
    """
    again = again or f"delete it and {AGAIN}"
    arrays = files.load_npz(path, again)
    lengths: dict[str, int] = {}
    kind = _of_its_task(kind, arrays)
    for each, said in kind.items():
        name, (type_, *shape) = each.removesuffix("?"), said.split()
        if name in arrays:
            wrong = _wrong(arrays[name], type_, shape, lengths)
        else:
            wrong = "" if each.endswith("?") else f"no {name} in it"
        if wrong:
            raise damaged(path, wrong if name not in arrays else f"{name}: {wrong}", again)
    for name in ("id", "sample_id"):
        if name in arrays and len(np.unique(arrays[name])) < len(arrays[name]):
            raise damaged(path, f"{name}: one comes twice", again)
    label, classes = arrays.get("label"), lengths.get("K", 0)
    if label is not None and "K" in lengths and not ((label >= 0) & (label < classes)).all():
        raise damaged(path, f"label: expected 0 to {classes - 1}", again)
    if "sample_id" in kind and not np.isin(arrays["sample_id"], arrays["id"]).all():
        raise damaged(path, "sample_id: one is not among the ids", again)
    return arrays


def _wrong(array: np.ndarray, type_: str, shape: Sequence[str], lengths: dict[str, int]) -> str:
    """What is wrong with an array; empty for nothing. Takes down the lengths it stands for."""
    if array.dtype.kind not in KINDS[type_]:
        return f"{array.dtype}, expected another type"
    expected = [int(side) if side.isdigit() else lengths.get(side) for side in shape]
    alike = len(shape) == array.ndim and all(
        length >= 1 if side is None else length == side
        for length, side in zip(array.shape, expected, strict=True)
    )
    if not alike:
        sides = ", ".join(
            side if at is None else str(at) for side, at in zip(shape, expected, strict=True)
        )
        return f"shape {array.shape}, expected ({sides})"
    lengths.update(zip(shape, array.shape, strict=True))
    told = array[~np.isnan(array)] if type_ == "n" else array
    if array.dtype.kind == "f" and not np.isfinite(told).all():
        return "not finite"
    if type_ == "p" and not (array.min() >= 0 and array.max() <= 1):
        return "expected values in [0, 1]"
    return ""
