"""Brain MRI with labelled voxels, as 2-D slices: IBSR, and any folder of NIfTI files like it.

Layout, either:
    <subject>/<subject>.nii.gz          a scan; axis order and voxels are those of the file
    <subject>/<subject>_seg.nii.gz      the label of each voxel
or nnU-Net's:
    imagesTr/<case>_0000.nii.gz         a scan (further channels are left alone)
    labelsTr/<case>.nii.gz              its labels
    dataset.json                        with "labels", which are taken where --labels is not given
and, if some scans are to be kept in a split:
    splits.csv                          subject,split (train, validation or test)

The label map says which numbers make a structure: --labels tissues (IBSR's, the default),
freesurfer, malc2012, or a JSON file such as {"background": 0, "thalamus": [10, 49]}. Axes become
those of the patient; voxel sizes stay, in mm, in dataset.json. A slice that is black, or shows
nothing but background, is left out and counted.

    attnrobust prepare brain_mri --raw DIR [--plane coronal] [--labels FILE] [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnrobust.console import run_command
from attnrobust.data import nifti, prepare, raw, shards, volumes, writing
from attnrobust.data.label_maps import MOST_CLASSES
from attnrobust.data.volumes import Cut, Scan
from attnrobust.errors import UserError
from tfrecords._brain_structures import LABELS, Structures

log = logging.getLogger("attnrobust")

NAME = "brain_mri"
DEFAULT = "tissues"
SPLITS = "splits.csv"
CHANNEL = "_0000"


def scans(folder: Path) -> list[Scan]:
    """The scans of a raw folder, in order of their subjects.

    Raises:
        UserError: No such folder or no scan in it, a scan or its labels missing, a subject in two
            splits or with a name that no file can have.
    """
    if not folder.is_dir():
        raise UserError(f"--raw {folder}: no such folder")
    found = _nnunet(folder) if (folder / "imagesTr").is_dir() else _subjects(folder)
    if not found:
        raise UserError(
            f"{folder}: no scans; expected <subject>/<subject>.nii.gz, or imagesTr and labelsTr"
        )
    split_of = _splits(folder, [scan.subject for scan in found])
    for scan in found:
        if not raw.SAFE_ID.fullmatch(scan.subject):
            raise UserError(f"{scan.image}: letters, digits, space . _ - @ ( ) expected in a name")
    return [Scan(s.subject, s.image, s.labels, split_of.get(s.subject, "")) for s in found]


def _subjects(folder: Path) -> list[Scan]:
    """One folder a subject."""
    found, others = [], []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        image = nifti.named(place, place.name)
        labels = nifti.named(place, f"{place.name}_seg")
        if image and labels:
            found.append(Scan(place.name, image, labels))
        elif image or labels:
            missing = place.name if labels else f"{place.name}_seg"
            raise UserError(f"{image or labels}: no {missing}.nii.gz beside it")
        else:
            others.append(place.name)
    if found and others:
        log.warning(
            "warning: %d folders hold no scan of their name: %s",
            len(others),
            ", ".join(others[:5]),
        )
    return found


def _nnunet(folder: Path) -> list[Scan]:
    """Images of channel 0 and their labels."""
    found = []
    for name in _names(folder / "imagesTr"):
        image = nifti.named(folder / "imagesTr", name)
        if not image or not name.endswith(CHANNEL):
            continue
        case = name.removesuffix(CHANNEL)
        labels = nifti.named(folder / "labelsTr", case)
        if not labels:
            raise UserError(f"{image}: no {case}.nii.gz in {folder / 'labelsTr'}")
        found.append(Scan(case, image, labels))
    cases = {scan.subject for scan in found}
    for case in _names(folder / "labelsTr"):
        if case not in cases:
            raise UserError(f"{folder / 'labelsTr' / case}: no {case}{CHANNEL}.nii.gz in imagesTr")
    return found


def _names(folder: Path) -> list[str]:
    """NIfTI files in a folder, by their names without suffix; none that is hidden."""
    files = folder.iterdir() if folder.is_dir() else ()
    plain = (path.name for path in files if not path.name.startswith("."))
    return sorted({nifti.stem(Path(name)) for name in plain if name.endswith(nifti.SUFFIXES)})


def _splits(folder: Path, subjects: Sequence[str]) -> dict[str, str]:
    """The split that splits.csv puts each subject in; nothing without that file."""
    path = folder / SPLITS
    if not path.is_file():
        return {}
    table = raw.read_table(path, ("subject", "split"))
    found: dict[str, str] = {}
    for line, subject, split in zip(table.index + 2, table["subject"], table["split"], strict=True):
        if split not in raw.SPLITS:
            raise UserError(f"{path}: line {line}: split {split}, expected {', '.join(raw.SPLITS)}")
        if found.setdefault(subject, split) != split:
            raise UserError(
                f"{path}: line {line}: {subject} in two splits, {found[subject]} before"
            )
        if subject not in subjects:
            raise UserError(f"{path}: line {line}: no scan of {subject} in {folder}")
    return found


def structures(given: str, folder: Path) -> Structures:
    """The label map: a name of LABELS, a JSON file, nnU-Net's own, or IBSR's tissues.

    Args:
        given: What --labels says; empty for what lies in the folder, or the tissues.
        folder: The raw folder.

    Raises:
        UserError: No such file, not a label map, or a number in it twice.
    """
    own = folder / "dataset.json"
    if not given and own.is_file():
        given = str(own)
    if (given or DEFAULT) in LABELS:
        return LABELS[given or DEFAULT]
    path = Path(given).expanduser()
    if not path.is_file():
        raise UserError(f"--labels {given}: no such file; expected one, or {', '.join(LABELS)}")
    try:
        found = _read(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError):
        raise UserError(
            f'{path}: not a label map; expected JSON such as {{"background": 0, "csf": [4, 43]}}'
        ) from None
    every = [number for numbers in found.values() for number in numbers]
    twice = next((number for number in every if every.count(number) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: {twice} stands for two structures")
    if len(found) > MOST_CLASSES:
        raise UserError(f"{path}: {len(found)} structures, expected at most {MOST_CLASSES}")
    if len(found) < 2 or 0 not in next(iter(found.values())):
        raise UserError(f"{path}: expected the background, 0, first, and at least one structure")
    return found


def _read(said: Mapping[str, Any]) -> Structures:
    """Names to numbers; nnU-Net's first version has numbers to names."""
    labels = said.get("labels", said)
    if all(str(key).isdecimal() for key in labels):
        labels = {name: int(number) for number, name in sorted(labels.items(), key=_number)}
    return {
        _name(name): [_whole(n) for n in (numbers if isinstance(numbers, list) else [numbers])]
        for name, numbers in labels.items()
    }


def _name(said: object) -> str:
    """Raises ValueError where it is none."""
    if not isinstance(said, str) or not said.strip():
        raise ValueError(said)
    return said


def _whole(said: object) -> int:
    """Raises ValueError where it is no whole number; true is none."""
    if not isinstance(said, int) or isinstance(said, bool):
        raise ValueError(said)
    return said


def _number(item: tuple[str, object]) -> int:
    return int(item[0])


def read(
    folder: Path, into: Path, *, labels: Structures, cut: Cut
) -> tuple[list[raw.Row], dict[str, dict[str, object]]]:
    """Rows of all slices, which are written below `into`, and by subject what is known in mm.

    Raises:
        UserError: As `scans` and `volumes.unpack` say.
    """
    values = {number: place for place, each in enumerate(labels.values()) for number in each}
    return volumes.unpack(scans(folder), into, classes=list(labels), values=values, cut=cut)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(argv)

    def work() -> None:
        how = prepare.preparation(options)
        out: Path = options.out
        writing.require_free(out, [options.raw])
        labels = structures(options.labels, options.raw)
        cut = Cut(options.plane, how.size, options.background, options.whole_field)
        with tempfile.TemporaryDirectory(prefix="attnrobust-slices-") as place:
            rows, facts = read(options.raw, Path(place), labels=labels, cut=cut)
            writing.write(
                out,
                name=NAME,
                classes=list(labels),
                rows=rows,
                rejects=[],
                how=how,
                sources=[options.raw],
                facts={"plane": cut.plane, "volumes": facts, "structures": labels},
            )

    stopped = "nothing is kept, the same command begins anew"
    return run_command(work, debug=options.debug, stopped=stopped)


def _parser() -> argparse.ArgumentParser:
    parser = prepare.parser(NAME, shards.Preparation(size=Cut.size), ("subject",), figure=False)
    parser.description = __doc__
    add = parser.add_argument
    add("--plane", choices=volumes.PLANES, default=Cut.plane, help="how slices lie in the head")
    add("--labels", default="", help=f"label map: {', '.join(LABELS)}, or a JSON file")
    add("--background", action="store_true", help="keep slices that show background alone")
    add(
        "--whole-field",
        action="store_true",
        help="the whole field of view, not the square around what is brighter than air",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
