"""Accuracy under corruptions: by severity, as a mean, and as error relative to a baseline."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from attnrobust.corruptions import CORRUPTIONS
from attnrobust.errors import UserError
from attnrobust.measures.corruption_error import corruption_errors
from attnrobust.report import wording
from attnrobust.report.blocks import Asked, Section, Table
from attnrobust.report.commands import again
from attnrobust.report.figures import (
    GREY,
    INK,
    RULE,
    SEEDS,
    Curve,
    Look,
    colours,
    draw,
    plain,
)
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import (
    NOTHING,
    Estimate,
    Result,
    by_dataset,
    combine,
    grouped,
    heads,
    levels,
    mean_accuracy,
    number,
    once,
)

WORDS = (
    "Accuracy on the test images as worse equipment, storage or handling would give them. What "
    "happens to an image is the same for every model."
)
FORMULA = (
    "Mean corruption error (Hendrycks and Dietterich 2019): for each corruption a model’s error, "
    "summed over the severities, divided by the baseline’s; then the mean of these ratios. Below 1 "
    "is better than the baseline. It counts all errors, not those that the corruption adds: read "
    "it beside the accuracy without one."
)
# Of each corruption the severities, as text.
Severities = dict[str, list[str]]


def section(results: Sequence[Result], asked: Asked) -> Section | None:
    """Figures and tables, one of each for every dataset, or None where nothing was corrupted.

    Args:
        results: Of all runs.
        asked: Its baseline is what errors are relative to; the first of each dataset if None.

    Raises:
        UserError: That experiment is not there, or has no corruptions.
    """
    baseline = asked.baseline
    corrupted = [each for each in once(results) if each.corrupted]
    known = list(dict.fromkeys(each.group[1] for each in corrupted))
    if baseline is not None and baseline not in known:
        raise UserError(
            f"--baseline {baseline}: expected a run of this page that has corruptions: "
            f"{', '.join(known) or 'there is none'}"
        )
    if not corrupted:
        return None
    parts = by_dataset(corrupted)
    words = [WORDS]
    if without := [each for each in once(results) if not each.corrupted]:
        chosen = f"--force --set corruptions.names={','.join(corrupted[0].corrupted)}"
        made = [
            again(each.run, "predict evaluate", place="predict", more=chosen) for each in without
        ]
        words.append(
            f"Without corruptions: {', '.join(each.name for each in without)}. This "
            f"measures them: {' && '.join(made)}"
        )
    if any(len(grouped(members, "group")) > 1 for members in parts.values()):
        words.append(FORMULA)
    return Section(
        "corruptions",
        "Corruptions",
        (
            *words,
            *(_figure(members, colours(results)) for members in parts.values()),
            *(_table(members, baseline) for members in parts.values()),
        ),
        {
            f"corruptions-{name}-severities": _rows(members, "accuracy")
            for name, members in parts.items()
        },
    )


def shared(members: Sequence[Result]) -> Severities:
    """Every corruption of any run, with the severities that all runs that have it share."""
    names = dict.fromkeys(itertools.chain.from_iterable(each.corrupted for each in members))
    return {
        name: sorted(
            set.intersection(
                *(levels(each.corrupted[name]) for each in members if name in each.corrupted)
            ),
            key=float,
        )
        for name in names
    }


def relative(
    members: Sequence[Result], baseline: Sequence[Result], severities: Severities
) -> dict[str, dict[str, float]]:
    """Of each run, by name, its error under each corruption over the baseline's.

    Args:
        members: The runs.
        baseline: Those of the baseline; their mean error counts.
        severities: What is compared; all runs have it.

    Raises:
        UserError: No corruption, or the baseline makes no error under one.
    """
    if not severities:
        raise UserError("there is no corruption that all runs have")
    errors = {
        each.name: {
            name: [1 - each.corrupted[name]["accuracy", level].value for level in severity]
            for name, severity in severities.items()
        }
        for each in members
    }
    mean = {
        name: list(np.mean([errors[each.name][name] for each in baseline], axis=0))
        for name in severities
    }
    return {name: corruption_errors(own, mean) for name, own in errors.items()}


def _table(members: Sequence[Result], baseline: str | None) -> Table:
    dataset, severities = members[0].dataset, shared(members)
    columns = heads(members)
    rows = [
        (
            "none",
            NOTHING,
            *(combine([each.clean["accuracy"] for each in seeds]) for _, seeds in columns),
        )
    ]
    for name, severity in severities.items():
        cells = [
            combine([mean_accuracy(each.corrupted.get(name, {}), severity) for each in seeds])
            for _, seeds in columns
        ]
        rows.append((name, _severities(severity), *cells))
    frame, note = _rows(members, "mean_accuracy"), ""
    if len(columns) > 1:
        row, errors, note = _against(members, severities, baseline)
        rows.append(row)
        frame = pd.concat([frame, errors])
    return Table(
        name=f"corruptions-{dataset}",
        caption=f"Accuracy under each corruption, mean over the severities: {dataset}.",
        columns=("Corruption", "Severities", *(head for head, _ in columns)),
        rows=tuple(rows),
        frame=frame,
        note=f"{note}In brackets: 95 % interval{wording.made_by(members, 'mean_accuracy')}. The "
        f"same by severity: tables/corruptions-{dataset}-severities.csv.",
    )


def _severities(severity: Sequence[str]) -> str:
    if len(severity) > 2 and float(severity[-1]) - float(severity[0]) == len(severity) - 1:
        return f"{severity[0]}–{severity[-1]}"
    return ", ".join(severity) or NOTHING


def _against(
    members: Sequence[Result], severities: Severities, baseline: str | None
) -> tuple[tuple[str, ...], pd.DataFrame, str]:
    """The row of mean corruption errors, every ratio as rows of a file, and what must be said."""
    groups = {group[1]: seeds for group, seeds in grouped(members, "group").items()}
    chosen = baseline if baseline in groups else next(iter(groups))
    used = {
        name: severity
        for name, severity in severities.items()
        if severity and all(name in each.corrupted for each in members)
    }
    head = "mean corruption error"
    try:
        errors = relative(members, groups[chosen], used)
    except UserError as error:
        return (
            (head, *(NOTHING,) * (len(groups) + 1)),
            pd.DataFrame(),
            f"No mean corruption error: {error}. ",
        )
    means = {name: Estimate(float(np.mean(list(each.values())))) for name, each in errors.items()}
    cells = [combine([means[each.name] for each in seeds]) for seeds in groups.values()]
    rows = [
        {
            "dataset": each.group[0],
            "experiment": each.group[1],
            "seed": each.run.experiment.seed,
            "condition": "corruption",
            "name": name,
            "metric": f"error_relative_to_{chosen}",
            "value": value,
        }
        for each in members
        for name, value in (*errors[each.name].items(), ("mean", means[each.name].value))
    ]
    note = f"The baseline of the mean corruption error is {chosen}. "
    if out := [name for name in severities if name not in used]:
        note += f"It leaves out what not all runs have: {', '.join(out)}. "
    return (head, NOTHING, *cells), pd.DataFrame(rows), note


def _rows(members: Sequence[Result], metric: str) -> pd.DataFrame:
    """Rows of the runs' own tables, with what a severity stands for."""
    frame = pd.concat([each.frame for each in members])
    frame = frame[(frame["condition"] == "corruption") & (frame["metric"] == metric)]
    frame = frame.astype({"seed": "Int64", "n": "Int64", "level": "Int64"})
    return frame.rename(columns={"level": "severity"})


def _figure(members: Sequence[Result], look: Look) -> Picture:
    names = list(shared(members))
    across = min(3, len(names))
    down = math.ceil(len(names) / across)
    size = (10.4 if across > 1 else 6.4, 3.3 * down + 0.6)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    axes = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    handles: dict[str, Line2D] = {}
    for place, (name, ax) in enumerate(zip(names, axes, strict=False)):
        handles |= _panel(ax, members, name, look)
        if place % across == 0:
            ax.set_ylabel("accuracy on the test split", fontsize=10, color=INK)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    figure.legend(
        handles.values(),
        handles,
        loc="outside lower center",
        fontsize=9,
        frameon=False,
        ncols=min(3, len(handles)),
    )
    seeds = any(len(part) > 1 for part in grouped(members, "group").values())
    dataset = members[0].dataset
    return Picture(
        name=f"corruptions-{dataset}",
        pixels=render(figure),
        drawing=figure,
        alt="Line plots of accuracy against severity. " + _in_words(members),
        caption=f"Accuracy against the severity of each corruption, {dataset}; at 0 without it. "
        f"Shaded: 95 % interval{wording.made_by(members)}. Grey, dotted: majority rate."
        + (SEEDS if seeds else ""),
        width=round(size[0] * 100),
    )


def _panel(ax: Axes, members: Sequence[Result], name: str, look: Look) -> dict[str, Line2D]:
    """Draw one corruption; the lines by the words of the legend."""
    having = [each for each in members if name in each.corrupted]
    handles = {}
    for head, seeds in heads(having):
        curves = [_curve(each, name) for each in seeds]
        handles[head] = draw(ax, curves, *look[seeds[0].group])
    rates = {each.clean["majority_rate"].value for each in having if "majority_rate" in each.clean}
    for rate in sorted(rates):
        ax.axhline(rate, color=GREY, linestyle=":", linewidth=1.4)
    ax.axvline(0.5, color=RULE, linewidth=0.8, linestyle=(0, (2, 3)))
    last = max(float(level) for each in having for level in levels(each.corrupted[name]))
    ax.set_xticks(range(int(last) + 1))
    ax.set_xlim(-0.3, last + 0.3)
    ax.set_ylim(-0.02, 1.02)
    ax.set_title(name, fontsize=10, color=INK)
    ax.set_xlabel(f"severity{_meaning(name)}", fontsize=9, color=INK)
    plain(ax)
    return handles


def _meaning(name: str) -> str:
    """What the severities of a corruption stand for; empty for one that is no more."""
    row = CORRUPTIONS.get(name)
    if row is None:
        return ""
    return f" ({row.unit}, {number(row.levels[0], 3)} to {number(row.levels[-1], 3)})"


def _curve(result: Result, name: str) -> Curve:
    found = result.corrupted[name]
    measured = sorted(levels(found), key=float)
    places = [0.0, *map(float, measured)]
    return places, [result.clean["accuracy"], *(found["accuracy", level] for level in measured)]


def _in_words(members: Sequence[Result]) -> str:
    parts = []
    for each in members:
        said = [f"{each.clean['accuracy'].value:.3f} without a corruption"]
        for name, found in each.corrupted.items():
            mean = mean_accuracy(found, sorted(levels(found)))
            said.append(f"{mean.value:.3f} under {name}" if mean else NOTHING)
        parts.append(f"{each.name}: {', '.join(said)}, mean over severities.")
    return " ".join(parts)
