"""DICOM files as a viewer shows them: one frame, 8-bit RGB.

Stored values -> rescale or modality LUT -> VOI LUT or the first window -> 0 to 255 -> inverted
where 0 is white (MONOCHROME1). DICOM PS3.3, C.7.6.3, C.11.1 and C.11.2, by pydicom.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from attnrobust.data.unusable import UnusableImageError

SUFFIXES = (".dcm", ".dicom")
PLACE, MAGIC = 128, b"DICM"
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"
# A window maps all that lies outside of it to the ends of its range.
FAR = 1e12


def is_dicom(content: bytes) -> bool:
    """Whether a file's bytes, or its first 132, say that it is DICOM."""
    return content[PLACE : PLACE + len(MAGIC)] == MAGIC


def starts_as_dicom(path: Path) -> bool:
    """The same of a file; False where it cannot be read."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(PLACE + len(MAGIC)))
    except OSError:
        return False


def load(content: bytes, *, max_megapixels: float) -> tuple[np.ndarray, list[str]]:
    """A DICOM file's bytes as RGB.

    Grey of at most 8 bits without a window keeps its values; deeper grey without one is stretched
    from its least to its greatest value, which is noted.

    Args:
        content: A whole file.
        max_megapixels: Larger images are refused before they are decoded.

    Returns:
        uint8 (H, W, 3), and what was done, for people.

    Raises:
        UnusableImageError: No pixels, several frames, too large, a compression that no installed
            package reads, colours of more than 8 bits.
    """
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(content))
    _check(dataset, max_megapixels)
    kind = str(dataset.PhotometricInterpretation)
    values = _decoded(dataset)
    if kind in GREY:
        grey, notes = _shown(values, dataset)
        if kind == "MONOCHROME1":
            grey = 255 - grey
            notes.append("DICOM's MONOCHROME1 (inverted)")
        return np.repeat(grey[..., np.newaxis], 3, axis=2), ["grey", *notes]
    if kind == PALETTE:
        values = pydicom.pixels.apply_color_lut(values, dataset)[..., :3]
        # Entries of 16 bits; the upper 8 are the colour.
        values = values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)
    if values.dtype != np.uint8 or int(dataset.BitsStored) > 8:
        raise UnusableImageError("DICOM in colour with more than 8 bits a channel, expected 8")
    return np.ascontiguousarray(values), ["DICOM"]


def _check(dataset: Any, max_megapixels: float) -> None:
    if "PixelData" not in dataset:
        other = [name for name in dataset.dir() if name.endswith("FloatPixelData")]
        what = f"DICOM with {other[0]}, expected" if other else "DICOM without"
        raise UnusableImageError(f"{what} pixel data ({dataset.get('Modality') or 'no modality'})")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UnusableImageError(f"DICOM of {frames} frames, expected one image")
    megapixels = int(dataset.Rows) * int(dataset.Columns) / 1e6
    if megapixels > max_megapixels:
        raise UnusableImageError(
            f"{megapixels:.1f} megapixels, more than {max_megapixels:g} (--max-megapixels)"
        )
    kind = str(dataset.PhotometricInterpretation)
    if kind not in (*GREY, *COLOUR, PALETTE):
        raise UnusableImageError(f"DICOM with photometric interpretation {kind}, which is not read")


def _decoded(dataset: Any) -> np.ndarray:
    """Stored values, (H, W) or (H, W, 3); YBR is turned into RGB."""
    from pydicom import pixels

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        readable = pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        readable = False
    if not readable:
        raise UnusableImageError(
            f"DICOM compressed as {syntax.name}, which is not read; save it uncompressed"
        )
    try:
        return pixels.pixel_array(dataset)
    except MemoryError:
        raise
    except Exception as error:
        # Decoders raise whatever they stumble on, in several lines.
        reason = " ".join(str(error).split())
        raise UnusableImageError(f"DICOM whose pixels cannot be decoded ({reason})") from None


def _shown(values: np.ndarray, dataset: Any) -> tuple[np.ndarray, list[str]]:
    """Grey values as uint8 before any inversion, and what made them so."""
    from pydicom import pixels

    bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation") or 0)
    lowest = -(2 ** (bits - 1)) if signed else 0
    ends = np.array([lowest, lowest + 2**bits - 1], np.int64)
    physical = pixels.apply_modality_lut(values, dataset)
    if dataset.get("VOILUTSequence"):
        top = 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
        # A table is looked up by whole numbers.
        looked_up = pixels.apply_voi(np.rint(physical).astype(np.int64), dataset)
        return _scaled(looked_up, 0, top), ["DICOM's VOI LUT"]
    if _given(dataset, "WindowCenter") and _given(dataset, "WindowWidth"):
        with np.errstate(over="ignore"):
            low, high = pixels.apply_windowing(np.array([-FAR, FAR]), dataset)
            windowed = pixels.apply_windowing(physical, dataset)
        return _scaled(windowed, low, high), ["DICOM's window"]
    if bits <= 8:
        low, high = np.sort(pixels.apply_modality_lut(ends, dataset))
        return _scaled(physical, low, high), ["DICOM"]
    low, high = physical.min(), physical.max()
    return _scaled(physical, low, high), ["DICOM without a window (stretched to its own range)"]


def _given(dataset: Any, name: str) -> bool:
    return dataset.get(name) not in (None, "")


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as uint8, `low` as 0 and `high` as 255; 0 where they are one."""
    if low == high:
        return np.zeros(values.shape, np.uint8)
    share = (values.astype(np.float64) - low) / (float(high) - float(low))
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
