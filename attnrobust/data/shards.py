"""What one process does: rows to one shard of JPEG or PNG images, with a summary."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from attnrobust.data import duplicates, images, label_maps, preprocessing
from attnrobust.data.preparation import Preparation
from attnrobust.data.raw import Row
from attnrobust.disk import runs

# No image of 8 bits has more a pixel.
MOST_BYTES = 16
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]


@dataclass(frozen=True)
class Made:
    """What is known of a stored image beside its bytes.

    Attributes:
        converted: What was converted, as `load_image` says.
        fingerprint: Perceptual hash of the whole upright picture (`duplicates.fingerprint`).
        pixels: Digest of the whole upright picture, the same for exact copies of it alone.
        facts: What the fit found in it.
        clipped: Share of the values that a filter left pure black or white.
        shape: Height and width of the whole upright picture.
    """

    converted: list[str]
    fingerprint: str
    pixels: str
    shape: tuple[int, ...]
    facts: preprocessing.Facts = field(default_factory=dict)
    clipped: float = 0.0


def listed(rows: Sequence[Row]) -> list[list[str]]:
    """What a shard's content hangs on, beside the files and how they are prepared."""
    return [
        [row.id, str(row.path), row.label, row.group, str(row.mask)]
        + ([str(row.map), *map(str, row.values)] if row.map else [])
        for row in rows
    ]


def write_shard(
    partial: Path, file: str, rows: Sequence[Row], classes: Sequence[str], how: Preparation
) -> None:
    """Write one shard and, after it, its summary `parts/<file>.json`."""
    import tensorflow as tf

    rejects, counts, notes = [], Counter(), Counter()  # type: ignore[var-annotated]
    fingerprints, pixels, facts, clipped = {}, {}, {}, 0.0
    with runs.atomic(partial / file) as temporary:
        try:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for row in rows:
                    try:
                        content, made = prepare_image(row, how)
                        mask = prepare_mask(row, how) if row.mask else b""
                        map_, there = prepare_map(row, how, classes, made)
                    except images.UnusableImageError as error:
                        rejects.append({"line": row.line, "id": row.id, "reason": str(error)})
                        continue
                    writer.write(_serialize(row, content, mask, map_ or classes.index(row.label)))
                    counts.update(there)
                    notes.update(made.converted)
                    fingerprints[row.id] = made.fingerprint
                    pixels[row.id] = made.pixels
                    clipped += made.clipped
                    if made.facts:
                        facts[row.id] = made.facts
        except tf.errors.OpError as error:
            raise OSError(28 if runs.disk_is_full(error) else 5, str(error)) from None
        sha256 = hashlib.sha256(temporary.read_bytes()).hexdigest()
        size = temporary.stat().st_size
    summary = {
        "file": file,
        "rows": runs.digest(listed(rows)),
        "count": len(pixels),
        "bytes": size,
        "sha256": sha256,
        "class_counts": counts,
        "rejects": rejects,
        "converted": notes,
        "fingerprints": fingerprints,
        "pixels": pixels,
        "facts": facts,
        "clipped": clipped,
    }
    runs.save_json(partial / "parts" / f"{file}.json", summary)


def prepare_image(row: Row, how: Preparation) -> tuple[bytes, Made]:
    """A row's image as JPEG or PNG bytes; a JPEG that needs no change is kept byte by byte.

    Where TensorFlow cannot decode it, which Pillow could, it is encoded anew.

    What is lossless (PNG, TIFF, BMP, PPM) is written anew as PNG, also because Pillow reads damaged
    PNGs that TensorFlow would refuse; a fitted one as JPEG, like all.

    Raises:
        UnusableImageError: With the reason.
    """
    content = _read(row.path, how)
    image, notes = images.load_image(content, max_megapixels=how.max_megapixels)
    lossless = images.is_lossless(content)
    seen = duplicates.fingerprint(image), duplicates.pixels(image), image.shape[:2]
    # What is to be found need not be in the middle of a square of the right size.
    right_size = not how.size or (
        image.shape[:2] == (how.size, how.size) and not preprocessing.FITS[how.fit].moves
    )
    as_it_is = right_size and not lossless and not notes and how.filter == "none"
    if as_it_is and _tensorflow_reads(content):
        return content, Made(notes, *seen)
    suffix, parameters = (".png", []) if right_size and lossless else (".jpg", JPEG)
    facts: preprocessing.Facts = {}
    with _one_image():
        if not right_size:
            image, facts = _fitted(image, how, row.eye)
        image = preprocessing.FILTERS[how.filter].apply(image)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        clipped = 0.0 if how.filter == "none" else float(((image == 0) | (image == 255)).mean())
        made = Made(notes, *seen, facts, clipped)
        return cv2.imencode(suffix, bgr, parameters)[1].tobytes(), made


def _fitted(
    image: np.ndarray, how: Preparation, eye: str = ""
) -> tuple[np.ndarray, preprocessing.Facts]:
    height, width = image.shape[:2]
    fit = preprocessing.FITS[how.fit]
    if fit.pads and max(height, width) ** 2 / 1e6 > how.max_megapixels:
        raise images.UnusableImageError(
            f"{width} x {height}: padded to a square it has more than "
            f"{how.max_megapixels:g} megapixels (--max-megapixels)"
        )
    return fit.make(image, how.size, eye=eye, turn=how.turn_inverted)


@contextlib.contextmanager
def _one_image() -> Iterator[None]:
    """Whatever goes wrong with one image is its own reason, and never ends the run."""
    try:
        yield
    except (images.UnusableImageError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise images.UnusableImageError(f"cannot be fitted or filtered ({reason})") from error


def _tensorflow_reads(content: bytes) -> bool:
    """Whether training will: Pillow is content with less of a JPEG."""
    import tensorflow as tf

    try:
        tf.io.decode_jpeg(content, channels=3)
    except tf.errors.OpError:
        return False
    return True


def prepare_mask(row: Row, how: Preparation) -> bytes:
    """A row's mask as PNG bytes (0 or 255), fitted like its image.

    Raises:
        UnusableImageError: With the reason.
    """
    if row.mask is None:
        raise ValueError(f"{row.id} has no mask")
    if preprocessing.FITS[how.fit].moves:
        raise images.UnusableImageError(
            f"mask: --fit {how.fit} moves the image, and cannot move a mask"
        )
    try:
        mask, _ = images.load_image(_read(row.mask, how), max_megapixels=how.max_megapixels)
        if how.size:
            with _one_image():
                mask, _ = _fitted(mask, how)
    except images.UnusableImageError as error:
        raise images.UnusableImageError(f"mask: {error}") from None
    binary = np.where(mask[..., 0] >= 128, 255, 0).astype(np.uint8)
    return cv2.imencode(".png", binary)[1].tobytes()


def prepare_map(
    row: Row, how: Preparation, classes: Sequence[str], made: Made
) -> tuple[bytes, Sequence[str]]:
    """A row's label map as PNG bytes, empty without one; and the classes that it is an example of.

    Raises:
        UnusableImageError: With the reason.
    """
    if row.map is None:
        return b"", [row.label]
    if "EXIF rotation" in made.converted:
        raise images.UnusableImageError("label map: its image is turned by an EXIF tag, it is not")
    return label_maps.prepared(
        _read(row.map, how),
        classes=classes,
        values=row.values,
        shape=made.shape,
        size=how.size,
        fit=how.fit,
    )


def _read(path: Path, how: Preparation) -> bytes:
    try:
        if path.exists() and not path.is_file():
            # A pipe or a device may never end.
            raise images.UnusableImageError("a device or a pipe, expected a file")
        size = path.stat().st_size / 1e6
        if size > MOST_BYTES * how.max_megapixels:
            raise images.UnusableImageError(
                f"a file of {size:,.0f} MB, more than {how.max_megapixels:g} megapixels "
                f"(--max-megapixels) of {MOST_BYTES} bytes"
            )
        return path.read_bytes()
    except OSError as error:
        raise images.UnusableImageError(f"cannot be read ({error.strerror})") from None


def _serialize(row: Row, content: bytes, mask: bytes, label: int | bytes) -> bytes:
    """An example; its label is a class, or the PNG of a label map."""
    import tensorflow as tf

    def text(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    feature = {
        "id": text(row.id.encode()),
        "group": text(row.group.encode()),
        "image": text(content),
        "mask": text(mask),
        **(
            {"label_map": text(label)}
            if isinstance(label, bytes)
            else {"label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))}
        ),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return bytes(example.SerializeToString(deterministic=True))
