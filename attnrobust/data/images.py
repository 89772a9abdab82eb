"""Image files to decoded images, or to the reason why not."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from attnrobust.data import dicom, jpegs
from attnrobust.data.unusable import UnusableImageError

# What Pillow reads; a file's content decides, not its suffix. DICOM is read beside these.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM")
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm"),
    *dicom.SUFFIXES,
)
EXPECTED = "a JPEG, PNG, TIFF, BMP, WebP, PPM or DICOM image"
# What else is met under such names: by its first bytes, from the place where they stand.
OTHERS = (
    (0, b"version https://git-lfs", "a Git LFS pointer: fetch the files with git lfs pull"),
    (0, b"/annex/objects/", "a git-annex pointer: fetch the files with git annex get"),
    (0, b"GIF8", "a GIF"),
    (0, b"%PDF", "a PDF file"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (4, b"jP  ", "a JPEG 2000 image"),
    (4, b"ftyp", "an HEIF, AVIF or MP4 file"),
    (344, b"n+1\0", "a NIfTI file"),
    (0, b"<", "a web page or other XML, as a failed download leaves it"),
)
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# Size is judged by our own limit.
Image.MAX_IMAGE_PIXELS = None


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image: by its suffix, or as DICOM where it has none.

    What stands behind the last point of a UID that names a DICOM file is a number, no suffix.
    """
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return True
    return not suffix.strip(".0123456789") and dicom.starts_as_dicom(path)


def load_image(content: bytes, *, max_megapixels: float) -> tuple[np.ndarray, list[str]]:
    """A file's bytes as upright RGB.

    Args:
        content: A whole file of one of `FORMATS`, or DICOM, whatever its name says.
        max_megapixels: Larger images are refused before they are decoded.

    Returns:
        uint8 (H, W, 3), and what was converted ('grey', 'EXIF rotation', 'transparency'), or the
        format where it is neither JPEG nor PNG; of DICOM what `dicom.load` says.

    Raises:
        UnusableImageError: Empty, not an image, truncated, too large, several pages, CMYK or more
            than 8 bits.
    """
    if not content:
        raise UnusableImageError("zero bytes")
    with warnings.catch_warnings():
        # Damage beside the pixels (EXIF) is no harm.
        warnings.simplefilter("ignore")
        try:
            if dicom.is_dicom(content):
                return dicom.load(content, max_megapixels=max_megapixels)
            return _decode(content, max_megapixels)
        except (UnusableImageError, MemoryError):
            raise
        except UnidentifiedImageError:
            raise UnusableImageError(_what_it_is(content)) from None
        except Exception as error:
            # Pillow's readers raise whatever they stumble on; no file may end the whole run.
            raise UnusableImageError(
                f"damaged or truncated ({type(error).__name__}: {error})"
            ) from None


def is_lossless(content: bytes) -> bool:
    """Whether an image file that `load_image` reads keeps its pixels: all but JPEG and WebP."""
    return not content.startswith((b"\xff\xd8", b"RIFF"))


def _what_it_is(content: bytes) -> str:
    """Why a file is no image, by what it is."""
    start = content.lstrip()[:64]
    for place, magic, what in OTHERS:
        if content[place : place + len(magic)] == magic or (not place and start.startswith(magic)):
            return f"is {what}; expected {EXPECTED}"
    return f"not {EXPECTED}"


def _decode(content: bytes, max_megapixels: float) -> tuple[np.ndarray, list[str]]:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        _check_header(image, kind, max_megapixels)
        if kind == "PNG":
            # Loading alone overlooks wrong checksums and a missing end.
            Image.open(io.BytesIO(content), formats=("PNG",)).verify()
        turn = TURNS.get(_orientation(image))
        image.load()
        if kind == "JPEG":
            complaint = jpegs.complaint(content)
            if complaint:
                raise UnusableImageError(f"damaged or truncated ({complaint})")
        # Pillow turns a TIFF by itself.
        found, notes = _rgb(image if turn is None or kind == "TIFF" else image.transpose(turn))
        notes = [*(["EXIF rotation"] if turn is not None else []), *notes]
        return found, notes if kind in ("JPEG", "PNG") else [*notes, NAMES.get(kind, kind)]


NAMES = {"WEBP": "WebP"}


def _check_header(image: Image.Image, kind: str, max_megapixels: float) -> None:
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise UnusableImageError(
            f"{megapixels:.1f} megapixels, more than {max_megapixels:g} (--max-megapixels)"
        )
    pages = 1 if kind == "JPEG" else getattr(image, "n_frames", 1)
    if pages > 1:
        raise UnusableImageError(f"{pages} pages or frames, expected one image")
    if image.mode == "CMYK":
        raise UnusableImageError("CMYK, expected RGB or grey: colours depend on a print profile")
    # Pillow opens 16-bit RGB files as 8-bit RGB; only the raw mode of the tile tells, or of a PPM
    # the largest value.
    tiles = getattr(image, "tile", [])
    raw = tiles[0][3] if tiles else ""
    deep = kind != "BMP" and ";16" in str(raw)
    if kind == "PPM" and isinstance(raw, tuple):
        deep = isinstance(raw[-1], int) and raw[-1] > 255
    if deep or image.mode.startswith(("I", "F")):
        raise UnusableImageError("more than 8 bits a channel, expected 8")


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation alone; its other fields may be of any type, or broken."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) else 1


def _rgb(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    notes = []
    if image.mode in ("1", "L"):
        notes.append("grey")
    elif image.mode != "RGB":
        notes.append("transparency" if image.mode in WITH_ALPHA else f"mode {image.mode}")
    return np.asarray(image.convert("RGB")), notes
