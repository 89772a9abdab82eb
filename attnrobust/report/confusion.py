"""Confusion matrices without an attack: each label's row as shares of 1, with counts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from attnrobust import task
from attnrobust.disk import schemas
from attnrobust.report.blocks import Asked, Section
from attnrobust.report.figures import INK
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import Result, grouped, heads, once

WORDS = (
    "What the models take the test images for without an attack. Each row is a label: the shares "
    "of its images that go to each class, which add up to 1, above their number. The diagonal is "
    "the recall of each class."
)
ACROSS = 3


def section(results: Sequence[Result], _: Asked) -> Section | None:
    """A figure for each dataset and task, its experiments side by side; None without predictions.

    Seeds of an experiment are added up.
    """
    shown = [each for each in once(results) if each.run.path("predict", "clean.npz").is_file()]
    if not shown:
        return None
    parts = grouped(shown, "dataset").items()
    return Section(
        "confusion",
        "Confusion matrices",
        (WORDS, *(_figure(name, part) for name, part in parts)),
        files={f"confusion-{name}": _frame(part) for name, part in parts},
    )


def counts(results: Sequence[Result]) -> np.ndarray:
    """Images by label and prediction, (K, K), added up over runs."""
    places = [result.run.path("predict", "clean.npz") for result in results]
    found = [schemas.load_npz(place, schemas.PREDICTED) for place in places]
    size = found[0]["logits"].shape[1]
    for place, each in zip(places, found, strict=True):
        if each["logits"].shape[1] != size:
            raise schemas.damaged(place, f"other classes than in {places[0]}")
    pairs = [size * each["label"] + task.predict(each["logits"]) for each in found]
    return np.bincount(np.concatenate(pairs), minlength=size * size).reshape(size, size)


def _figure(name: str, members: Sequence[Result]) -> Picture:
    panels = [(head, counts(part), part[0]) for head, part in heads(members)]
    down = math.ceil(len(panels) / ACROSS)
    figure = Figure(figsize=(10.4, 3.9 * down), layout=ConstrainedLayoutEngine(h_pad=0.1))
    axes = list(figure.subplots(down, ACROSS, squeeze=False).flat)
    for ax, (head, matrix, result) in zip(axes, panels, strict=False):
        _panel(ax, matrix, [result.class_name(i) for i in range(len(matrix))])
        ax.set_title(head, fontsize=10, color=INK)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    recalls = []
    for head, matrix, result in panels:
        own = enumerate(np.diag(_shares(matrix)))
        said = ", ".join(f"{result.class_name(i)} {share:.2f}" for i, share in own)
        recalls.append(f"{head}: {said}")
    several = any(len(part) > 1 for _, part in heads(members))
    return Picture(
        name=f"confusion-{name}",
        pixels=render(figure),
        drawing=figure,
        alt=f"Confusion matrices, {name}. Right of each label: {'; '.join(recalls)}.",
        caption=f"Confusion matrices without an attack, {name}: rows are labels, columns "
        "predictions; shares of the row, and numbers of test images."
        + (" Seeds are added up." if several else ""),
        width=1040,
    )


def _shares(matrix: np.ndarray) -> np.ndarray:
    """Each row divided by its sum; 0 for a label without images."""
    shares: np.ndarray = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def _panel(ax: Axes, matrix: np.ndarray, names: Sequence[str]) -> None:
    shares, size = _shares(matrix), len(matrix)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        ax.text(
            column,
            row,
            f"{share:.2f}\n{matrix[row, column]:,}",
            ha="center",
            va="center",
            fontsize=8 if size <= 5 else 40 / size,
            color="white" if share > 0.6 else INK,
        )
    ax.set_xticks(range(size), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(range(size), names, fontsize=8)
    ax.set_xlabel("prediction", fontsize=9, color=INK)
    ax.set_ylabel("label", fontsize=9, color=INK)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _frame(members: Sequence[Result]) -> pd.DataFrame:
    """A row for each run, label and prediction."""
    rows = [
        (
            each.group[1],
            each.run.experiment.seed,
            each.class_name(label),
            each.class_name(prediction),
            int(number),
        )
        for each in members
        for (label, prediction), number in np.ndenumerate(counts([each]))
    ]
    return pd.DataFrame(rows, columns=["experiment", "seed", "label", "prediction", "n"])
