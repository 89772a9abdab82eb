"""ADOPT: a model that was trained elsewhere, as it is found: its file, what was told of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attnrobust import config
from attnrobust.attacks.methods import ATTACKS, settled
from attnrobust.errors import UserError
from attnrobust.models import adopted

if TYPE_CHECKING:
    from tensorflow import keras

    from attnrobust.stages.context import Context

log = logging.getLogger("attnrobust")


def require_gradients(context: Context, model: keras.Model) -> None:
    """Raise a UserError where an attack needs derivatives that the model does not give."""
    setting = settled(context.experiment.attack)
    if adopted.told(model).gradients or not ATTACKS[setting.name].passes(setting, 2, 1).gradient:
        return
    blind = [
        name
        for name, row in ATTACKS.items()
        if not row.passes(settled(config.Attack(name)), 2, 1).gradient
    ]
    raise UserError(
        f"attack.name = {setting.name}: {context.experiment.adopted.file} gives no derivatives; "
        f"expected an attack that asks the model alone: {', '.join(blind)}"
    )


def adopt(context: Context, classes: Sequence[str]) -> tuple[keras.Model, dict[str, Any]]:
    """The model, and what `adopted.json` keeps of it.

    Args:
        context: The run; its experiment says which model, and how it is to be read.
        classes: Names of its logits, in the order of the records.

    Raises:
        UserError: As `models.adopted.load`.
    """
    setting = context.experiment.adopted
    model = context.adopted(classes).model
    said = list(adopted.told(model).notes)
    for line in said:
        log.info("%s", line)
    return model, {
        "file": setting.file,
        "digest": adopted.digest(setting),
        "said": said,
    }
