"""The page's figures as they are printed: written as PNG, numbered, embedded."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

from attnrobust.disk.runs import atomic, safe_name
from attnrobust.report import pictures


@dataclass(frozen=True)
class Embedded:
    """A figure as the template prints it."""

    number: int
    source: str
    alt: str
    caption: str
    width: int
    height: int


@dataclass
class Album:
    """Writes every figure to a file and hands it back for the page, numbered.

    Attributes:
        folder: Where the PNG files go.
        limit: Bytes that a photograph may take on the page.
        names: Files so far.
    """

    folder: Path
    limit: int
    names: list[str] = field(default_factory=list)

    def add(self, picture: pictures.Picture) -> Embedded:
        """Write a figure; what the page prints."""
        self.names.append(f"{safe_name(picture.name)}.png")
        lossless = pictures.png(picture.pixels)
        with atomic(self.folder / self.names[-1]) as temporary:
            temporary.write_bytes(lossless)
        kind, data = pictures.embed(picture, self.limit, lossless)
        source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
        height, width = picture.pixels.shape[:2]
        shown = round(height * picture.width / width)
        return Embedded(len(self.names), source, picture.alt, picture.caption, picture.width, shown)
