"""TRANSFER: adversarials made on one model, judged on others."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from attnrobust import config, runs
from attnrobust.attacks.methods import Attack, row_of
from attnrobust.attacks.outputs import make
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")


def clean(
    models: Mapping[str, Replicas], experiment: config.Experiment, dataset: Dataset, folder: Path
) -> None:
    """Write `clean.npz`: what every model sees without an attack."""
    path = folder / "clean.npz"
    if not path.exists():
        runs.save_npz(path, **_judged(None, models, experiment, dataset, 0.0))


def craft(
    source: str, models: Mapping[str, Replicas], experiment: config.Experiment, dataset: Dataset,
    folder: Path,
) -> None:  # fmt: skip
    """Attack the whole test split on one model, and ask all models what they see.

    Nothing is carried from one epsilon to the next and no attack stops early: an adversarial that
    only just crosses its own model's border says little about others. An attack of the kind
    `minimal` has one condition, epsilon 0.

    Writes `<source>-<epsilon>.npz`: id, label, and `logits-<model>` (N, K) for each model. Files
    that are there already are kept.

    Args:
        source: Key of the model that is attacked.
        models: All models, over the same image size and classes.
        experiment: Attack settings, data and seed.
        dataset: Records.
        folder: Where the files go.
    """
    setting = experiment.attack
    row = row_of(setting)
    attack = make(models[source], setting, experiment.seed)
    minimal = row.kind == "minimal"
    for epsilon in (0.0,) if minimal else setting.epsilons:
        path = folder / runs.attack_file(source, epsilon)
        if path.exists():
            log.info("%s, ε %g: done before, kept", source, epsilon)
            continue
        runs.save_npz(path, **_judged(attack, models, experiment, dataset,
                                      np.inf if minimal else epsilon))  # fmt: skip


def _judged(
    attack: Attack | None, models: Mapping[str, Replicas], experiment: config.Experiment,
    dataset: Dataset, epsilon: float,
) -> dict[str, np.ndarray]:  # fmt: skip
    """What every model sees in the adversarials of one epsilon, or in the images themselves."""
    size = next(iter(models.values())).batch(experiment.attack.batch_size)
    batches = inputs.evaluation_batches(dataset, "test", data=experiment.data, batch_size=size)
    found: dict[str, list[np.ndarray]] = {}
    with tqdm(desc=f"ε {epsilon:g}", unit="image", disable=None) as bar:
        for batch in batches.as_numpy_iterator():
            number = len(batch["id"])
            ids = [id_.decode() for id_ in batch["id"]]
            images = Replicas.padded(batch["image"], size)
            labels = Replicas.padded(batch["label"], size)
            if attack is not None:
                made, _ = attack(tf.constant(images), tf.constant(labels),
                                 ids + ids[:1] * (size - number), epsilon, 0)  # fmt: skip
                images = np.asarray(made)
            row = {"id": np.array(ids), "label": batch["label"]}
            for name, replicas in models.items():
                row[f"logits-{name}"] = replicas.forward(images).numpy()[:number]
            for name, value in row.items():
                found.setdefault(name, []).append(value)
            bar.update(number)
    return {name: np.concatenate(parts) for name, parts in found.items()}
