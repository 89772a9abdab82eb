"""EXPLAIN: heatmaps on disk to `comparison.csv`, what an attack does to them. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnrobust import task
from attnrobust.disk import runs, schemas, stamps
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.measures import metrics
from attnrobust.measures.heatmaps import HEATMAP_METRICS, Pair

COLUMNS = (
    "dataset",
    "experiment",
    "seed",
    "method",
    "condition",
    "name",
    "level",
    "subset",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "left_out",
)


def write(run: Run, label: str) -> pd.DataFrame:
    """Measure the sample images of every method and epsilon of an attack into `comparison.csv`.

    A value is the mean over the images for which the metric is defined (n), with a bootstrap
    interval over them, or over their groups where one has several; `left_out` counts the others.
    The subset `fooled` holds the images that were right without the attack and wrong with it,
    `standing` those right in both, `all` these and those wrong from the start. A subset without
    images gets no row.

    Args:
        run: With finished attack and explain stages.
        label: Of the attack.

    Returns:
        The table, columns as in COLUMNS.

    Raises:
        UserError: A file is missing or damaged, or holds other images than the others.
    """
    stage = run.place_of("explain", label)
    folder, attacked = run.require(stage), run.attacked(label)
    attack = run.attacks()[label]
    setting = stamps.explanation(run.stamp(stage) or {}, folder / "stage.json")
    experiment = run.experiment
    rows: list[list[Any]] = []
    for method in setting.methods:
        conditions = {
            epsilon: _condition(attacked, folder, attack.name, method, epsilon)
            for epsilon in (0.0, *attack.epsilons)
        }
        for epsilon in attack.epsilons:
            start = [
                experiment.data.dataset,
                experiment.name,
                experiment.seed,
                method,
                "attack",
                label,
                epsilon,
            ]
            rows += [[*start, *row] for row in _measured(conditions[0.0], conditions[epsilon])]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    runs.save_text(folder / "comparison.csv", table.to_csv(index=False))
    return table


def _condition(
    attacked_folder: Path, explained_folder: Path, attack: str, method: str, epsilon: float
) -> dict[str, np.ndarray]:
    """The sample images at one epsilon: id, image, right, heatmap and, if there, group and mask."""
    place = attacked_folder / runs.attack_file(attack, epsilon)
    attacked = schemas.load_npz(place, schemas.ATTACKED)
    name = runs.attack_file(attack, epsilon) if epsilon else "clean.npz"
    explained_place = explained_folder / f"{method}-{name}"
    explained = schemas.load_npz(explained_place, schemas.EXPLAINED)
    try:
        ids = attacked["sample_id"]
        rows = _places(attacked["id"], ids)
        found = {
            "id": ids,
            "image": attacked["sample_image"],
            "right": task.right_in(attacked)[rows],
            "heatmap": explained["heatmap"][_places(explained["id"], ids)],
        }
    except KeyError as error:
        raise UserError(
            f"{explained_place}: does not fit {place} (no {error.args[0]}); run 'explain' again "
            "with --force"
        ) from None
    if found["heatmap"].shape[1:] != found["image"].shape[1:3]:
        raise schemas.damaged(
            explained_place,
            f"heatmaps not of the size of {place.name}'s images",
            "run 'explain' again with --force",
        )
    if "group" in attacked:
        found["group"] = attacked["group"][rows]
    if "sample_mask" in attacked:
        found["mask"] = attacked["sample_mask"]
    return found


def _places(ids: np.ndarray, wanted: np.ndarray) -> list[int]:
    places = {id_: row for row, id_ in enumerate(ids)}
    return [places[id_] for id_ in wanted]


def _measured(
    clean: dict[str, np.ndarray], attacked: dict[str, np.ndarray]
) -> Iterator[tuple[str, str, float, float, float, int, int]]:
    """Subset, metric, value, low, high, n and left_out of one epsilon."""
    alike = clean["image"].shape == attacked["image"].shape
    if not alike or not np.array_equal(clean["id"], attacked["id"]):
        raise UserError(
            "the attack kept other sample images at one epsilon than at another; "
            "run 'attack' again with --force"
        )
    # Files of earlier versions hold no groups, and no masks.
    groups = clean.get("group", clean["id"])
    masks = clean.get("mask", np.zeros(clean["heatmap"].shape, bool))
    pairs = [
        Pair(before, after, image - original, mask)
        for before, after, image, original, mask in zip(
            clean["heatmap"],
            attacked["heatmap"],
            attacked["image"],
            clean["image"],
            masks,
            strict=True,
        )
    ]
    before, after = clean["right"], attacked["right"]
    subsets = {
        "all": np.ones(len(pairs), bool),
        "fooled": before & ~after,
        "standing": before & after,
    }
    for name, metric in HEATMAP_METRICS.items():
        if metric.masked and not masks.any():
            continue
        values = np.array([metric(pair) for pair in pairs])
        for subset, chosen in subsets.items():
            defined = chosen & ~np.isnan(values)
            if chosen.any():
                found = metrics.mean(values[defined], groups=groups[defined])
                n = int(defined.sum())
                yield subset, name, *found[:3], n, int(chosen.sum()) - n
