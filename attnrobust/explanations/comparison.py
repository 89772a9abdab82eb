"""EXPLAIN: heatmaps on disk to `comparison.csv`, what an attack does to them. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from attnrobust.disk import runs, stamps
from attnrobust.disk.runs import Run
from attnrobust.explanations import samples
from attnrobust.explanations.samples import Explained
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
    folder = run.require(stage)
    attack = run.attacks()[label]
    setting = stamps.explanation(run.stamp(stage) or {}, folder / "stage.json")
    experiment = run.experiment
    rows: list[list[Any]] = []
    for method in setting.methods:
        conditions = samples.at_all_radii(run, label, method)
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


def _measured(
    clean: Explained, attacked: Explained
) -> Iterator[tuple[str, str, float, float, float, int, int]]:
    """Subset, metric, value, low, high, n and left_out of one epsilon."""
    pairs = _pairs(clean, attacked)
    masked = any(pair.mask.any() for pair in pairs)
    before, after = clean.right, attacked.right
    subsets = {
        "all": np.ones(len(pairs), bool),
        "fooled": before & ~after,
        "standing": before & after,
    }
    for name, metric in HEATMAP_METRICS.items():
        if metric.masked and not masked:
            continue
        values = np.array([metric(pair) for pair in pairs])
        for subset, chosen in subsets.items():
            defined = chosen & ~np.isnan(values)
            if chosen.any():
                found = metrics.mean(values[defined], groups=clean.groups[defined])
                n = int(defined.sum())
                yield subset, name, *found[:3], n, int(chosen.sum()) - n


def _pairs(clean: Explained, attacked: Explained) -> list[Pair]:
    """Of every image what the metrics take."""
    # Files of earlier versions hold no masks.
    masks = np.zeros(clean.heatmaps.shape, bool) if clean.masks is None else clean.masks
    return [
        Pair(
            clean.heatmaps[row],
            attacked.heatmaps[row],
            attacked.images[row] - clean.images[row],
            masks[row],
        )
        for row in range(len(clean.ids))
    ]
