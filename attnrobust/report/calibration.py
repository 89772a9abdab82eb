"""How far the probabilities of every run can be believed, as trained and with a temperature."""

from __future__ import annotations

import itertools
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
from attnrobust.report.blocks import Asked, Section, Table
from attnrobust.report.commands import again
from attnrobust.report.figures import GREY, INK, RULE, Look, colours, plain
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import (
    Result,
    by_dataset,
    combine,
    grouped,
    heads,
    number,
    once,
)

PANELS = 6
WORDS = (
    "A model is calibrated if 80 % of the images that it is 80 % sure of are right. Temperature "
    "scaling (Guo et al. 2017) divides the logits by one number T, fitted on the validation split "
    "by its likelihood; no prediction changes. T above 1 says that the model was too sure.",
)
NOTE = (
    "ECE: expected calibration error of the predicted class in 15 bins of equal width; adaptive: "
    "of equally many images. Both are too large for few images, so they have no interval. RMSCE: "
    "root mean square calibration error over all classes, debiased (Kumar et al. 2019). NLL: "
    "negative log-likelihood. Smaller is better. Entropy, in nats as NLL, only says how spread out "
    "the probabilities are."
)


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


def section(results: Sequence[Result], _: Asked) -> Section | None:
    """Reliability diagrams and a table, or None where nothing of it was measured."""
    members = [each for each in once(results) if "ece" in each.clean]
    if not members:
        return None
    diagrams = [found for each in members if (found := read(each))]
    frames = [_bins(each) for each in diagrams]
    pictures = [draw(diagrams, colours(results))] if diagrams else []
    tables = (table(part) for part in by_dataset(members).values())
    return Section(
        "calibration",
        "Calibration",
        (*WORDS, *_left_out(members), *pictures, *tables),
        {"calibration-bins": pd.concat(frames)} if frames else {},
    )


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


def _left_out(members: Sequence[Result]) -> list[str]:
    """What must be said of runs without a temperature, or with one that means nothing."""
    said = []
    without = [each for each in members if "temperature" not in each.clean]
    if without:
        made = [
            again(each.run, "predict evaluate", place="predict", more="--force") for each in without
        ]
        said.append(
            f"No temperature is known for {_names(without)}: predict did not keep the validation "
            f"split’s logits when they were made. This makes them: {' && '.join(made)}"
        )
    fitted = [each for each in members if "temperature" in each.clean]
    ends = [each for each in fitted if measures.is_at_end(each.clean["temperature"].value)]
    if ends:
        said.append(
            f"No temperature is best for {_names(ends)}: the validation split is all right, or no "
            "better than chance. T stands at an end of the range searched, from "
            f"{' to '.join(f'{end:g}' for end in measures.TEMPERATURES)}; do not use it."
        )
    return said


def _names(members: Sequence[Result]) -> str:
    return ", ".join(each.name for each in members)


def table(members: Sequence[Result]) -> Table:
    """A row a metric and two columns an experiment, as trained and scaled, of one dataset."""
    dataset, columns = members[0].dataset, heads(members)
    temperatures = [
        combine([each.clean.get("temperature") for each in seeds]) for _, seeds in columns
    ]
    rows = [("Temperature T", *(cell for found in temperatures for cell in ("1.000", found)))]
    shown = {"accuracy": metrics.METRICS["accuracy"], **measures.CALIBRATION}
    for metric, head in ((name, row.title) for name, row in shown.items() if row.title):
        both = ((_as_trained(seeds, metric), _scaled(seeds, metric)) for _, seeds in columns)
        rows.append((head, *itertools.chain.from_iterable(both)))
    frame = pd.concat([each.frame for each in members])
    every = {f"{name}{end}" for name in measures.CALIBRATION for end in ("", "_scaled")}
    wanted = frame["metric"].isin({*every, "accuracy", "temperature"})
    counts = sorted(
        {each.clean["temperature"].n for each in members if "temperature" in each.clean}
    )
    images = f" T was fitted on {' or '.join(f'{n:,}' for n in counts)} images." if counts else ""
    return Table(
        name=f"calibration-{dataset}",
        caption=f"Calibration without an attack, as trained and with the temperature: {dataset}.",
        columns=("", *("as trained", "scaled") * len(columns)),
        rows=tuple(rows),
        frame=frame[wanted & (frame["condition"] == "clean")].astype(
            {"seed": "Int64", "n": "Int64"}
        ),
        groups=(("", 1), *((head, 2) for head, _ in columns)),
        note=NOTE + images,
    )


def _as_trained(seeds: Sequence[Result], metric: str) -> str:
    return combine([each.clean.get(metric) for each in seeds])


def _scaled(seeds: Sequence[Result], metric: str) -> str:
    """With the temperature; the largest logit stays the largest, so accuracy does not change."""
    name = metric if metric == "accuracy" else f"{metric}_scaled"
    return combine([each.clean.get(name) for each in seeds if "temperature" in each.clean])


def _bins(diagram: Diagram) -> pd.DataFrame:
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
