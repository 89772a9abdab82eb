"""What a run does about rare classes: the weight of each class, and examples made for training."""

from __future__ import annotations

import logging

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.data import inputs, sampling
from attnrobust.data.records import Dataset
from attnrobust.errors import UserError
from attnrobust.models import memory
from attnrobust.training import losses

log = logging.getLogger("attnrobust")


def class_weights(dataset: Dataset, experiment: config.Experiment) -> np.ndarray:
    """Weight of each class in the loss, (K,) float32, see CLASS_WEIGHTS.

    Of class maps, a class counts by its pixels in an image that shows it.
    """
    setting = experiment.training
    row = config.lookup("training.class_weights", losses.CLASS_WEIGHTS, setting.class_weights)
    if dataset.kind == "segment":
        counts = inputs.class_pixels(dataset, experiment.data)
    else:
        counts = inputs.class_counts(dataset, experiment.data.limit)
    absent = [dataset.classes[i] for i in np.flatnonzero(counts == 0)]
    if absent and setting.class_weights != "none":
        log.warning("no training example of %s", ", ".join(absent))
    return row(counts, setting).astype(np.float32)


def ready(dataset: Dataset, experiment: config.Experiment) -> None:
    """Raise a UserError where a class has too few examples for `training.sampling`.

    Or where an image has not one class but a map of them.
    """
    kind = experiment.training.sampling
    if kind != "none" and dataset.kind == "segment":
        raise UserError(
            f"training.sampling = {kind}: it draws by the class of an image; for label maps take "
            "none, and training.class_weights"
        )
    if kind != "none":
        counts = inputs.class_counts(dataset, experiment.data.limit)
        sampling.require(counts, dataset.classes, kind)


def synthetic(dataset: Dataset, experiment: config.Experiment) -> tf.data.Dataset | None:
    """Examples that the row of SAMPLING makes, if it makes any; the same after a resume.

    Raises:
        UserError: No such `training.sampling`, a class with too few examples for it, or too
            little memory.
    """
    data, kind = experiment.data, experiment.training.sampling
    row = config.lookup("training.sampling", sampling.SAMPLING, kind)
    ready(dataset, experiment)
    if row.made is None:
        return None
    counts = inputs.class_counts(dataset, data.limit)
    batches = inputs.evaluation_batches(dataset, "train", data=data, batch_size=32)
    stored = [
        dataset.label_map.index(label) if dataset.label_map else label
        for label in range(len(counts))
    ]
    return row.made(
        batches, counts, stored, size=data.image_size, seed=experiment.seed, free=memory.available()
    )
