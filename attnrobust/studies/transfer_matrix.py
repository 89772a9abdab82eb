"""The transfer matrix: adversarials made on one model (rows), accuracy of others (columns)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from attnrobust import task
from attnrobust.disk import runs, schemas
from attnrobust.measures import metrics
from attnrobust.report.figures import INK
from attnrobust.report.pictures import png, render
from attnrobust.report.results import number

COLUMNS = ("source", "target", "epsilon", "metric", "value", "low", "high", "n")
CLEAN = "clean"
# Of each task what is left, and what is lost.
MEASURED = {"classify": ("accuracy", "fooled"), "segment": ("dice", "dice_drop")}
NOISY = "dice_noisy"
SHOWN = [left for left, _ in MEASURED.values()]


def measure(
    folder: Path, names: Sequence[str], epsilons: Sequence[float], kind: str = "classify"
) -> pd.DataFrame:
    """What every model makes of every model's adversarials, with 95 % intervals.

    Wilson's, or a bootstrap of groups where the files say that a group has several images.

    Args:
        folder: With the files that `attacks/transfer.py` writes.
        names: Of the models.
        epsilons: Radii.
        kind: Row of TASKS.

    Returns:
        A row for each source, target and epsilon; source `clean` is no attack. Metrics are
        `accuracy`, over all images, right only if right without an attack too, and `fooled`, the
        share of images that both models had right and the target no longer has. Where models
        segment they are `dice`, of each image the worse of with and without the attack,
        `dice_drop`, what it takes off, and `dice_noisy`, that of images under noise which is as
        visible as the source's adversarials.
    """
    rows: list[list[Any]] = []
    row = task.TASKS[kind]
    base = schemas.load_npz(folder / f"{CLEAN}.npz", schemas.judged(names, kind))
    share = _share_of_dice if row.graded else _share_of_right
    before = {name: share(row, base, name) for name in names}
    groups = base.get("group")
    metric, lost = MEASURED[kind]
    for target in names:
        rows.append([CLEAN, target, 0.0, metric, *_mean(before[target], groups)])
    for source, epsilon, target in itertools.product(names, epsilons, names):
        place = folder / runs.attack_file(source, epsilon)
        found = schemas.load_npz(place, schemas.judged(names, kind))
        if not np.array_equal(found["label"], base["label"]):
            raise schemas.damaged(place, f"other images than in {CLEAN}.npz")
        after = np.minimum(before[target], share(row, found, target))
        rows.append([source, target, epsilon, metric, *_mean(after, groups)])
        # Of a class: among those that both models had right. Of a map: of all.
        both = np.ones(len(after), bool) if row.graded else before[source] & before[target]
        own = None if groups is None else groups[both]
        gone = before[target] - after if row.graded else before[target] & ~after
        rows.append([source, target, epsilon, lost, *_mean(gone[both], own)])
        if f"noisy-{target}" in found:
            twin = row.score(found[f"noisy-{target}"], found["label"])
            rows.append([source, target, epsilon, NOISY, *_mean(twin, groups)])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _share_of_right(row: task.Task, found: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return row.right(found[f"{row.scores}-{name}"], found["label"])


def _share_of_dice(row: task.Task, found: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return row.score(found[f"{row.scores}-{name}"], found["label"])


def _mean(each: np.ndarray, groups: np.ndarray | None) -> tuple[float, float, float, int]:
    """Mean of hits (N,) bool or of numbers (N,), its interval and n."""
    of = metrics.proportion if each.dtype == bool else metrics.mean
    value, low, high, _ = of(each, groups=groups)
    return value, low, high, len(each)


def weaker_at_home(table: pd.DataFrame) -> list[str]:
    """Where adversarials of another model are stronger than a model's own: sentences, or none."""
    said = []
    accuracy = table[table["metric"].isin(SHOWN) & (table["source"] != CLEAN)]
    for (target, epsilon), rows in accuracy.groupby(["target", "epsilon"]):
        own = rows[rows["source"] == target].iloc[0]
        for row in rows.itertuples():
            if row.value < own["value"] - max(0.01, 1 / row.n):
                said.append(
                    f"{target} keeps {own['value']:.3f} under its own attack at ε {epsilon:g}, but "
                    f"{row.value:.3f} under the adversarials of {row.source}: its own attack is "
                    "too weak, its gradients may be masked"
                )
    return said


def draw(table: pd.DataFrame, names: Sequence[str], file: Path) -> None:
    """Write the matrix as a PNG, a panel for each epsilon."""
    accuracy = table[table["metric"].isin(SHOWN)]
    epsilons = sorted(set(accuracy[accuracy["source"] != CLEAN]["epsilon"]))
    side = 1.6 + 0.85 * len(names)
    figure = Figure(figsize=(side * len(epsilons), side + 0.6), layout="constrained")
    for axes, epsilon in zip(
        figure.subplots(1, len(epsilons), squeeze=False)[0], epsilons, strict=True
    ):
        chosen = accuracy[(accuracy["epsilon"] == epsilon) | (accuracy["source"] == CLEAN)]
        grid = chosen.pivot_table(index="source", columns="target", values="value")
        grid = grid.loc[[CLEAN, *names], list(names)]
        axes.imshow(grid, cmap="viridis", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(grid.to_numpy()):
            axes.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                fontsize=9,
                color=INK if value > 0.6 else "white",
            )
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
        axes.set_yticks(range(len(names) + 1), ["no attack", *names])
        axes.set_xlabel("judged")
        axes.set_ylabel("attacked")
        where = f"ε = {number(epsilon)} (255 ε = {number(255 * epsilon)})"
        axes.set_title(f"{accuracy['metric'].iloc[0]}, {where}", fontsize=10)
    with runs.atomic(file) as temporary:
        temporary.write_bytes(png(render(figure)))
