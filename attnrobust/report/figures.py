"""What the curves of the report share: colours, the axis of epsilons, intervals, legends."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from attnrobust.report.results import Estimate, Result, grouped, number

# Okabe and Ito's palette without its yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# What ε bounds.
NORMS = {
    "linf": "in [0, 1] pixel scale",
    "l2": "L2 norm in [0, 1] pixel scale",
    "l0": "number of changed pixels",
}
# Of class maps: their classes, from the first to the last, span it.
MAPS = "nipy_spectral"
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


def name_classes(figure: Figure, names: Sequence[str]) -> None:
    """A legend of class maps at the foot of a figure, whose layout makes room for it or has it."""
    shades = colormaps[MAPS](np.linspace(0, 1, len(names)))
    figure.legend(
        handles=[
            Patch(facecolor=shade, edgecolor=GREY, label=name)
            for shade, name in zip(shades, names, strict=True)
        ],
        loc="outside lower center" if figure.get_layout_engine() else "lower center",
        ncols=6,
        fontsize=9,
        frameon=False,
    )


def positions(epsilons: Sequence[float]) -> dict[float, float]:
    """Where epsilons stand on the axis: doublings evenly spaced, 0 a step left of the smallest.

    A logarithm has no place for 0, and a symmetric one would need a linear part chosen by hand.
    """
    above = sorted(epsilon for epsilon in set(epsilons) if epsilon > 0)
    places = {0.0: 0.0}
    return places | {epsilon: 1.0 + math.log2(epsilon / above[0]) for epsilon in above}


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
