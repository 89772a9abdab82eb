"""Accuracy and robust accuracy against the number of fine-tuned layer groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from attnrobust import task
from attnrobust.config import Attack
from attnrobust.disk import runs, schemas
from attnrobust.measures import metrics
from attnrobust.report import papers
from attnrobust.report.figures import plain
from attnrobust.report.pictures import png, render
from attnrobust.report.results import number

COLUMNS = ("groups", "epsilon", "accuracy", "low", "high", "n")


def measure(roots: Mapping[int | None, Path], attack: Attack, label: str) -> pd.DataFrame:
    """A row for each run, by its number of groups (None: standard), and epsilon, 0: no attack."""
    rows = []
    for groups, root in roots.items():
        clean = np.array(True)
        for epsilon in (0.0, *attack.epsilons):
            place = root / "attack" / label / runs.attack_file(attack.name, epsilon)
            found = schemas.load_npz(place, schemas.SEEN)
            if epsilon and len(found["label"]) != len(clean):
                raise schemas.damaged(place, "other images than without the attack")
            # Robust is what is right without the attack, too.
            right = clean & task.right_in(found)
            clean = right if not epsilon else clean
            value, low, high, _ = metrics.proportion(right, groups=found.get("group"))
            rows.append([groups, epsilon, value, low, high, len(right)])
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"groups": "Int64"})


def draw(table: pd.DataFrame, file: Path, *, norm: str) -> None:
    """Write the figure as a PNG: a line for each epsilon, with its 95 % interval.

    The standard model's accuracies are dashed, across the whole figure.
    """
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    ax = figure.subplots()
    tuned, standard = table[table["groups"].notna()], table[table["groups"].isna()]
    for epsilon, rows in tuned.groupby("epsilon"):
        name = f"ε = {number(epsilon)}" if epsilon else "without an attack"
        if epsilon and norm == "linf":
            name += f" ({255 * epsilon:.3g}/255)"
        (line,) = ax.plot(rows["groups"], rows["accuracy"], marker="o", markersize=5, label=name)
        ax.fill_between(
            rows["groups"],
            rows["low"],
            rows["high"],
            color=line.get_color(),
            alpha=0.14,
            linewidth=0,
        )
        for level in standard.loc[standard["epsilon"] == epsilon, "accuracy"]:
            ax.axhline(level, color=line.get_color(), linestyle="--", linewidth=1.2)
    if len(standard):
        ax.plot([], [], color="grey", linestyle="--", label="the standard model")
    ax.set_xticks(sorted(set(tuned["groups"])))
    ax.set_xlabel("layer groups fine-tuned, from the head back")
    ax.set_ylabel("accuracy on the test split")
    ax.set_ylim(-0.02, 1.02)
    ax.set_title(papers.claims("unfreezing"), fontsize=9, loc="left")
    plain(ax)
    ax.legend(fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    with runs.atomic(file) as temporary:
        temporary.write_bytes(png(render(figure)))
