"""ADOPT: a model that was trained elsewhere, as it is found: its file, what was told of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attnrobust.models import adopted

if TYPE_CHECKING:
    from tensorflow import keras

    from attnrobust.stages.context import Context

log = logging.getLogger("attnrobust")


def adopt(context: Context, classes: Sequence[str]) -> tuple[keras.Model, dict[str, Any]]:
    """The model, and what `adopted.json` keeps of it.

    Args:
        context: The run; its experiment says which model, and how it is to be read.
        classes: Names of its logits, in the order of the records.

    Raises:
        UserError: As `models.adopted.load`.
    """
    setting = context.experiment.adopted
    model = adopted.load(setting, classes=classes, image_size=context.experiment.data.image_size)
    said = list(adopted.told(model).notes)
    for line in said:
        log.info("%s", line)
    return model, {
        "file": setting.file,
        "digest": adopted.digest(setting),
        "said": said,
    }
