"""What can be known of a training from its settings alone, before anything is built."""

from __future__ import annotations

from attnrobust import config
from attnrobust.corruptions import CORRUPTIONS
from attnrobust.data.augmentation import AUGMENTATIONS
from attnrobust.data.sampling import SAMPLING
from attnrobust.models import build
from attnrobust.training import losses, mixing
from attnrobust.training.methods import row_of
from attnrobust.training.optimizers import OPTIMIZERS, SCHEDULES


def ready(experiment: config.Experiment) -> None:
    """Every name in `model` and `training` is a row of its table.

    Raises:
        UserError: The first that is not; too small an image; a weights file that is not there.
    """
    setting = experiment.training
    row_of(setting)
    for key, table in (
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
        ("loss", losses.LOSSES),
        ("class_weights", losses.CLASS_WEIGHTS),
        ("sampling", SAMPLING),
    ):
        config.lookup(f"training.{key}", table, getattr(setting, key))
    for name in setting.augmentation:
        config.lookup("training.augmentation", AUGMENTATIONS, name)
    for name in setting.corruptions:
        config.lookup("training.corruptions", CORRUPTIONS, name)
    mixing.chosen(setting)
    build.ready(experiment.model, image_size=experiment.data.image_size)
