"""What the page holds, in its order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attnrobust.errors import UserError
from attnrobust.report import (
    calibration,
    checklist,
    class_heatmaps,
    comparison,
    confusion,
    corruptions,
    differences,
    galleries,
    limits,
    paper_tables,
    provenance,
    readings,
    robustness,
    segmentation,
    tables,
    training,
    trust,
    verdicts,
)
from attnrobust.report.blocks import Asked, Section
from attnrobust.report.results import Result
from attnrobust.report.viewer import live

Made = Section | list[Section] | None


def read(results: Sequence[Result], asked: Asked) -> list[Section]:
    """Every section that these runs have something for.

    Raises:
        UserError: A damaged file, or what was asked is not there.
    """
    found: list[Section] = []
    kinds = {result.headline for result in results}
    if len(kinds) > 1:
        raise UserError("runs that classify and runs that segment: give each a page of its own")
    for make in SEGMENTATION_SECTIONS if kinds == {"dice"} else SECTIONS:
        made = make(results, asked)
        found += made if isinstance(made, list) else [made] if made else []
    return found


SECTIONS: tuple[Callable[[Sequence[Result], Asked], Made], ...] = (
    live.section,
    robustness.section,
    verdicts.section,
    differences.section,
    trust.section,
    tables.section,
    confusion.section,
    calibration.section,
    corruptions.section,
    paper_tables.sections,
    readings.section,
    training.section,
    galleries.section,
    galleries.side_by_side,
    comparison.section,
    provenance.section,
    checklist.section,
    limits.section,
)

# Of runs that segment.
SEGMENTATION_SECTIONS: tuple[Callable[[Sequence[Result], Asked], Made], ...] = (
    live.section,
    segmentation.section,
    verdicts.section,
    differences.section,
    trust.section,
    training.section,
    class_heatmaps.section,
    comparison.section,
    provenance.section,
    checklist.section,
)
