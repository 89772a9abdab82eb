"""PREDICT: the test split's logits, each id once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from attnrobust import config, runs
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas


def predict(
    experiment: config.Experiment, dataset: Dataset, folder: Path, replicas: Replicas
) -> None:
    """Write `clean.npz`: id (N,), label (N,), logits (N, K) float32, in record order.

    Raises:
        UserError: A logit is not finite, or the test split is empty.
    """
    data, batch_size = experiment.data, experiment.attack.batch_size
    full = replicas.batch(batch_size)
    rows: dict[str, list[np.ndarray]] = {"id": [], "label": [], "logits": []}
    total = inputs.count(dataset, "test", data.limit)
    with tqdm(desc="predict", total=total, unit="image", disable=None) as bar:
        for batch in inputs.evaluation_batches(dataset, "test", data=data, batch_size=batch_size):
            number = len(batch["id"])
            images = replicas.padded(batch["image"].numpy(), full)
            rows["logits"].append(replicas.forward(images).numpy()[:number])
            rows["id"].append(batch["id"].numpy().astype(str))
            rows["label"].append(batch["label"].numpy())
            bar.update(number)
    if not all(np.isfinite(part).all() for part in rows["logits"]):
        raise UserError("the model gives logits that are not finite; nothing can be measured")
    runs.save_npz(folder / "clean.npz", **{k: np.concatenate(v) for k, v in rows.items()})
