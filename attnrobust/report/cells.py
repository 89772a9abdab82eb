"""Small pictures in rows and columns, with words beside and below them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from attnrobust.report.figures import INK
from attnrobust.report.pictures import render
from attnrobust.report.samples import COLOUR_MAP

GAP = 6


MARGIN = 8  # white round the sheet, in pixels


LEFT = 190


PAGE = 1040  # Width of the page's text in CSS pixels.


CENTRE = {"ha": "center", "va": "top", "multialignment": "center"}


@dataclass(frozen=True)
class Cell:
    """One small picture.

    Attributes:
        pixels: RGB (H, W, 3) in [0, 1], or None for an empty place.
        note: A few words below it.
        colour: Of the words.
    """

    pixels: np.ndarray | None
    note: str = ""
    colour: str = INK


@dataclass(frozen=True)
class Row:
    """A row of pictures and the lines of text at its left, each with its colour."""

    lines: tuple[tuple[str, str], ...]
    cells: tuple[Cell, ...]


def side_of(size: int, most: int) -> int:
    """Pixels of a cell, at most `most`: a whole multiple of the image's size where one fills it."""
    whole = size * max(1, most // size)
    return whole if most * 0.66 <= whole <= most else most


def draw(rows: Sequence[Row], columns: Sequence[str], *, side: int) -> tuple[np.ndarray, int]:
    """Cells of `side` pixels in rows below column heads.

    Returns:
        uint8 RGB (H, W, 3), and its width on the page in CSS pixels.
    """
    grow = max(1.0, (LEFT + len(columns) * (side + GAP)) / PAGE)
    # Sheets wider than the page are shown smaller, so their text is drawn larger.
    font, left = 12 * grow, round(LEFT * grow)
    line = round(font * 1.35)
    top = 2 * line + GAP  # Two lines: of a column head, or the colour bar and its words.
    most = max(cell.note.count("\n") + 1 for row in rows for cell in row.cells)
    foot = round(line * (most + 0.15))
    width = left + len(columns) * (side + GAP)
    height = top + len(rows) * (side + foot + GAP)
    canvas = np.ones((height, width, 3), dtype=np.float32)
    texts: list[tuple[float, float, str, str, dict[str, Any]]] = []
    for c, head in enumerate(columns):
        x = left + c * (side + GAP) + side / 2
        texts.append((x, top - GAP, head, INK, {**CENTRE, "va": "bottom"}))
    for r, row in enumerate(rows):
        y = top + r * (side + foot + GAP)
        for c, cell in enumerate(row.cells):
            x = left + c * (side + GAP)
            if cell.pixels is not None:
                canvas[y : y + side, x : x + side] = _resize(cell.pixels, side)
            note = "\n".join(_short(part, side / (0.6 * font)) for part in cell.note.split("\n"))
            texts.append((x + side / 2, y + side + 1, note, cell.colour, CENTRE))
        texts += _wrapped(row.lines, y, line, characters=int((left - 16) / (font * 0.56)))
    _colour_bar(canvas, left, line)
    texts.append((0, 0, "heatmap: 0 to its maximum", INK, {"ha": "left", "va": "top"}))
    pixels = _with_text(canvas, texts, font)
    edge = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    return np.pad(pixels, edge, constant_values=255), round((width + 2 * MARGIN) / grow)


def _short(text: str, characters: float) -> str:
    return text if len(text) <= characters else text[: max(1, int(characters) - 1)] + "…"


def _wrapped(
    lines: Sequence[tuple[str, str]], y: float, line: int, *, characters: int
) -> list[tuple[float, float, str, str, dict[str, Any]]]:
    texts = []
    for text, colour in lines:
        parts = textwrap.wrap(text, characters) or [""]
        if len(parts) > 2:
            parts = [parts[0], parts[1][: characters - 1] + "…"]
        for part in parts:
            texts.append((0.0, y, part, colour, {"ha": "left", "va": "top"}))
            y += line
    return texts


def _resize(pixels: np.ndarray, side: int) -> np.ndarray:
    if pixels.shape[:2] == (side, side):
        return pixels
    # Enlarged pixels stay squares: smoothing would invent what neither model nor attack saw.
    how = cv2.INTER_AREA if side < pixels.shape[0] else cv2.INTER_NEAREST
    return cv2.resize(pixels.astype(np.float32), (side, side), interpolation=how)


def _colour_bar(canvas: np.ndarray, left: int, line: int) -> None:
    ramp = colormaps[COLOUR_MAP](np.linspace(0, 1, left - 40))[None, :, :3]
    canvas[line + 2 : line + 2 + line // 2, : left - 40] = ramp


def _with_text(
    canvas: np.ndarray,
    texts: Sequence[tuple[float, float, str, str, dict[str, Any]]],
    font: float,
) -> np.ndarray:
    dpi = 100
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / dpi, height / dpi))
    for x, y, text, colour, align in texts:
        figure.text(
            x / width,
            1 - y / height,
            text,
            color=colour,
            fontsize=font * 72 / dpi,
            linespacing=1.15,
            **align,
        )
    # Text is drawn on white and put onto the pictures by darkness, which leaves every pixel of
    # theirs as it is.
    drawn = render(figure, dpi)[:height, :width]
    pixels = (np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.minimum(pixels, drawn)
