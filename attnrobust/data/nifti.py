"""NIfTI files: found by name, read with the patient's axes (right, anterior, superior: RAS)."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import nibabel
import numpy as np

from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

SUFFIXES = (".nii.gz", ".nii")
# What NIfTI's units of length are in mm; a file that names none means mm.
UNITS = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}


def stem(path: Path) -> str:
    """A NIfTI file's name without its suffix."""
    return next((path.name[: -len(end)] for end in SUFFIXES if path.name.endswith(end)), path.name)


def named(folder: Path, name: str) -> Path | None:
    """The NIfTI file of this name in a folder, compressed or not; None where there is none.

    Raises:
        UserError: There are both.
    """
    found = [path for end in SUFFIXES if (path := folder / f"{name}{end}").is_file()]
    if len(found) > 1:
        raise UserError(f"{found[0]}: {found[1].name} beside it; expected one of the two")
    return next(iter(found), None)


def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A volume (X, Y, Z) with RAS axes, of its own type of number, and its affine (4, 4) in mm.

    Axes of length 1 behind the third are left out. Where a header says two orientations that
    differ, the sform counts, as nibabel has it, and a warning says so.

    Raises:
        UserError: Not NIfTI, no orientation in it, not one volume of three axes, or one of colours.
    """
    try:
        found = nibabel.load(path)
        if not isinstance(found, nibabel.Nifti1Pair):
            raise TypeError(type(found).__name__)
        array = np.asanyarray(found.dataobj)
    except FileNotFoundError:
        raise UserError(f"{path}: not there") from None
    except Exception as error:  # nibabel's readers raise whatever they stumble on
        said = " ".join(str(error).split())
        raise UserError(f"{path}: not a NIfTI file that can be read ({said})") from None
    if not (int(found.header["qform_code"]) or int(found.header["sform_code"])):
        raise UserError(
            f"{path}: says no orientation (qform and sform codes are 0), and left could be right; "
            "write it into the header first"
        )
    if array.dtype.kind not in "biuf":
        raise UserError(f"{path}: colours or complex numbers, expected one number a voxel")
    affine = _affine(found, path)
    shape = array.shape[:3] + tuple(side for side in array.shape[3:] if side != 1)
    if len(shape) != 3 or 0 in shape:
        raise UserError(f"{path}: shape {array.shape}, expected one volume of three axes")
    axes = nibabel.io_orientation(affine)
    turned = nibabel.apply_orientation(array.reshape(shape), axes)
    return turned, affine @ nibabel.orientations.inv_ornt_aff(axes, shape)


def _affine(found: nibabel.Nifti1Pair, path: Path) -> np.ndarray:
    """Of voxels to mm (4, 4).

    Raises:
        UserError: It leaves out an axis.
    """
    affine, unit = found.affine, UNITS.get(found.header.get_xyzt_units()[0], 1.0)
    if not np.isfinite(affine).all() or None in nibabel.aff2axcodes(affine):
        raise UserError(f"{path}: its affine leaves out an axis; expected one for each")
    if int(found.header["sform_code"]):
        with contextlib.suppress(ValueError):  # a qform that is no rotation says nothing
            other = found.header.get_qform(coded=True)[0]
            if other is not None and (_said(other) != _said(affine)):
                log.warning(
                    "warning: %s: its qform says %s, its sform %s; the sform is taken",
                    path,
                    _said(other),
                    _said(affine),
                )
    return np.diag([unit, unit, unit, 1.0]) @ affine


def _said(affine: np.ndarray) -> str:
    """Directions of the axes and sides of a voxel: `RAS, 1.00 x 1.50 x 1.00`."""
    codes = "".join(code or "?" for code in nibabel.aff2axcodes(affine))
    return f"{codes}, " + " x ".join(f"{side:.2f}" for side in nibabel.affines.voxel_sizes(affine))
