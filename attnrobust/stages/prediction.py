"""PREDICT: what the model says of the test and the validation split, each id once."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from attnrobust import config, task
from attnrobust.console import progress
from attnrobust.corruptions import CORRUPTIONS, corrupt
from attnrobust.data import corrupting, inputs
from attnrobust.data.records import Dataset
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models import memory
from attnrobust.models.replicas import Replicas


def ready(experiment: config.Experiment, dataset: Dataset) -> None:
    """What can be known before there are weights.

    Raises:
        UserError: No such corruption, the test split is empty, or a batch of images cannot fit
            into memory.
    """
    data = experiment.data
    for name in experiment.corruptions.names:
        config.lookup("corruptions.names", CORRUPTIONS, name)
    inputs.count(dataset, "test", data.limit)
    memory.require_images(data.image_size, experiment.attack.batch_size, "attack.batch_size")


def predict(
    experiment: config.Experiment, dataset: Dataset, folder: Path, replicas: Replicas
) -> None:
    """Write `clean.npz`, `validation.npz`, and `corruption-<name>-<severity>.npz` as asked for.

    Each holds id (N,), group (N,), label (N,), logits (N, K) float32, in record order, and of class
    maps label and prediction (N, H, W), whole numbers, in their place; the group is the patient or
    lesion, or the id where records know none; pixel (N,) is the side of a pixel in mm, where
    records know it. All are of the test split but
    `validation.npz`, on which a temperature is fitted; a data set without a validation split has
    none. Chance in a corruption hangs on image, name and severity alone, so that all models see the
    same. Files that are there already are kept.

    Raises:
        UserError: A logit is not finite, the test split is empty, or no such corruption.
    """
    asked = experiment.corruptions
    ready(experiment, dataset)
    if asked.names:
        corrupting.warn_of_filter(dataset)
    conditions = [("clean.npz", "test", "", 0)]
    if dataset.count("validation"):
        conditions.append(("validation.npz", "validation", "", 0))
    for name, severity in itertools.product(asked.names, asked.severities):
        conditions.append((f"corruption-{name}-{severity}.npz", "test", name, severity))
    for file, split, name, severity in conditions:
        if not (folder / file).exists():
            found = _said(experiment, dataset, replicas, split=split, name=name, severity=severity)
            runs.save_npz(folder / file, **found)


def _said(
    experiment: config.Experiment,
    dataset: Dataset,
    replicas: Replicas,
    *,
    split: str,
    name: str,
    severity: int,
) -> dict[str, np.ndarray]:
    """What is kept of a split under a corruption, or under none where its name is empty."""
    data, batch_size = experiment.data, experiment.attack.batch_size
    full = replicas.batch(batch_size)
    rows: dict[str, list[np.ndarray]] = {"id": [], "group": [], "label": []}
    total = inputs.count(dataset, split, data.limit)
    said = f"{name} {severity}" if name else f"predict {split}"
    with progress(desc=said, total=total, unit="image") as bar:
        for batch in inputs.evaluation_batches(dataset, split, data=data, batch_size=batch_size):
            images, ids = batch["image"].numpy(), batch["id"].numpy().astype(str)
            if name:
                images = corrupt(images, list(ids), name, severity)
            logits = replicas.forward(replicas.padded(images, full)).numpy()[: len(ids)]
            if not np.isfinite(logits).all():
                raise UserError(
                    "the model gives logits that are not finite; nothing can be measured"
                )
            for key, kept in task.kept(logits).items():
                rows.setdefault(key, []).append(kept)
            rows["id"].append(ids)
            rows["group"].append(np.array([group.decode() for group in batch["group"].numpy()]))
            label = batch["label"].numpy()
            rows["label"].append(task.kept_labels(label))
            bar.update(len(ids))
    found = {key: np.concatenate(parts) for key, parts in rows.items()}
    if sides := dataset.sides_of(found["id"]):
        found["pixel"] = np.array(sides) / data.image_size
    return found
