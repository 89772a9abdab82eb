"""`python -m attnrobust.corruptions --image skin=FILE --out PNG`: a sheet of every corruption."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from attnrobust.console import Parser, positive, run_command
from attnrobust.corruptions import CORRUPTIONS, KINDS, SEVERITIES, corrupt
from attnrobust.disk import runs
from attnrobust.errors import UserError

SIZE = 224  # px at which images are corrupted; they are shrunk only then
GAP = 3
MARGIN = 118


def sheet(images: Mapping[str, np.ndarray], *, tile: int) -> np.ndarray:
    """A line for each corruption that an image is given for: the image, then severities 1 to 5.

    Args:
        images: Float32 RGB (H, W, 3) by kind; 'any' is drawn on the first.
        tile: Side of a picture in px.

    Returns:
        uint8 RGB.
    """
    first = next(iter(images.values()))
    lines = [_heading(tile)]
    for name, row in CORRUPTIONS.items():
        image = images.get(row.kind, first if row.kind == "any" else None)
        if image is None:
            continue
        shown = [image, *(corrupt(image[np.newaxis], ["0"], name, s)[0] for s in SEVERITIES)]
        pictures = [_picture(picture, tile) for picture in shown]
        lines.append(np.hstack([_label(name, row.kind, tile), *pictures]))
    return np.vstack(lines)


def _picture(image: np.ndarray, tile: int) -> np.ndarray:
    small = cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA)
    framed = np.pad(small, ((0, GAP), (0, GAP), (0, 0)), constant_values=1)
    return np.rint(framed * 255).astype(np.uint8)


def _heading(tile: int) -> np.ndarray:
    step = tile + GAP
    texts = ["original", *(f"severity {severity}" for severity in SEVERITIES)]
    places = [(text, (MARGIN + step * index, 15), 0) for index, text in enumerate(texts)]
    return _written((20, MARGIN + step * len(texts)), places)


def _label(name: str, kind: str, tile: int) -> np.ndarray:
    places = [(name, (4, tile // 2 - 3), 0), (kind, (4, tile // 2 + 14), 130)]
    return _written((tile + GAP, MARGIN), places)


def _written(
    shape: tuple[int, int], texts: Sequence[tuple[str, tuple[int, int], int]]
) -> np.ndarray:
    """Texts, each at (column, row) in a grey, on white of that shape."""
    white = np.full((*shape, 3), 255, np.uint8)
    for text, place, grey in texts:
        cv2.putText(white, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (grey,) * 3, 1, cv2.LINE_AA)
    return white


def read(path: Path) -> np.ndarray:
    """The largest centred square of an image file at SIZE, float32 RGB. UserError if it is none."""
    try:
        with Image.open(path) as file:
            image = np.asarray(file.convert("RGB"))
    except OSError as error:
        raise UserError(f"{path}: expected an image ({error})") from error
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _pair(text: str) -> tuple[str, Path]:
    kind, _, path = text.partition("=")
    if kind not in KINDS[1:] or not path:
        raise argparse.ArgumentTypeError(
            f"{text}: expected KIND=FILE, KIND one of {', '.join(KINDS[1:])}"
        )
    return kind, Path(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheet; returns the exit code."""
    parser = Parser(prog="python -m attnrobust.corruptions", description=__doc__)
    parser.add_argument(
        "--image",
        type=_pair,
        action="append",
        required=True,
        metavar="KIND=FILE",
        help="skin, fundus or xray and an image; "
        "may be repeated, general corruptions take the first",
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--tile", type=positive, default=88, help="side of a picture in px")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)

    def work() -> None:
        drawn = sheet({kind: read(path) for kind, path in options.image}, tile=options.tile)
        with runs.atomic(options.out) as temporary:
            Image.fromarray(drawn).save(temporary, format="PNG", optimize=True)

    return run_command(work, debug=options.debug)


if __name__ == "__main__":
    raise SystemExit(main())
