"""What the page is made of: sections, and the few kinds of blocks that the template can draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from attnrobust.report.pictures import Picture


@dataclass(frozen=True)
class Table:
    """A table ready to print, numbered on the page.

    Attributes:
        name: File name without ending, below `tables/`.
        caption: What it shows.
        columns: Heads of the columns.
        rows: Cells as text; the first of each row is its head.
        groups: An upper row of heads as (text, columns covered); empty: none.
        frame: The same numbers, not rounded, for the CSV file.
        note: One sentence below the table.
        bold: Columns that stand out.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    frame: pd.DataFrame
    groups: tuple[tuple[str, int], ...] = field(default=())
    note: str = ""
    bold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Note:
    """A paragraph in small print."""

    text: str


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Verbatim:
    """Commands or a file, as they are."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of paragraphs, each with a dot before it."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Names and what each is, without a number or a file."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Findings:
    """A table of words, without a number or a file.

    Attributes:
        columns: Heads.
        rows: Cells; the first of each row is its head.
        doubtful: Rows that stand out as warnings.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    doubtful: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Details:
    """Blocks below a line that opens and closes them."""

    summary: str
    blocks: tuple[Block, ...]
    open: bool = False


@dataclass(frozen=True)
class Live:
    """Markup of our own with code in it; no text of a run becomes markup there."""

    markup: Markup


# Text is a paragraph.
Block = (
    str | Note | Heading | Verbatim | Points | Facts | Findings | Details | Picture | Table | Live
)


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        anchor: What links to it end in.
        title: Its heading.
        blocks: What it shows. They are gone through once, when all sections are known: where there
            are many pictures it is a generator, so that they are not in memory all at once.
        files: Further tables, by name, that are only written as CSV.
        texts: Further files, by their place below the page's folder.
        summary: What it says on the page's first screen.
        photos: About how many of its pictures are made of photographs, which share the page's
            bytes.
    """

    anchor: str
    title: str
    blocks: Iterable[Block]
    files: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    summary: tuple[str, ...] = ()
    photos: int = 0


@dataclass(frozen=True)
class Asked:
    """What was asked of the page.

    Attributes:
        out: Its folder.
        title: Its heading; None: made from the runs.
        baseline: Experiment that mean corruption errors are relative to, and that all others are
            set against; None: the first.
        claims: A file of further claims.
    """

    out: Path = Path("out")
    title: str | None = None
    baseline: str | None = None
    claims: Path | None = None
