"""The page's figures as they are printed: written to files, numbered, embedded."""

from __future__ import annotations

import base64
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from pathlib import Path

from attnrobust.disk.runs import atomic, safe_name
from attnrobust.report import pictures


@dataclass(frozen=True)
class Embedded:
    """A figure as the template prints it."""

    number: int
    made: Future[str]
    alt: str
    caption: str
    width: int
    height: int
    linked: bool

    @property
    def source(self) -> str:
        """Its file, or itself; waits until it is written."""
        return self.made.result()


@dataclass
class Album:
    """Writes every figure to a file and hands it back for the page, numbered.

    Attributes:
        folder: Where the files go.
        limit: Bytes that a photograph may take on the page.
        pool: What writes pictures while the next one is drawn: encoding holds no lock of Python.
        names: PNG files so far.
        drawings: Of curves, the same as PDF and SVG.
    """

    folder: Path
    limit: int
    pool: Executor
    names: list[str] = field(default_factory=list)
    drawings: list[str] = field(default_factory=list)

    def add(self, picture: pictures.Picture) -> Embedded:
        """Write a figure; what the page prints."""
        self.names.append(f"{safe_name(picture.name)}.png")
        made = self.pool.submit(self._write, picture, self.names[-1])
        self._draw(picture)
        height, width = picture.pixels.shape[:2]
        shown = round(height * picture.width / width)
        return Embedded(
            number=len(self.names),
            made=made,
            alt=picture.alt,
            caption=picture.caption,
            width=picture.width,
            height=shown,
            linked=picture.linked,
        )

    def _write(self, picture: pictures.Picture, name: str) -> str:
        with atomic(self.folder / name) as temporary:
            temporary.write_bytes(pictures.png(picture.pixels))
        if picture.linked:
            return f"figures/{name}"
        data = base64.b64encode(pictures.embed(picture, self.limit)).decode("ascii")
        return f"data:image/webp;base64,{data}"

    def _draw(self, picture: pictures.Picture) -> None:
        """Write what a paper prints at any size."""
        for kind in ("pdf", "svg") if picture.drawing else ():
            self.drawings.append(f"{safe_name(picture.name)}.{kind}")
            assert picture.drawing
            with atomic(self.folder / self.drawings[-1]) as temporary:
                temporary.write_bytes(pictures.vector(picture.drawing, kind))
