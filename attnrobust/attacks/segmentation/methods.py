"""SEGMENTATION_ATTACKS: the table of attacks on segmenters. Read without TensorFlow.

All look inside the L-inf ball of a given epsilon. Except for DAG, which goes for a target, each
gives back the iterate of least mean Dice.
"""

from __future__ import annotations

import functools
from typing import Any

from attnrobust.attacks import passes
from attnrobust.attacks.row import Row, late


def in_role(role: str) -> str:
    """The attack that a check takes for that role."""
    return next(name for name, row in SEGMENTATION_ATTACKS.items() if row.role == role)


_row = functools.partial(Row, task="segment")
# Step sizes of both papers: 0.01 in a ball of 0.03.
_published: dict[str, Any] = {"own": {"steps": 20, "rel_stepsize": 1 / 3}, "starts": True}
_dag: dict[str, Any] = {
    "random": False,
    "own": {"steps": 200, "step_norm": "image_linf"},
    "choices": {"step_norm": ("image_linf", "batch_l2")},
}

SEGMENTATION_ATTACKS: dict[str, Row] = {
    "dag_background": _row(late("segmentation.dag", "dag_background"), passes.stepped, **_dag),
    "dag_random": _row(
        late("segmentation.dag", "dag_random"), passes.stepped, **{**_dag, "random": True}
    ),
    "dag_dilated": _row(
        late("segmentation.dag", "dag_dilated"), passes.stepped, **{**_dag, "random": True}
    ),
    "pixel_pgd": _row(
        late("segmentation.descent", "pixel_pgd"),
        passes.kept_worst,
        loss=True,
        starts=True,
        own={"steps": 20, "rel_stepsize": 1 / 8},
        source="default",
        role="steps",
    ),
    "seg_pgd": _row(late("segmentation.descent", "seg_pgd"), passes.kept_worst, **_published),
    "cos_pgd": _row(late("segmentation.descent", "cos_pgd"), passes.kept_worst, **_published),
    "pixel_apgd": _row(
        late("segmentation.climb", "pixel_apgd"),
        passes.climbed,
        loss=True,
        starts=True,
        own={"steps": 100},
    ),
    "pixel_apgd_shrinking": _row(
        late("segmentation.climb", "pixel_apgd_shrinking"),
        passes.climbed_inwards,
        loss=True,
        starts=True,
        own={"steps": 300},
    ),
    "sea": _row(
        late("segmentation.climb", "sea"),
        passes.climbed_on_each,
        starts=True,
        own={"steps": 300},
        role="ensemble",
    ),
}
