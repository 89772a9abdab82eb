"""Accuracy against the severity of each corruption, a panel each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from attnrobust.corruptions import CORRUPTIONS
from attnrobust.report import wording
from attnrobust.report.figures import GREY, INK, RULE, SEEDS, Curve, Look, draw, plain
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import (
    NOTHING,
    Result,
    grouped,
    heads,
    levels,
    mean_accuracy,
    number,
)


def figure(members: Sequence[Result], names: Sequence[str], look: Look) -> Picture:
    """Lines of the runs of one dataset, a panel for each of these corruptions."""
    across = min(3, len(names))
    down = math.ceil(len(names) / across)
    size = (10.4 if across > 1 else 6.4, 3.3 * down + 0.6)
    drawing = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    axes = list(drawing.subplots(down, across, squeeze=False, sharey=True).flat)
    handles: dict[str, Line2D] = {}
    for place, (name, ax) in enumerate(zip(names, axes, strict=False)):
        handles |= _panel(ax, members, name, look)
        if place % across == 0:
            ax.set_ylabel("accuracy on the test split", fontsize=10, color=INK)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    drawing.legend(
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
        pixels=render(drawing),
        drawing=drawing,
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
