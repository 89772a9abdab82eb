"""What each heatmap is like: rows of `measurements.csv` to a table of each model and method."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from markupsafe import Markup

from attnrobust.measures.maps import MAP_METRICS
from attnrobust.report.blocks import Table
from attnrobust.report.results import (
    NOTHING,
    Estimate,
    Result,
    combine,
    grouped,
    heads,
    key,
    number,
    of_255,
)

WORDS = Markup(
    "What the maps themselves are like, mean over the sample images, at ε = 0 of the images as "
    "they are: {}. Maps enlarged from a layer of few cells have an entropy near 1, and those of "
    "layers or images of another size do not compare."
).format("; ".join(f"{row.title.lower()}, {row.what}" for row in MAP_METRICS.values()))


def tables(results: Sequence[Result]) -> list[Table]:
    """A table of each model and method: an epsilon a row, a metric a column; seeds together."""
    made = []
    for members in grouped(results, "panel").values():
        for head, seeds in heads(members):
            names = [name for each in seeds for name in _estimates(each)]
            for method in dict.fromkeys(method for _, method, _ in names):
                made.append(_table(seeds, head, method))
    return made


def _estimates(result: Result) -> dict[tuple[str, str, str], Estimate]:
    """By metric, method and epsilon as text: of the run's attack, or where there was none."""
    found = result.attacked if result.attack else {(m, "0"): v for m, v in result.clean.items()}
    split = {
        (*metric.removesuffix("]").partition("[")[::2], level): value
        for (metric, level), value in found.items()
    }
    return {name: value for name, value in split.items() if name[0] in MAP_METRICS and name[1]}


def _table(seeds: Sequence[Result], head: str, method: str) -> Table:
    first, found = seeds[0], [_estimates(each) for each in seeds]
    metrics = [name for name in MAP_METRICS if any((name, method, "0") in each for each in found)]
    rows = []
    for epsilon in (0.0, *sorted({epsilon for each in seeds for epsilon in each.epsilons})):
        each = [[values.get((name, method, key(epsilon))) for values in found] for name in metrics]
        if any(value for column in each for value in column):
            counts = sorted({value.n for column in each for value in column if value})
            n = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
            cells = (combine(column) for column in each)
            rows.append((number(epsilon), of_255(first, epsilon), *cells, n or NOTHING))
    # The attack is named where another of the run's could be meant.
    where = (*first.group, first.named) if first.label != first.name else first.group
    return Table(
        name="-".join(("maps", *where, method)),
        caption=f"{', '.join((head, *where[2:], method))}: what the maps are like.",
        columns=("ε", "255\u00a0ε", *(MAP_METRICS[name].title for name in metrics), "n"),
        rows=tuple(rows),
        frame=pd.concat([_rows(each, [f"{name}[{method}]" for name in metrics]) for each in seeds]),
    )


def _rows(result: Result, metrics: Sequence[str]) -> pd.DataFrame:
    """The rows of `measurements.csv` that a table shows."""
    frame = result.frame
    condition = "attack" if result.attack else "clean"
    ours = (frame["condition"] == condition) & (frame["name"] == result.attack)
    return frame[ours & frame["metric"].isin(metrics)].astype({"seed": "Int64", "n": "Int64"})
