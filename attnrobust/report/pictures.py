"""A finished figure, its pixels, and its bytes for a file or the page."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

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
        photo: Whether it is made of photographs (then it may be embedded as JPEG).
        drawing: What the pixels were rendered of, where it is written as PDF and SVG, too.
    """

    name: str
    pixels: np.ndarray
    alt: str
    caption: str
    width: int
    photo: bool = False
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


def embed(picture: Picture, limit: int, lossless: bytes) -> tuple[str, bytes]:
    """A picture for the page: PNG where it fits, else the best JPEG that does.

    Args:
        picture: The picture.
        limit: Bytes it may take. Curves stay PNG whatever they take.
        lossless: The picture as `png` gives it.

    Returns:
        Media type and bytes.
    """
    if not picture.photo or len(lossless) <= limit:
        return "image/png", lossless
    image = cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2BGR)
    data = b""
    for scale, quality in ((1.0, 90), (1.0, 80), (0.85, 80), (0.75, 75), (0.6, 70), (0.5, 60)):
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        data = cv2.imencode(".jpg", small, options)[1].tobytes()
        if len(data) <= limit:
            break
    return "image/jpeg", data
