"""Image files to decoded images, or to the reason why not."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import warnings

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
# Extraneous bytes before a marker leave every pixel standing, unless they are the zeros of a hole.
EXTRA = re.compile(r"([0-9]+) extraneous bytes before marker 0xd9")
LOSSES = ("premature end of data segment", "bad Huffman code", "premature end of JPEG file")


class UnusableImageError(Exception):
    """An image that goes to rejects.csv; the message is the reason."""


def load_image(content: bytes, *, max_megapixels: float) -> tuple[np.ndarray, list[str]]:
    """A file's bytes as upright RGB.

    Args:
        content: A whole JPEG or PNG file; a WebP under such a name is read too.
        max_megapixels: Larger images are refused before they are decoded.

    Returns:
        uint8 (H, W, 3), and what was converted ('grey', 'EXIF rotation', 'transparency',
        'WebP').

    Raises:
        UnusableImageError: Empty, not an image, truncated, too large, CMYK or more than 8 bits.
    """
    if not content:
        raise UnusableImageError("zero bytes")
    with warnings.catch_warnings():
        # Size is judged below, by our own limit; damage beside the pixels (EXIF) is no harm.
        warnings.simplefilter("ignore")
        try:
            return _decode(content, max_megapixels)
        except (UnusableImageError, MemoryError):
            raise
        except UnidentifiedImageError:
            raise UnusableImageError("not a JPEG or PNG image") from None
        except Image.DecompressionBombError:
            raise UnusableImageError(f"more than {max_megapixels:g} megapixels") from None
        except Exception as error:
            # Pillow's readers raise whatever they stumble on; no file may end the whole run.
            raise UnusableImageError(
                f"damaged or truncated ({type(error).__name__}: {error})"
            ) from None


def _decode(content: bytes, max_megapixels: float) -> tuple[np.ndarray, list[str]]:
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as image:
        _check_header(image, max_megapixels)
        if image.format == "PNG":
            # Loading alone overlooks wrong checksums and a missing end.
            Image.open(io.BytesIO(content), formats=("PNG",)).verify()
        image.load()
        if image.format == "JPEG":
            complaint = _complaint(content)
            if complaint:
                raise UnusableImageError(f"damaged or truncated ({complaint})")
        found, notes = _upright_rgb(image)
        return found, [*notes, "WebP"] if image.format == "WEBP" else notes


def _complaint(content: bytes) -> str:
    """What libjpeg says of a JPEG whose pixels are partly lost; it says so on stderr alone."""
    if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        return "no end marker"
    with tempfile.TemporaryFile() as said:
        sys.stderr.flush()
        before = os.dup(2)
        try:
            os.dup2(said.fileno(), 2)
            cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        finally:
            os.dup2(before, 2)
            os.close(before)
        said.seek(0)
        words = said.read().decode(errors="replace")
    extra = EXTRA.search(words)
    if extra:
        end = content.rfind(b"\xff\xd9")
        if not any(content[max(0, end - int(extra[1])) : end]):
            return "zeros where pixels should stand"
    return next((loss for loss in LOSSES if loss.lower() in words.lower()), "")


def _check_header(image: Image.Image, max_megapixels: float) -> None:
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise UnusableImageError(
            f"{megapixels:.1f} megapixels, more than {max_megapixels:g} (--max-megapixels)"
        )
    if image.mode == "CMYK":
        raise UnusableImageError("CMYK, expected RGB or grey: colours depend on a print profile")
    # Pillow opens 16-bit RGB PNG files as 8-bit RGB; only the raw mode of the tile tells.
    tiles = getattr(image, "tile", [])
    raw_mode = str(tiles[0][3]) if tiles else ""
    if image.mode.startswith(("I", "F")) or ";16" in raw_mode:
        raise UnusableImageError("more than 8 bits a channel, expected 8")


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation alone; its other fields may be of any type, or broken."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) else 1


def _upright_rgb(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    notes = []
    turn = TURNS.get(_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
        notes.append("EXIF rotation")
    if image.mode in ("1", "L"):
        notes.append("grey")
    elif image.mode != "RGB":
        notes.append("transparency" if "A" in image.mode else f"mode {image.mode}")
    return np.asarray(image.convert("RGB")), notes
