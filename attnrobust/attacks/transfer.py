"""TRANSFER: adversarials made on one model, judged on others."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from attnrobust import config, task
from attnrobust.attacks import checks, similarity
from attnrobust.attacks.judging import judged
from attnrobust.attacks.methods import EVERY, row_of, settled, untargeted
from attnrobust.attacks.outputs import make, require_plain
from attnrobust.attacks.row import Attack
from attnrobust.console import progress
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")


def in_full(setting: config.Attack) -> config.Attack:
    """The settings under which an attack makes what says something about other models.

    Raises:
        UserError: It cannot, or goes for one class.
    """
    checks.settings(setting)
    untargeted(setting, "transfer")
    require_plain(setting, "transfer")
    mine = row_of(setting)
    if not mine.in_full:
        full = (name for name, row in EVERY.items() if row.in_full and row.task == mine.task)
        able = ", ".join(full)
        raise UserError(
            f"attack.name = {setting.name}: it stops at the border of the model that it attacks, "
            f"which fools no other; expected one of {able}"
        )
    return dataclasses.replace(settled(setting), early_stop=False)


def clean(
    models: Mapping[str, Replicas], experiment: config.Experiment, dataset: Dataset, folder: Path
) -> None:
    """Write `clean.npz`: what every model sees without an attack."""
    path = folder / "clean.npz"
    if not path.exists():
        runs.save_npz(path, **_judged(None, models, experiment, dataset, 0.0))


def craft(
    source: str,
    models: Mapping[str, Replicas],
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
) -> None:
    """Attack the whole test split on one model, and ask all models what they see.

    Nothing is carried from one epsilon to the next and no attack stops early: an adversarial that
    only just crosses its own model's border says little about others. Images that the model has
    wrong are attacked like all others.

    Writes `<source>-<epsilon>.npz`: id, label, and `logits-<model>` (N, K) for each model, or
    `prediction-<model>` (N, H, W) where they segment. There also `noisy-<model>`, what each sees in
    the image under noise (Rician where it is grey) of the same SSIM as the adversarial, and `ssim`,
    `noisy_ssim` (N,). Files that are there already are kept.

    Args:
        source: Key of the model that is attacked.
        models: All models, over the same image size and classes.
        experiment: Attack settings as `in_full` gives them, data and seed.
        dataset: Records.
        folder: Where the files go.
    """
    setting = experiment.attack
    attack = make(models[source], setting, experiment.seed)
    for epsilon in setting.epsilons:
        path = folder / runs.attack_file(source, epsilon)
        if path.exists():
            log.info("%s, ε %g: done before, kept", source, epsilon)
            continue
        key = (experiment.seed, source)
        runs.save_npz(path, **_judged(attack, models, experiment, dataset, epsilon, key=key))


def _judged(
    attack: Attack | None,
    models: Mapping[str, Replicas],
    experiment: config.Experiment,
    dataset: Dataset,
    epsilon: float,
    *,
    key: object = None,
) -> dict[str, np.ndarray]:
    """What every model sees in the adversarials of one epsilon, or in the images themselves."""
    size = next(iter(models.values())).batch(experiment.attack.batch_size)
    batches = inputs.evaluation_batches(dataset, "test", data=experiment.data, batch_size=size)
    found: dict[str, list[np.ndarray]] = {}
    with progress(desc=f"ε {epsilon:g}", unit="image") as bar:
        for batch in batches.as_numpy_iterator():
            number = len(batch["id"])
            ids = [id_.decode() for id_ in batch["id"]]
            images = Replicas.padded(batch["image"], size)
            labels = Replicas.padded(batch["label"], size)
            row = {"id": np.array(ids), "label": task.kept_labels(batch["label"])}
            if attack is not None:
                padded = ids + ids[:1] * (size - number)
                made, _ = attack(tf.constant(images), tf.constant(labels), padded, epsilon, 0)
                made = np.asarray(made)
                if dataset.kind == "segment" and min(images.shape[1:3]) >= similarity.WINDOW:
                    twins = _twins(models, images, made, padded, (key, epsilon))
                    row |= {name: values[:number] for name, values in twins.items()}
                images = made
            row["group"] = np.array([group.decode() for group in batch["group"]])
            for name, replicas in models.items():
                for scores, values in task.kept(judged(replicas, images, size)[:number]).items():
                    row[f"{scores}-{name}"] = values
            for name, value in row.items():
                found.setdefault(name, []).append(value)
            bar.update(number)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _twins(
    models: Mapping[str, Replicas],
    images: np.ndarray,
    made: np.ndarray,
    ids: Sequence[str],
    key: object,
) -> dict[str, np.ndarray]:
    """What every model sees in images under noise that is as visible as adversarials are."""
    alike = similarity.ssim(images, made)
    noisy, reached = similarity.matched_noise(
        images, alike, ids, key=key, noise=similarity.fitting(images)
    )
    row = {"ssim": alike, "noisy_ssim": reached}
    for name, replicas in models.items():
        (row[f"noisy-{name}"],) = task.kept(judged(replicas, noisy, len(noisy))).values()
    return row
