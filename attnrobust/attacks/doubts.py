"""DOUBTS: of each task what is attacked again, and the checks that do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from attnrobust.attacks import sanity, subject
from attnrobust.attacks.segmentation import sanity as segmentation_sanity
from attnrobust.attacks.segmentation import subject as segmentation_subject


class Doubt(NamedTuple):
    """What a task's checks take, and their table."""

    subject: Any
    checks: Mapping[str, sanity.Row]


DOUBTS: dict[str, Doubt] = {
    "classify": Doubt(subject.Subject, sanity.CHECKS),
    "segment": Doubt(segmentation_subject.Subject, segmentation_sanity.SEGMENTATION_CHECKS),
}
