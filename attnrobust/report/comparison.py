"""Heatmaps in numbers: `comparison.csv` of the runs to tables and one figure for each method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from attnrobust.measures.heatmaps import HEATMAP_METRICS
from attnrobust.report import figures, map_tables
from attnrobust.report.blocks import Asked, Section, Table
from attnrobust.report.compared import Compared, read
from attnrobust.report.figures import GREY, INK, Look
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import (
    NOTHING,
    Estimate,
    Result,
    combine,
    grouped,
    heads,
    key,
    number,
)

WORDS = Markup(
    "How much an attack changes where a model looks, over the sample images. <b>Correlation</b> "
    "is Pearson’s, pixel by pixel, between the heatmaps without and under the attack: 1 is the "
    "same map, −1 its inverse. <b>Top-20 % overlap</b> is the share of the strongest fifth of the "
    "pixels that both maps have in common: 0.2 is chance. n counts images; “of” says that the "
    "others were left out, since a map of zeros has no correlation."
)
MASKED = Markup(
    "Shares inside the region: how much of the perturbation’s energy (sum of squares) lies inside "
    "the mask. <b>Energy over area</b> is 1 where the perturbation is spread "
    "evenly, larger where it is drawn to the region, smaller where it keeps out of it."
)


def section(results: Sequence[Result], _: Asked) -> Section | None:
    """Figures and tables of all runs whose heatmaps were compared or measured; None: none were."""
    held, measured = read(results), map_tables.tables(results)
    if not held and not measured:
        return None
    words = [WORDS] * bool(held) + [MASKED] * any(each.masked for each in held)
    pictures = curves(held, figures.colours(results)) if held else []
    each = [map_tables.WORDS] * bool(measured)
    return Section(
        "changes",
        "Heatmaps in numbers",
        (*words, *pictures, *tables(held), *each, *measured),
    )


def tables(held: Sequence[Compared]) -> list[Table]:
    """A table a model, one of its region where masks are known, and one by outcome a panel."""
    by_key = {each.result.key: each for each in held}
    results = [each.result for each in held]
    made: list[Table] = []
    for members in grouped(results, "panel").values():
        compared = [by_key[result.key] for result in members]
        for method in dict.fromkeys(method for each in compared for method in each.methods):
            for head, seeds in heads(members):
                mine = [by_key[result.key] for result in seeds]
                made += _of_model(mine, head, method)
            made.append(_by_outcome(compared, method))
    return made


def _of_model(seeds: Sequence[Compared], head: str, method: str) -> Iterator[Table]:
    first = seeds[0].result
    # The attack is named where another of the run's could be meant.
    several = first.label != first.name
    where = (*first.group, first.named) if several else first.group
    for name, what, columns in (
        ("heatmaps", "heatmaps without and under the attack", _titles()),
        ("region", "shares inside the region of the mask", _titles(masked=True)),
    ):
        frame = _rows(seeds, method, tuple(columns))
        if not len(frame):
            continue
        rows = []
        for epsilon in _epsilons(seeds):
            cells = [
                combine([each.at(method, "all", metric, epsilon) for each in seeds])
                for metric in columns
            ]
            counts = _count(seeds, method, next(iter(columns)), epsilon)
            rows.append((number(epsilon), number(255 * epsilon), *cells, counts))
        yield Table(
            name="-".join((name, *where, method)),
            caption=f"{', '.join((head, *where[2:], method))}: {what}.",
            columns=("ε", "255\u00a0ε", *columns.values(), "n"),
            rows=tuple(rows),
            frame=frame,
        )


def _titles(*, masked: bool = False) -> dict[str, str]:
    """Column heads by metric."""
    return {name: row.title for name, row in HEATMAP_METRICS.items() if row.masked == masked}


def _by_outcome(compared: Sequence[Compared], method: str) -> Table:
    """Correlation of the maps where the attack succeeded and where it failed."""
    by_key = {each.result.key: each for each in compared}
    models = heads([each.result for each in compared])
    rows = []
    for epsilon in _epsilons(compared):
        cells = []
        for _, members in models:
            seeds = [by_key[result.key] for result in members]
            for subset in ("fooled", "standing"):
                found = [each.at(method, subset, "correlation", epsilon) for each in seeds]
                counts = sorted({each.n for each in found if each})
                n = (
                    f", n\u00a0{'–'.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}"
                    if (counts)
                    else ""
                )
                cells.append(combine(found) + n)
        rows.append((number(epsilon), number(255 * epsilon), *cells))
    panel = compared[0].result.panel
    return Table(
        name="-".join(("outcome", *panel, method)),
        caption=f"Correlation of the heatmaps by outcome, {method}: {', '.join(panel)}.",
        columns=("ε", "255\u00a0ε", *("succeeded", "failed") * len(models)),
        rows=tuple(rows),
        frame=_rows(compared, method, ("correlation",), ("fooled", "standing")),
        groups=(("", 2), *((head, 2) for head, _ in models)),
        note="Succeeded: right without the attack and wrong with it. Failed: right in both. Where "
        "the maps explain the predicted class, a successful attack also changes which class that "
        "is. An interval over a handful of images is too narrow.",
    )


def _epsilons(compared: Sequence[Compared]) -> list[float]:
    levels = {key(epsilon): epsilon for each in compared for epsilon in each.epsilons}
    return sorted(levels.values())


def _rows(
    compared: Sequence[Compared],
    method: str,
    metrics: Sequence[str],
    subsets: Sequence[str] = ("all",),
) -> pd.DataFrame:
    frame = pd.concat([each.frame for each in compared])
    chosen = (frame["method"] == method) & frame["metric"].isin(metrics)
    return frame[chosen & frame["subset"].isin(subsets)].astype(
        {"seed": "Int64", "n": "Int64", "left_out": "Int64"}
    )


def _count(seeds: Sequence[Compared], method: str, metric: str, epsilon: float) -> str:
    """Images behind a row: 16, or 14 of 16 where two were left out."""
    place = (method, "all", metric, key(epsilon))
    texts = []
    for each in seeds:
        if place in each.estimates:
            n, out = each.estimates[place].n, each.left_out[place]
            texts.append(f"{n} of {n + out}" if out else str(n))
    return ", ".join(dict.fromkeys(texts)) or NOTHING


def curves(held: Sequence[Compared], look: Look) -> list[Picture]:
    """Correlation and overlap against epsilon, a figure for each method, a row for each panel."""
    methods = dict.fromkeys(method for each in held for method in each.methods)
    return [_figure(held, method, look) for method in methods]


def _figure(held: Sequence[Compared], method: str, look: Look) -> Picture:
    by_key = {each.result.key: each for each in held if method in each.methods}
    panels = grouped([each.result for each in by_key.values()], "panel")
    most = max(len(grouped(members, "group")) for members in panels.values())
    alike = {name: row for name, row in HEATMAP_METRICS.items() if row.chance is not None}
    size = (5.2 * len(alike), len(panels) * (4.0 + 0.2 * most))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    axes = figure.subplots(len(panels), len(alike), squeeze=False)
    for line, members in zip(axes, panels.values(), strict=True):
        compared = [by_key[result.key] for result in members]
        places = figures.positions(_epsilons(compared))
        for ax, metric in zip(line, alike, strict=True):
            handles, labels = [], []
            for head, seeds in heads(members):
                points = [_curve(by_key[each.key], method, metric, places) for each in seeds]
                handles.append(figures.draw(ax, points, *look[seeds[0].group]))
                labels.append(head)
            slanted = figures.epsilon_axis(
                ax, places, alike[metric].title.lower(), narrow=True, norm=members[0].norm
            )
            lowest = min(float(each.get_ydata().min()) for each in handles)  # type: ignore[union-attr]
            ax.axhline(alike[metric].chance, color=GREY, linestyle=":", linewidth=1.4)
            ax.set_ylim(min(-0.02, lowest - 0.1), 1.02)
            figures.legend_below(ax, handles, labels, narrow=True, slanted=slanted)
        if len(panels) > 1:
            line[0].set_title(", ".join(members[0].panel), fontsize=11, color=INK, pad=10)
    return Picture(
        name=f"heatmaps-{method}",
        pixels=render(figure),
        drawing=figure,
        alt=f"Line plots of the correlation and the overlap of clean and attacked {method} "
        "heatmaps against epsilon. " + _in_words(list(by_key.values()), method),
        caption=f"{method}: how alike the heatmaps without and under the attack are, mean over the "
        "sample images. Left: correlation; right: share of the top 20 % of pixels in common. "
        "Dotted: chance. At ε = 0 both are 1 by definition. Shaded: 95 % interval over the sample "
        "images, whole groups where one has several; with several seeds, thin lines are seeds.",
        width=round(size[0] * 100),
    )


def _curve(
    compared: Compared, method: str, metric: str, places: dict[float, float]
) -> figures.Curve:
    points = [(0.0, Estimate(1.0, 1.0, 1.0))]
    for epsilon in compared.epsilons:
        found = compared.at(method, "all", metric, epsilon)
        if found and found.n:
            points.append((places[epsilon], found))
    return [x for x, _ in points], [each for _, each in points]


def _in_words(compared: Sequence[Compared], method: str) -> str:
    parts = []
    for each in compared:
        values = [
            f"{found.value:.3f} at {number(epsilon)}"
            for epsilon in each.epsilons
            if (found := each.at(method, "all", "correlation", epsilon)) and found.n
        ]
        parts.append(f"{each.result.label}: correlation {', '.join(values) or NOTHING}.")
    return " ".join(parts)
