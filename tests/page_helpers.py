"""The blocks of a section by their kind."""

from __future__ import annotations

from attnrobust.report.blocks import Section, Table
from attnrobust.report.pictures import Picture


def words(section: Section) -> list[str]:
    return [block for block in section.blocks if isinstance(block, str)]


def tables(section: Section) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def pictures(section: Section) -> list[Picture]:
    return [block for block in section.blocks if isinstance(block, Picture)]
