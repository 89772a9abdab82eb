"""What can be known of a training from its settings alone, before anything is built."""

from __future__ import annotations

from attnrobust import config
from attnrobust.corruptions import CORRUPTIONS
from attnrobust.data.augmentation import AUGMENTATIONS
from attnrobust.data.records import Dataset
from attnrobust.data.sampling import SAMPLING
from attnrobust.errors import UserError
from attnrobust.models import build, networks
from attnrobust.training import losses, mixing
from attnrobust.training.methods import METHODS, row_of
from attnrobust.training.optimizers import OPTIMIZERS, SCHEDULES


def ready(experiment: config.Experiment) -> None:
    """Every name in `model` and `training` is a row of its table.

    Raises:
        UserError: The first that is not; too small an image; a weights file that is not there.
    """
    setting, kind = experiment.training, networks.kind_of(experiment.model.backbone)
    row = row_of(setting)
    if kind == "segment" and not row.maps:
        able = ", ".join(name for name, each in METHODS.items() if each.maps)
        raise UserError(
            f"training.method = {setting.method}: cannot train {experiment.model.backbone}, which "
            f"gives class maps; expected {able}"
        )
    losses.require(setting, kind)
    for key, table in (
        ("optimizer", OPTIMIZERS),
        ("schedule", SCHEDULES),
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


def fits(experiment: config.Experiment, dataset: Dataset) -> None:
    """Raise a UserError unless the network gives what the labels of the records are."""
    network = experiment.model.backbone
    if networks.kind_of(network) == dataset.kind:
        return
    says = {"classify": "a class an image", "segment": "a class for every pixel"}
    raise UserError(
        f"model.backbone = {network} gives {says[networks.kind_of(network)]}, but the records in "
        f"{dataset.root} hold {says[dataset.kind]}; expected "
        f"{'one of SEGMENTERS' if dataset.kind == 'segment' else 'one of BACKBONES'}"
    )
