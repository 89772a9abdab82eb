"""What `model.backbone` may name: a backbone, or a segmenter, which gives class maps."""

from __future__ import annotations

from attnrobust import config
from attnrobust.models.backbones import BACKBONES
from attnrobust.models.backbones.base import Backbone
from attnrobust.models.segmenters import SEGMENTERS


def row_of(name: str) -> Backbone:
    """Its row of BACKBONES or SEGMENTERS.

    Raises:
        UserError: In neither; the message lists the near names.
    """
    row: Backbone = config.lookup("model.backbone", {**BACKBONES, **SEGMENTERS}, name)
    return row


def kind_of(name: str) -> str:
    """The row of task.TASKS that its logits are of."""
    return "segment" if name in SEGMENTERS else "classify"
