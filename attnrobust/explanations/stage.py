"""EXPLAIN: heatmaps of the sample images, clean and at each epsilon."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorflow import keras

from attnrobust import config, task
from attnrobust.attacks.judging import judged
from attnrobust.attacks.loader import sample_positions
from attnrobust.console import progress
from attnrobust.data import decoding, inputs
from attnrobust.data.records import Dataset
from attnrobust.disk import runs, schemas
from attnrobust.explanations import SAMPLES, precision
from attnrobust.explanations.base import BATCH, Batch
from attnrobust.explanations.methods import heatmaps
from attnrobust.explanations.ready import OWN, TRUE, class_of, require
from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")

# Of the differences of logits, what attributions may miss without a warning.
INCOMPLETE = 0.05


def of_attack(attack: config.Attack, attacked: Path) -> dict[str, Path]:
    """The files of an attack's folder that hold its sample images, by condition."""
    conditions = {"clean": 0.0} | {f"{attack.name}-{e:g}": e for e in attack.epsilons}
    return {
        name: attacked / runs.attack_file(attack.name, epsilon)
        for name, epsilon in conditions.items()
    }


def unattacked(
    replicas: Replicas, dataset: Dataset, data: config.Data, number: int, folder: Path
) -> dict[str, Path]:
    """Write `samples.npz`, the sample images that an attack would keep, for the clean condition.

    It holds id (S,), group (S,), label and scores as `predict` keeps them, sample_id (S,),
    sample_image (S, H, W, 3) and sample_mask (S, H, W).

    Args:
        replicas: The model.
        dataset: Records.
        data: Size and limit.
        number: Of images.
        folder: Of this stage.
    """
    path = folder / SAMPLES
    if not path.exists():
        labels = inputs.labels(dataset, "test", data.limit, size=data.image_size)
        positions = sample_positions(labels, number)
        chosen = np.isin(np.arange(len(labels)), positions)
        batches = inputs.evaluation_batches(
            dataset, "test", data=data, batch_size=BATCH, chosen=chosen
        )
        names = ("id", "group", "image", "mask")
        found = [
            each
            for batch in batches.as_numpy_iterator()
            for each in zip(*(batch[name] for name in names), strict=True)
        ]
        # In the attacks' order: the first of each class, then the second, and so on.
        found = [found[place] for place in np.argsort(np.argsort(positions))]
        ids, groups = (np.array([each[at].decode() for each in found]) for at in (0, 1))
        images = np.stack([each[2] for each in found])
        size = replicas.batch(BATCH)
        logits = np.concatenate(
            [judged(replicas, images[i : i + size], size) for i in range(0, len(images), size)]
        )
        masks = np.stack([decoding.mask(each[3], data.image_size) for each in found])
        runs.save_npz(
            path,
            id=ids,
            group=groups,
            label=task.kept_labels(labels[positions]),
            **task.kept(logits),
            sample_id=ids,
            sample_image=images,
            sample_mask=masks,
        )
    return {"clean": path}


def explain(
    model: keras.Model,
    setting: config.Explanation,
    images: Mapping[str, Path],
    folder: Path,
    *,
    classes: Sequence[str],
    seed: int,
) -> None:
    """Write `<method>-<condition>.npz` for the sample images of every condition.

    Each holds id (S,), heatmap (S, H, W) float16, scale (S,) (what the heatmap was multiplied by),
    target (S,) (class explained) and prediction (S,), of class maps the largest structure; where
    the method is signed, signed (S, H, W) float16, scaled alike; where attributions have a sum in
    theory, logit_difference (S,) and completeness_error (S,); where `explanation.completeness` asks
    for more gradients where they are needed, gradients (S,), how many.

    Args:
        model: Images to logits.
        setting: Methods and what they ask for.
        images: The file of each condition's sample images: `clean` and `<attack>-<epsilon>`.
        folder: Of this stage.
        classes: Names of the logits.
        seed: Of the run.

    Raises:
        UserError: The model lacks what a method looks at, a map is not finite, this machine does
            not compute in `explanation.precision`, or maps in it are others than in float32.
    """
    require(model, setting)
    if setting.precision != "float32":
        precision.require(setting.precision)
        _require_agreement(model, setting, images, classes, seed)
    work = [(method, condition) for method in setting.methods for condition in images]
    for method, condition in progress(work, "explain", unit="condition"):
        path = folder / f"{method}-{condition}.npz"
        if path.exists():
            continue
        shown = schemas.load_npz(images[condition], schemas.SHOWN)
        targets, predictions = _targets(model, setting.target, shown, classes)
        ids, pictures = shown["sample_id"], shown["sample_image"]
        parts = [
            heatmaps(method, model, Batch(pictures[part], targets[part], ids[part], seed), setting)
            for part in (slice(i, i + BATCH) for i in range(0, len(ids), BATCH))
        ]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if "completeness_error" in found:
            _say_complete(method, condition, found)
        runs.save_npz(path, id=ids, target=targets, prediction=predictions, **_stored(found))


def _require_agreement(
    model: keras.Model,
    setting: config.Explanation,
    images: Mapping[str, Path],
    classes: Sequence[str],
    seed: int,
) -> None:
    """Of each method, on the first clean images, and on as many attacked ones, weak to strong."""
    rows, attacked = {"clean": [*range(precision.COMPARED)]}, [*images]
    attacked.remove("clean")
    if attacked:
        steps = np.linspace(0, len(attacked) - 1, precision.COMPARED).round().astype(int)
        for row, step in enumerate(steps):
            rows.setdefault(attacked[step], []).append(row)
    parts, kinds = [], []
    for name, wanted in rows.items():
        shown = schemas.load_npz(images[name], schemas.SHOWN)
        there = [row for row in wanted if row < len(shown["sample_id"])]
        few = {**shown, **{key: shown[key][there] for key in ("sample_id", "sample_image")}}
        if there:
            targets, _ = _targets(model, setting.target, few, classes)
            parts.append((few["sample_image"], targets, few["sample_id"]))
            kinds += ["clean" if name == "clean" else "attacked"] * len(there)
    pictures, targets, ids = (np.concatenate(each) for each in zip(*parts, strict=True))
    batch = Batch(pictures, targets, ids, seed)

    def maps(method: str, name: str) -> np.ndarray:
        asked = dataclasses.replace(setting, precision=name)
        return heatmaps(method, model, batch, asked)["heatmap"]

    for method in setting.methods:
        made = functools.partial(maps, method)
        precision.require_agreement(method, made, setting.precision, kinds)


def _targets(
    model: keras.Model, target: str, shown: Mapping[str, np.ndarray], classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Class explained and class predicted of each sample image; of maps, the largest structure."""
    logits = model.predict(shown["sample_image"], batch_size=BATCH, verbose=0)
    predictions = task.main_class(task.predict(logits))
    if target == OWN:
        return predictions, predictions
    if target == TRUE:
        position = {id_: index for index, id_ in enumerate(shown["id"])}
        labels = task.main_class(shown["label"])
        return labels[[position[id_] for id_ in shown["sample_id"]]], predictions
    return np.full(len(predictions), class_of(target, classes)), predictions


def _say_complete(method: str, condition: str, found: Mapping[str, np.ndarray]) -> None:
    error = found["completeness_error"]
    missed, difference = float(error.sum()), float(np.abs(found["logit_difference"]).sum())
    log.info(
        "%s, %s: attributions miss the differences of logits by %.2g in the median, at most %.2g%s",
        method,
        condition,
        np.median(error),
        error.max(),
        f"; in all {100 * missed / difference:.2g} % of them" if difference else "",
    )
    if "gradients" in found:
        log.info(
            "%s, %s: gradients an image: %.0f in the median, at most %d",
            method,
            condition,
            np.median(found["gradients"]),
            found["gradients"].max(),
        )
    if missed > INCOMPLETE * difference > 0:
        log.warning(
            "warning: these attributions are incomplete (above %g %%): the gradient changes faster "
            "along the path than explanation.integration_steps can follow; take more, or "
            "explanation.completeness=0.02, which takes more where they are needed",
            100 * INCOMPLETE,
        )


def _stored(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Maps as float16, with what they were multiplied by; all else as it is."""
    scale = scales(found["heatmap"])
    halves = {
        name: (values * scale[:, np.newaxis, np.newaxis]).astype(np.float16)
        for name, values in found.items()
        if values.ndim == 3
    }
    return {**found, **halves, "scale": scale}


def scales(heatmaps: np.ndarray) -> np.ndarray:
    """Powers of two (N,) that bring heatmaps (N, H, W) into the range of float16; 1 where they are.

    float16 ends at 65504 and loses digits below 6e-5.
    """
    peak = heatmaps.max(axis=(1, 2))
    outside = (peak > 1e4) | ((peak < 1e-1) & (peak > 0))
    peak = np.maximum(peak, np.float32(1e-30))
    return np.where(outside, np.exp2(-np.floor(np.log2(peak))), np.float32(1)).astype(np.float32)
