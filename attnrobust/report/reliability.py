"""Reliability diagrams: accuracy against confidence, as trained and with a temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from attnrobust import task
from attnrobust.disk import schemas
from attnrobust.measures import calibration as measures
from attnrobust.measures import metrics
from attnrobust.report import wording
from attnrobust.report.figures import GREY, INK, RULE, Look, plain
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import Result, grouped, number

PANELS = 6


@dataclass(frozen=True)
class Diagram:
    """The bins of one run's clean test images.

    Attributes:
        result: The run.
        before: As `bins` gives them.
        after: The same with the temperature, or None where there is none.
    """

    result: Result
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray] | None


def read(result: Result) -> Diagram | None:
    """The diagram of a run, or None where its predictions are gone.

    Raises:
        UserError: A damaged file.
    """
    path = result.run.path("predict", "clean.npz")
    if not path.is_file():
        return None
    found = schemas.load_npz(path, schemas.PREDICTED)
    labels, logits = found["label"], found["logits"].astype(np.float64)
    fitted = result.clean.get("temperature")
    before, *after = (
        bins(labels, metrics.probabilities(logits / by), found.get("group"))
        for by in (1.0, *([fitted.value] if fitted else []))
    )
    return Diagram(result, before, after[0] if after else None)


def bins(
    labels: np.ndarray, probability: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """`measures.calibration.reliability` with `low` and `high` ends of the accuracy, (15,)."""
    found = measures.reliability(labels, probability)
    right = task.right(probability, labels)
    # A softmax may end a rounding error above 1, which would be outside the last bin.
    place = np.searchsorted(measures.ENDS, np.minimum(probability.max(axis=1), 1.0))
    each = [
        metrics.proportion(right[mine], groups=None if groups is None else groups[mine])
        for mine in (place == number for number in range(measures.BINS))
    ]
    return {
        **found,
        "low": np.array([one.low for one in each]),
        "high": np.array([one.high for one in each]),
    }


def table(diagram: Diagram) -> pd.DataFrame:
    """The diagram as rows, a bin each."""
    rows = []
    experiment = diagram.result.run.experiment
    for scaled, found in (("no", diagram.before), ("yes", diagram.after)):
        if found is None:
            continue
        for index, count in enumerate(found["count"]):
            values = {name: values[index] for name, values in found.items()}
            rows.append(
                {
                    "dataset": experiment.data.dataset,
                    "experiment": experiment.name,
                    "seed": experiment.seed,
                    "scaled": scaled,
                    **values,
                    "count": int(count),
                }
            )
    return pd.DataFrame(rows)


def draw(diagrams: Sequence[Diagram], look: Look) -> Picture:
    """A panel for each run, at most PANELS: the first seed of every experiment before others."""
    groups = grouped([each.result for each in diagrams], "group").values()
    turns = {seed.name: turn for seeds in groups for turn, seed in enumerate(seeds)}
    ranked = sorted(diagrams, key=lambda each: turns[each.result.name])
    chosen = {each.result.name for each in ranked[:PANELS]}
    shown = [each for each in diagrams if each.result.name in chosen]
    across = 2 if len(shown) in (2, 4) else min(3, len(shown))
    down = math.ceil(len(shown) / across)
    size = (10.4 if across == 3 else 4.4 * across, 5.3 * down)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06))
    axes = figure.subplots(2 * down, across, squeeze=False, height_ratios=[3.2, 1] * down)
    for place in range(down * across):
        pair = axes[2 * (place // across) : 2 * (place // across) + 2, place % across]
        if place < len(shown):
            _panel(pair[0], pair[1], shown[place], look, first=place % across == 0)
        else:
            for ax in pair:
                ax.set_axis_off()
    rest = [each.result.name for each in diagrams if each.result.name not in chosen]
    left_out = f" Not drawn: {', '.join(rest)}." if rest else ""
    return Picture(
        name="calibration",
        pixels=render(figure),
        drawing=figure,
        alt="Reliability diagrams: accuracy against confidence. " + _in_words(shown),
        caption="Accuracy of the test images in 15 bins of confidence, with 95 % intervals"
        f"{wording.made_by([each.result for each in shown])}. On the dotted line a model is "
        "calibrated, below it too sure. Bars: how many images a bin holds; bins of few say little."
        + left_out,
        width=round(size[0] * 100),
    )


def _panel(ax: Axes, below: Axes, diagram: Diagram, look: Look, *, first: bool) -> None:
    colour, marker = look[diagram.result.group]
    clean = diagram.result.clean
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.4)
    parts = [(diagram.before, GREY if diagram.after else colour, "as trained", "ece")]
    if diagram.after:
        fitted = f"T = {number(clean['temperature'].value, 3)}"
        parts.append((diagram.after, colour, fitted, "ece_scaled"))
    width = 1 / len(diagram.before["count"]) / len(parts)
    for turn, (found, shade, words, metric) in enumerate(parts):
        full = np.flatnonzero(found["count"])
        x, y = found["confidence"][full], found["accuracy"][full]
        low, high = found["low"][full], found["high"][full]
        label = f"{words}: ECE {clean[metric].value:.3f}" if metric in clean else words
        ax.errorbar(
            x,
            y,
            np.stack((y - low, high - y)),
            color=shade,
            marker=marker,
            markersize=4.5,
            linewidth=1.5,
            elinewidth=0.8,
            capsize=2,
            label=label,
        )
        left = found["lower"] + turn * width
        below.bar(left, found["count"], width, align="edge", color=shade)
    ax.set_title(diagram.result.name, fontsize=10, color=INK, pad=33)
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.98),
        fontsize=8.5,
        frameon=False,
        borderpad=0,
        labelspacing=0.2,
    )
    ax.set_ylim(-0.02, 1.02)
    for each in (ax, below):
        each.set_xlim(0, 1.02)
        plain(each)
    ax.tick_params(labelbottom=False)
    below.set_xlabel("confidence", fontsize=10, color=INK)
    below.grid(axis="y", color=RULE, linewidth=0.6)
    if first:
        ax.set_ylabel("accuracy", fontsize=10, color=INK)
        below.set_ylabel("images", fontsize=10, color=INK)


def _in_words(diagrams: Sequence[Diagram]) -> str:
    parts = []
    for each in diagrams:
        clean = each.result.clean
        said = f"{each.result.name}: expected calibration error {clean['ece'].value:.3f}"
        if "ece_scaled" in clean:
            said += f", {clean['ece_scaled'].value:.3f} with the temperature"
        parts.append(said + ".")
    return " ".join(parts)
