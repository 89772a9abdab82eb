"""Figures of papers: a metric under the paper's attack against 255 ε, of our runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from attnrobust.report import papers
from attnrobust.report.figures import INK, Curve, Look, plain
from attnrobust.report.figures import draw as draw_curves
from attnrobust.report.paper_kinds import Drawn, Paper
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import Estimate, Result, heads, number, once


def draw(
    paper: Paper, part: Drawn, of_rows: Mapping[str, Sequence[Result]], look: Look
) -> Picture | None:
    """A curve for each of our runs that was attacked as the paper attacks.

    Args:
        paper: The paper.
        part: The figure.
        of_rows: Results by its rows.
        look: Colours.

    Returns:
        The figure, or None where none of the rows that it needs is ours.
    """
    fitting = {
        row: once([each for each in mine if each.epsilons and papers.as_theirs(paper, each)])
        for row, mine in of_rows.items()
    }
    if not any(fitting[row] for row in part.needs):
        return None
    figure = Figure(figsize=(8.0, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    ax = figure.subplots()
    handles: dict[str, Line2D] = {}
    said: list[str] = []
    for row, mine in fitting.items():
        for head, seeds in heads(mine):
            curves = [curve(each, part.metric) for each in seeds]
            handles[f"{row}: {head}"] = draw_curves(ax, curves, *look[seeds[0].group])
            said += [f"{row}, {each.label}: {_in_words(each, part.metric)}." for each in seeds]
    ax.set_xlim(left=0)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("255 ε", fontsize=10, color=INK)
    ax.set_ylabel(part.label, fontsize=10, color=INK)
    plain(ax)
    figure.legend(
        handles.values(), handles, loc="outside lower center", fontsize=9, frameon=False, ncols=2
    )
    counts = sorted({each.clean["accuracy"].n for mine in fitting.values() for each in mine})
    images = "–".join(f"{count:,}" for count in counts)
    return Picture(
        name=part.name,
        pixels=render(figure),
        drawing=figure,
        alt=f"{part.alt} {' '.join(said)}",
        caption=part.caption.replace("{images}", images),
        width=800,
    )


def curve(result: Result, metric: str) -> Curve:
    """255 ε from 0 on, where nothing has changed, and the metric there."""
    found = {epsilon: result.under(metric, epsilon) for epsilon in result.epsilons}
    points = [(0.0, Estimate(0.0))]
    points += [(255 * epsilon, rate) for epsilon, rate in found.items() if rate is not None]
    return [x for x, _ in points], [rate for _, rate in points]


def _in_words(result: Result, metric: str) -> str:
    x, rates = curve(result, metric)
    return ", ".join(
        f"{rate.value:.3f} at {number(place)}" for place, rate in zip(x, rates, strict=True)
    )
