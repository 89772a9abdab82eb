"""A finished figure, its pixels, and its bytes for a file or the page."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

DPI = 150


@dataclass(frozen=True)
class Picture:
    """A finished figure.

    Attributes:
        name: File name without ending, below `figures/`.
        pixels: uint8 RGB (H, W, 3).
        alt: What it shows, for those who cannot see it.
        caption: The sentence below it.
        width: Width on the page in CSS pixels, at most.
        photo: Whether it is made of photographs (then the page holds it with some loss).
        linked: Whether the page only links to its file.
        drawing: What the pixels were rendered of, where it is written as PDF and SVG, too.
    """

    name: str
    pixels: np.ndarray
    alt: str
    caption: str
    width: int
    photo: bool = False
    linked: bool = False
    drawing: Figure | None = None


def render(figure: Figure, dpi: int = DPI) -> np.ndarray:
    """A figure's pixels, uint8 RGB (H, W, 3), without any global state of matplotlib."""
    figure.set_dpi(dpi)
    for text in figure.findobj(Text):
        # Names come from anywhere: none of them is a formula, and each is to be drawn.
        text.set_parse_math(False)
        text.set_text(text.get_text().encode("utf-8", "backslashreplace").decode())
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def vector(figure: Figure, kind: str) -> bytes:
    """A figure that was rendered, as `pdf` or `svg`; the same figure gives the same bytes."""
    figure.set_layout_engine("none")  # All has its place by now.
    file = io.BytesIO()
    # Fonts of type 3, matplotlib's own, are refused by some publishers. `savefig` would draw twice.
    with matplotlib.rc_context({"svg.hashsalt": "attnrobust", "pdf.fonttype": 42}):
        if kind == "pdf":
            FigureCanvasPdf(figure).print_pdf(file, metadata={"CreationDate": None})
        else:
            FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    return file.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """Pixels, uint8 RGB, as a PNG file."""
    # 4 of 9: the last tenth of size would cost several times the time.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 4]
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def embed(picture: Picture, limit: int) -> bytes:
    """A picture for the page, as WebP: without loss, or a photograph as well as fits.

    Args:
        picture: The picture.
        limit: Bytes that a photograph may take. Curves stay as they are whatever they take.
    """
    if not picture.photo:
        return webp(picture.pixels)
    data = b""
    for scale, quality in ((1.0, 85), (1.0, 75), (0.85, 75), (0.75, 70), (0.6, 65), (0.5, 55)):
        data = webp(smaller(picture.pixels, scale), quality)
        if len(data) <= limit:
            break
    return data


def smaller(pixels: np.ndarray, scale: float) -> np.ndarray:
    """Pixels with their sides multiplied by at most 1; none becomes 0."""
    if scale == 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def webp(pixels: np.ndarray, quality: int | None = None) -> bytes:
    """Pixels, uint8 RGB or grey, as WebP of this quality; without loss if None."""
    file = io.BytesIO()
    # Its slower methods save a few percent and take up to twice as long.
    how: dict[str, Any] = (
        {"quality": 20, "lossless": True} if quality is None else {"quality": quality}
    )
    Image.fromarray(pixels).save(file, "WEBP", method=2, **how)
    return file.getvalue()
