"""Dermofit Image Library (Ballerini et al. 2013): ten classes of skin lesions, split by patient.

Layout, as the ten archives unpack beside each other:
    AK/<image>/<image>.png        and AK/<image>/<image>mask.png, likewise in
    BCC/ ML/ SK/ SCC/ IEC/        basal cell carcinoma, mole, seborrhoeic keratosis, squamous cell
                                  carcinoma, intraepithelial carcinoma
    PYO/ VASC/ DF/ MEL/           pyogenic granuloma, haemangioma, dermatofibroma, melanoma
    patients.csv                  image,patient: not part of the library, and may be missing

A folder may have the class's name in full (`Actinic Keratosis`). An image without a mask is taken
without one. The library, under a licence of its own, names no patients: without `patients.csv`
every image counts as a patient, and the log says so.

    attnrobust prepare dermofit --raw DIR [--out DIR]
    attnrobust prepare dermofit --raw DIR --split 0.4 0.1 0.5    half is for the test
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from attnrobust.config import lookup
from attnrobust.data import images, places, prepare, raw
from attnrobust.data.raw import Reject, Row
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

NAME = "dermofit"
FULL = {
    "ak": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "ml": "melanocytic nevus",
    "sk": "seborrhoeic keratosis",
    "scc": "squamous cell carcinoma",
    "iec": "intraepithelial carcinoma",
    "pyo": "pyogenic granuloma",
    "vasc": "haemangioma",
    "df": "dermatofibroma",
    "mel": "malignant melanoma",
}
CLASSES = tuple(FULL)
SPELLED = {
    **{name: label for label, name in FULL.items()},
    **{label: label for label in FULL},
    "mole": "ml",
    "seborrheic keratosis": "sk",
    "hemangioma": "vasc",
    "melanoma": "mel",
}
PATIENTS = "patients.csv"
MASK = re.compile(r"[ _-]?mask$", re.IGNORECASE)
LAYOUT = "expected a folder a class (AK, BCC, …), a folder an image in it (AK/P104/P104.png)"


def read(folder: Path, *, split_by: str = "patient") -> tuple[list[Row], list[Reject]]:
    """Rows and rejects of a raw folder; a line is an image's place in the order of their folders.

    Args:
        folder: Holds the class folders.
        split_by: `patient`, as `patients.csv` names them, or `image`.

    Raises:
        UserError: No class folder, or one of no known class with images in it; a `patients.csv`
            without its columns.
    """
    patients = _patients(folder) if split_by == "patient" else {}
    rows: list[Row] = []
    rejects: list[Reject] = []
    seen: dict[str, Path] = {}
    found = [(place, label, each) for place, label in _classes(folder) for each in _entries(place)]
    for line, (place, label, each) in enumerate(found, 1):
        image, mask, reason = _pair(each, place.name)
        id_ = image.stem if image else each.name
        if image and not raw.SAFE_ID.fullmatch(id_):
            reason = "unsafe id: letters, digits, space . _ - @ ( ) expected"
        elif image and id_ in seen:
            reason = f"{seen[id_].relative_to(folder)} has the same name"
        elif image and patients and not patients.get(id_):
            reason = f"no patient in {PATIENTS}: its split would be a guess"
        if reason or image is None:
            rejects.append(Reject(line, id_, reason, missing=reason.startswith("no image")))
            continue
        seen[id_] = image
        rows.append(Row(id_, image, label, patients.get(id_, id_), line, mask))
    if without := sum(row.mask is None for row in rows):
        log.info("%d images have no mask beside them", without)
    return rows, rejects


def _patients(folder: Path) -> dict[str, str]:
    """Patient of each image; empty, with a warning, where nothing names them."""
    listed = places.find(folder, (PATIENTS,)) if folder.is_dir() else None
    if listed is None:
        log.warning(
            "warning: the library names no patients, so that every image counts as one; a %s "
            "(image,patient) beside the class folders says better",
            PATIENTS,
        )
        return {}
    table = raw.read_table(listed, ("image", "patient"))
    return dict(zip(raw.bare_ids(table["image"]), table["patient"], strict=True))


def _classes(folder: Path) -> list[tuple[Path, str]]:
    """Folders of classes with their labels.

    Raises:
        UserError: As `read`.
    """
    if not folder.is_dir():
        raise UserError(f"--raw {folder}: no such folder")
    inner = _inner(folder)
    found = [(places.folders(folder, [each.name], images.SUFFIXES)[0], each) for each in inner]
    known = [(place, SPELLED[_plain(each.name)]) for place, each in found if _known(each)]
    if not known:
        raise UserError(f"--raw {folder}: no folder of a class; {LAYOUT}{_hint(folder, inner)}")
    for place, each in found:
        if not _known(each) and any(_images(deeper) for deeper in _inner(place)):
            lookup(f"class, named by a folder of {folder},", SPELLED, _plain(each.name))
    missing = sorted(set(CLASSES) - {label for _, label in known})
    if missing:
        log.warning("warning: %s: no folder of %s", folder, ", ".join(missing))
    return known


def _hint(folder: Path, inner: Sequence[Path]) -> str:
    """What there is instead, for a message."""
    above = [place for place in inner if any(_known(each) for each in _inner(place))]
    packed = [name for name in places.files(folder) if name.lower().endswith(".zip")]
    if above:
        return f"; {above[0]} has some: name --raw {above[0]}"
    if _known(folder) and any(_images(each) for each in inner):
        return f"; this is one class alone: name --raw {folder.resolve().parent}"
    return f"; {packed[0]} is there: unpack it" if packed else ""


def _entries(place: Path) -> list[Path]:
    """What a class's folder holds: folders of images, and images that should lie in one."""
    return _inner(place) + _images(place)


def _pair(place: Path, class_: str) -> tuple[Path | None, Path | None, str]:
    """Image and mask of an image's folder, or why there is none."""
    if not place.is_dir():
        return None, None, f"lies in {class_} itself; expected {class_}/NAME/{place.name}"
    files = _images(place)
    masks = [path for path in files if MASK.search(path.stem)]
    plain = [path for path in files if path not in masks]
    if len(plain) != 1 or len(masks) > 1:
        names = ", ".join(path.name for path in files) or "no image"
        return None, None, f"{names} in its folder; expected an image, and at most one …mask.png"
    mask = masks[0] if masks else None
    if mask and MASK.sub("", mask.stem).lower() != plain[0].stem.lower():
        return None, None, f"{mask.name} beside {plain[0].name}; expected {plain[0].stem}mask.png"
    return plain[0], mask, ""


def _inner(place: Path) -> list[Path]:
    return sorted(
        each for each in place.iterdir() if each.is_dir() and not places.left_over(each.name)
    )


def _images(place: Path) -> list[Path]:
    return [place / name for name in places.files(place) if name.lower().endswith(images.SUFFIXES)]


def _known(place: Path) -> bool:
    return _plain(place.resolve().name) in SPELLED


def _plain(name: str) -> str:
    """A class's name without case, underscores or hyphens."""
    return " ".join(re.sub(r"[_-]", " ", name.lower()).split())


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    return prepare.main(
        NAME, CLASSES, read, split_by=("patient", "image"), about=__doc__, argv=argv
    )


if __name__ == "__main__":
    raise SystemExit(main())
