"""What of a JPEG is lost between its intact header and its end marker.

Pillow and TensorFlow hear libjpeg's warnings and keep them to themselves: half a picture may be
grey. OpenCV says the first of them on stderr.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile

import cv2
import numpy as np

START, END = b"\xff\xda", b"\xff\xd9"
LOSSES = (
    "premature end of data segment",
    "bad Huffman code",
    "premature end of JPEG file",
    "bad arithmetic code",
    "Inconsistent progression sequence",
    "found marker",
)
EXTRA = re.compile(r"([0-9]+) extraneous bytes before marker 0x([0-9a-f]{2})")


def complaint(content: bytes) -> str:
    """Why pixels of a JPEG are lost or moved; empty where nothing tells of it.

    Bytes that stand between the last pixel and the end marker are no harm, unless they are what a
    loss before them left over: zeros, or data that goes on in the middle of a byte.

    What no decoder can tell: bytes lost where the codes after them fall into step again and give
    as many blocks as before. A few lost bytes are often so; the blocks at that place are wrong.
    """
    scan = content.find(START)
    if content.find(END, scan) < 0:
        return "no end marker"
    # Codes are read alike whatever is made of them, and this is the cheapest.
    _, words = _decoded(content, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    extra = EXTRA.search(words)
    if extra and extra[2] == END.hex()[2:]:
        end = content.find(END, scan)
        return _left_over(content, max(scan, end - int(extra[1])), end)
    if extra:
        return f"{extra[1]} bytes of pixels left over before marker 0x{extra[2]}"
    return next((loss for loss in LOSSES if loss.lower() in words.lower()), "")


def _left_over(content: bytes, start: int, end: int) -> str:
    left = content[start:end]
    if not any(left):
        return "zeros where pixels should stand"
    if len(set(left)) > 2 and not _filled_up(content, start):
        return f"{len(left)} bytes of pixels left over: others are lost before them"
    return ""


def _filled_up(content: bytes, start: int) -> bool:
    """Whether the bits of the last byte read that are no pixel's are ones, as they have to be.

    libjpeg reads up to 8 bytes ahead, so that the byte is to be found first: by what changes.
    """
    whole, _ = _decoded(content)
    for last in range(start - 1, start - 10, -1):
        stuffed = content[last - 1] == 0xFF and content[last] == 0
        if stuffed or not _matters(content, last, 0xFF, whole):
            continue
        for bit in range(8):
            if _matters(content, last, 1 << bit, whole):
                return True  # from here on they are pixels
            if not content[last] >> bit & 1:
                return False
    return True


def _matters(content: bytes, place: int, flip: int, whole: np.ndarray) -> bool:
    """Whether bits of a byte have a part in the picture."""
    value = content[place] ^ flip
    after = place + (2 if content[place] == 0xFF else 1)  # 0xFF is followed by a zero
    other = b"\xff\0" if value == 0xFF else bytes([value])
    return not np.array_equal(whole, _decoded(content[:place] + other + content[after:])[0])


def _decoded(content: bytes, how: int = cv2.IMREAD_COLOR) -> tuple[np.ndarray, str]:
    """Pixels, and what libjpeg says of them."""
    with tempfile.TemporaryFile() as said:
        sys.stderr.flush()
        before = os.dup(2)
        try:
            os.dup2(said.fileno(), 2)
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), how)
        finally:
            os.dup2(before, 2)
            os.close(before)
        said.seek(0)
        words = said.read().decode(errors="replace")
    return np.empty(0) if pixels is None else pixels, words
