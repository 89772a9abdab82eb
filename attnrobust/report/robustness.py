"""Robust accuracy against epsilon: the page's first section, and its first sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from attnrobust.report import wording
from attnrobust.report.blocks import Asked, Section
from attnrobust.report.figures import (
    GREY,
    INK,
    SEEDS,
    Curve,
    Look,
    colours,
    draw,
    epsilon_axis,
    legend_below,
    positions,
)
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import NOTHING, Result, grouped, number, of_seeds

NONE = Markup(
    'No attack has been measured yet. The commands of <a href="#provenance">each run</a> make it.'
)


def section(results: Sequence[Result], _: Asked) -> Section:
    """The curves; what was found, in words, for the first screen."""
    pictures = accuracy_curves(results, colours(results))
    said = tuple(wording.summary(results))
    return Section("curves", "Robust accuracy", tuple(pictures) or (NONE,), summary=said)


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
    drawn = "Dice" if results[0].headline == "dice" else "Robust accuracy"
    rated = any("majority_rate" in each.clean for each in results)
    return Picture(
        name=name,
        pixels=render(figure),
        drawing=figure,
        alt=f"Line plot of {drawn[0].lower() + drawn[1:]} against epsilon. " + _in_words(results),
        caption=f"{drawn} against the perturbation radius ε, in [0, 1] pixel scale below "
        "and in steps of a 0–255 pixel above. The axis is logarithmic, with 0 set apart. Shaded: "
        f"95 % interval{wording.made_by(results)}. Dashed, in the model’s colour: without an "
        "attack"
        + (", mean of its seeds" if seeds else "")
        + (". Grey, dotted: majority rate." if rated else ".")
        + (SEEDS if seeds else ""),
        width=round(size[0] * 100),
    )


def _panel(ax: Axes, members: Sequence[Result], look: Look, *, narrow: bool) -> None:
    places = positions([epsilon for each in members for epsilon in each.epsilons])
    handles, labels = [], []
    for group, seeds in grouped(members, "group").items():
        curves = [_curve(each, places) for each in seeds]
        handles.append(draw(ax, curves, *look[group]))
        clean = float(np.mean([each.clean[each.headline].value for each in seeds]))
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
    said = "Dice" if members[0].headline == "dice" else "accuracy"
    slanted = epsilon_axis(
        ax, places, f"{said} on the test split", narrow=narrow, norm=members[0].norm
    )
    legend_below(ax, handles, labels, narrow=narrow, slanted=slanted)


def _curve(result: Result, places: Mapping[float, float]) -> Curve:
    """One run's points; where 0 was not attacked, the clean accuracy stands there."""
    points = [(0.0, result.under(result.headline, 0) or result.clean[result.headline])]
    for epsilon in result.epsilons:
        found = result.under(result.headline, epsilon)
        if found is not None:
            points.append((places[epsilon], found))
    return [x for x, _ in points], [estimate for _, estimate in points]


def _in_words(results: Sequence[Result]) -> str:
    parts = []
    for result in results:
        values = [f"{result.clean[result.headline].value:.3f} without an attack"]
        for epsilon in result.epsilons:
            found = result.under(result.headline, epsilon)
            values.append(f"{found.value:.3f} at {number(epsilon)}" if found else NOTHING)
        parts.append(f"{result.label}: {', '.join(values)}.")
    return " ".join(parts)
