"""A section of the page that is made of words, figures and tables alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from attnrobust.report.pictures import Picture
from attnrobust.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        anchor: What links to it end in.
        title: Its heading.
        words: Paragraphs.
        pictures: Figures, shown first.
        tables: Tables, shown below them.
        files: Further tables, by name, that are only written as CSV.
    """

    anchor: str
    title: str
    words: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    files: dict[str, pd.DataFrame] = field(default_factory=dict)
