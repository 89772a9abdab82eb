"""Curves of the report: robust accuracy against epsilon, and training."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import NOTHING, Estimate, Result, grouped, number
from attnrobust.report.tables import of_seeds

# Okabe and Ito's palette without its yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# What ε bounds.
NORMS = {
    "linf": "in [0, 1] pixel scale",
    "l2": "L2 norm in [0, 1] pixel scale",
    "l0": "number of changed pixels",
}
INK, GREY, RULE = "#222222", "#777777", "#d9d9d9"

SEEDS = " Several seeds: thin lines are seeds, the thick line is their mean where all have one."

# Colour and marker of every experiment, by dataset and name.
Look = Mapping[tuple[str, str], tuple[str, str]]
# Places on the axis and what was measured there.
Curve = tuple[list[float], list[Estimate]]


def colours(results: Sequence[Result]) -> dict[tuple[str, str], tuple[str, str]]:
    """Colour and marker of every experiment, the same on the whole page."""
    groups = grouped(results, "group")
    return {
        group: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        for i, group in enumerate(groups)
    }


def positions(epsilons: Sequence[float]) -> dict[float, float]:
    """Where epsilons stand on the axis: doublings evenly spaced, 0 a step left of the smallest.

    A logarithm has no place for 0, and a symmetric one would need a linear part chosen by hand.
    """
    above = sorted(epsilon for epsilon in set(epsilons) if epsilon > 0)
    places = {0.0: 0.0}
    return places | {epsilon: 1.0 + math.log2(epsilon / above[0]) for epsilon in above}


def accuracy_curves(results: Sequence[Result], look: Look) -> list[Picture]:
    """Robust accuracy against epsilon, a panel for each dataset, backbone and attack.

    Returns:
        One figure; where there are several attacks, one for each dataset and backbone. None where
        nothing was attacked.
    """
    attacked = [each for each in results if each.epsilons]
    parts = list(grouped(attacked, "architecture").values())
    if all(len(grouped(part, "panel")) == 1 for part in parts):
        return [_curves(attacked, look, "robust-accuracy")] if attacked else []
    return [
        _curves(part, look, "-".join(("robust-accuracy", *part[0].architecture))) for part in parts
    ]


def _curves(results: Sequence[Result], look: Look, name: str) -> Picture:
    panels = grouped(results, "panel")
    across = min(2, len(panels))
    down = math.ceil(len(panels) / across)
    most = max(len(grouped(members, "group")) for members in panels.values())
    size = (10.4, down * (4.9 + 0.2 * most))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for (head, members), ax in zip(panels.items(), axes, strict=False):
        _panel(ax, members, look, narrow=across > 1)
        ax.set_title(", ".join(head), fontsize=11, color=INK, pad=10)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    seeds = any(len(grouped(part, "group")) < len(part) for part in panels.values())
    return Picture(
        name=name,
        pixels=render(figure),
        alt="Line plot of robust accuracy against epsilon. " + _in_words(results),
        caption="Robust accuracy against the perturbation radius ε, in [0, 1] pixel scale below "
        "and in steps of a 0–255 pixel above. The axis is logarithmic, with 0 set apart. Shaded: "
        "95 % interval. Dashed, in the model’s colour: its accuracy without an attack"
        + (", mean of its seeds" if seeds else "")
        + ". Grey, dotted: majority rate."
        + (SEEDS if seeds else ""),
        width=round(size[0] * 100),
    )


def _panel(ax: Axes, members: Sequence[Result], look: Look, *, narrow: bool) -> None:
    places = positions([epsilon for each in members for epsilon in each.epsilons])
    handles, labels = [], []
    for group, seeds in grouped(members, "group").items():
        curves = [_curve(each, places) for each in seeds]
        handles.append(draw(ax, curves, *look[group]))
        clean = float(np.mean([each.clean["accuracy"].value for each in seeds]))
        ax.axhline(clean, color=look[group][0], linestyle=(0, (6, 4)), linewidth=1.1)
        labels.append(f"{group[1]}{of_seeds(seeds)} (clean {clean:.3f})")
    rates = [each.clean["majority_rate"].value for each in members if "majority_rate" in each.clean]
    for rate in sorted(set(rates)):
        line = ax.axhline(rate, color=GREY, linestyle=":", linewidth=1.4)
    if rates:
        handles.append(line)
        labels.append(
            "majority rate " + "–".join(sorted({f"{min(rates):.3f}", f"{max(rates):.3f}"}))
        )
    slanted = epsilon_axis(
        ax, places, "accuracy on the test split", narrow=narrow, norm=members[0].norm
    )
    legend_below(ax, handles, labels, narrow=narrow, slanted=slanted)


def legend_below(
    ax: Axes, handles: Sequence[Line2D], labels: Sequence[str], *, narrow: bool, slanted: bool
) -> None:
    """A legend below the axis of epsilons."""
    # A fixed distance below the axes: a share of their height would hit the labels of low ones.
    below = ScaledTranslation(0, -(74 if slanted else 44) / 72, ax.figure.dpi_scale_trans)
    ax.legend(
        handles,
        [textwrap.fill(label, 48 if narrow else 100) for label in labels],
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=ax.transAxes + below,
        fontsize=9,
        frameon=False,
        ncols=1 if narrow else min(2, len(labels)),
    )


def draw(ax: Axes, curves: Sequence[Curve], colour: str, marker: str) -> Line2D:
    """Draw one run with its interval, or several seeds and their mean; the line for the legend."""
    for x, estimates in curves:
        if len(curves) > 1:
            ax.plot(x, [each.value for each in estimates], color=colour, linewidth=0.8, alpha=0.6)
        else:
            known = [each.has_interval for each in estimates]
            low, high = ([getattr(each, end) for each in estimates] for end in ("low", "high"))
            ax.fill_between(x, low, high, where=known, color=colour, alpha=0.16, linewidth=0)
    x_mean, y_mean = _mean(curves)
    return ax.plot(x_mean, y_mean, color=colour, marker=marker, markersize=5.5, linewidth=2)[0]


def _curve(result: Result, places: Mapping[float, float]) -> Curve:
    """One run's points; where 0 was not attacked, the clean accuracy stands there."""
    points = [(0.0, result.under("accuracy", 0) or result.clean["accuracy"])]
    for epsilon in result.epsilons:
        found = result.under("accuracy", epsilon)
        if found is not None:
            points.append((places[epsilon], found))
    return [x for x, _ in points], [estimate for _, estimate in points]


def _mean(curves: Sequence[Curve]) -> tuple[list[float], list[float]]:
    """Where all curves have a value, their mean: one of fewer would leap from place to place."""
    values: dict[float, list[float]] = {}
    for x, estimates in curves:
        for place, estimate in zip(x, estimates, strict=True):
            values.setdefault(place, []).append(estimate.value)
    rising = sorted(place for place, found in values.items() if len(found) == len(curves))
    return rising, [float(np.mean(values[place])) for place in rising]


def epsilon_axis(
    ax: Axes, places: Mapping[float, float], label: str, *, narrow: bool, norm: str
) -> bool:
    """Ticks, limits and labels; whether the tick labels had to be slanted."""
    last = max(places.values())
    # Ticks nearer than a label is wide would overlap; the points are drawn all the same.
    least = (last + 0.6) / (22 if narrow else 26)
    shown: list[float] = []
    for epsilon in sorted(places):
        if not shown or places[epsilon] - places[shown[-1]] >= least:
            shown.append(epsilon)
    ticks = [places[epsilon] for epsilon in shown]
    slanted = len(shown) > (5 if narrow else 11)
    turned: dict[str, Any] = (
        {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    )
    ax.set_xticks(ticks, [number(epsilon) for epsilon in shown], fontsize=9, **turned)
    ax.set_xlim(-0.3, last + 0.3)
    ax.set_xlabel(f"ε, {NORMS[norm]}", fontsize=10, color=INK)
    if norm != "l0":  # A number of pixels is not on the pixels' scale.
        _scaled(ax, ticks, [number(255 * epsilon, 3) for epsilon in shown], slanted=slanted)
    ax.axvline(0.5, color=RULE, linewidth=0.8, linestyle=(0, (2, 3)))
    ax.set_ylim(-0.02, 1.02)
    ax.set_ylabel(label, fontsize=10, color=INK)
    plain(ax)
    return slanted


def _scaled(ax: Axes, ticks: Sequence[float], labels: Sequence[str], *, slanted: bool) -> None:
    """A second axis above, in steps of a 0–255 image."""
    top = ax.secondary_xaxis("top")
    turned: dict[str, Any] = (
        {"rotation": 40, "ha": "left", "rotation_mode": "anchor"} if slanted else {}
    )
    top.set_xticks(ticks, labels, fontsize=8.5, color=GREY, **turned)
    top.set_xlabel("255 ε", fontsize=9, color=GREY)
    top.tick_params(color=RULE)
    top.spines["top"].set_visible(False)


def plain(ax: Axes) -> None:
    """The page's look: thin horizontal lines, no box."""
    ax.grid(axis="y", color=RULE, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(labelsize=9, colors=INK)


def _in_words(results: Sequence[Result]) -> str:
    parts = []
    for result in results:
        values = [f"{result.clean['accuracy'].value:.3f} without an attack"]
        for epsilon in result.epsilons:
            found = result.under("accuracy", epsilon)
            values.append(f"{found.value:.3f} at {number(epsilon)}" if found else NOTHING)
        parts.append(f"{result.label}: {', '.join(values)}.")
    return " ".join(parts)


def training_curves(result: Result, colour: str, *, name: str) -> Picture | None:
    """Loss and accuracy of one run by epoch, or None where no history was kept."""
    if not result.history:
        return None
    epochs = [int(row["epoch"]) for row in result.history]
    best = result.best_epoch()
    figure = Figure(figsize=(10.4, 3.1), layout=ConstrainedLayoutEngine(w_pad=0.12))
    marker = "o" if len(epochs) < 3 else None  # A line through one point would be invisible.
    for ax, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for prefix, shade, words in (("", GREY, "train"), ("val_", colour, "validation")):
            values = [float(row.get(prefix + metric, math.nan)) for row in result.history]
            ax.plot(epochs, values, color=shade, linewidth=1.7, marker=marker, label=words)
        if best is not None:
            ax.axvline(best, color=INK, linewidth=0.9, linestyle="--", label=f"best epoch, {best}")
        ax.set_xlabel("epoch", fontsize=10, color=INK)
        ax.set_ylabel(metric, fontsize=10, color=INK)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if marker:
            ax.set_xlim(epochs[0] - 0.6, epochs[-1] + 0.6)
        if metric == "accuracy":
            ax.set_ylim(-0.02, 1.02)
        ax.legend(fontsize=9, frameon=False)
        plain(ax)
    end = result.history[-1]
    return Picture(
        name=name,
        pixels=render(figure),
        alt=f"Loss and accuracy of {result.name} by epoch, train and validation. After epoch "
        f"{epochs[-1]}: validation loss {float(end.get('val_loss', math.nan)):.3f}, validation "
        f"accuracy {float(end.get('val_accuracy', math.nan)):.3f}.",
        caption=f"{result.name}: training by epoch. {_dashed(result)}",
        width=1040,
    )


def _dashed(result: Result) -> str:
    """What the dashed line of a training stands for."""
    if result.best_epoch() is None:
        return "No epoch is marked: no validation loss was kept."
    delta = result.run.experiment.training.min_delta
    by = f" by more than {number(delta)}" if delta else ""
    return (
        "Dashed: the epoch whose weights were kept, the last that bettered the lowest "
        f"validation loss{by}."
    )
