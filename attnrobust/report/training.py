"""Training by epoch: a figure for each run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from attnrobust.report.blocks import Asked, Block, Section
from attnrobust.report.figures import GREY, INK, colours, plain
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import Result, number, once, slug


def section(results: Sequence[Result], _: Asked) -> Section:
    """The figures, or a sentence where no history was kept."""
    return Section("training", "Training", _blocks(results))


def _blocks(results: Sequence[Result]) -> Iterator[Block]:
    look, kept = colours(results), [each for each in once(results) if each.history]
    for result in kept:
        yield curves(result, look[result.group][0], name=f"training-{slug(result)}")
    if not kept:
        yield "No training history was kept."


def curves(result: Result, colour: str, *, name: str) -> Picture:
    """Loss and accuracy of one run by epoch; it has at least one."""
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
        drawing=figure,
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
