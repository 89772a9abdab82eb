"""Tables of the report: numbers as text for the page, in full for the CSV files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from attnrobust.measures.metrics import METRICS
from attnrobust.report.results import (
    NOTHING,
    Estimate,
    Result,
    grouped,
    key,
    number,
    once,
)

# Column heads, and the groups above them as in Table.
Heads = tuple[tuple[str, ...], tuple[tuple[str, int], ...]]


@dataclass(frozen=True)
class Table:
    """A table ready to print.

    Attributes:
        name: File name without ending, below `tables/`.
        caption: What it shows.
        columns: Heads of the columns.
        rows: Cells as text; the first of each row is its head.
        groups: An upper row of heads as (text, columns covered); empty: none.
        frame: The same numbers, not rounded, for the CSV file.
        note: One sentence below the table.
        bold: Columns that stand out.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    frame: pd.DataFrame
    groups: tuple[tuple[str, int], ...] = field(default=())
    note: str = ""
    bold: frozenset[int] = frozenset()


def model_units(result: Result, epsilon: float) -> float:
    """An epsilon in [0, 1] pixel scale in the numbers that the backbone's first layer receives.

    255 times larger for 0..255 minus means, twice for [-1, 1]; NaN where it is not recorded, and
    for a number of changed pixels (l0).
    """
    if result.norm == "l0":
        return math.nan
    return float(result.provenance.get("input_scale", math.nan)) * epsilon


def of_255(result: Result, epsilon: float) -> str:
    """An epsilon in steps of a 0–255 image; a dash for a number of changed pixels (l0)."""
    return NOTHING if result.norm == "l0" else number(255 * epsilon)


def combine(estimates: Sequence[Estimate | None]) -> str:
    """One run: its value and interval. Several seeds: mean ± standard deviation.

    Where only some of the estimates are known it says of how many: `…, 1 of 3`.
    """
    known = [each for each in estimates if each is not None and math.isfinite(each.value)]
    if not known:
        return NOTHING
    values = [each.value for each in known]
    one = len(known) == 1
    text = str(known[0]) if one else f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    return text if len(known) == len(estimates) else f"{text}, {len(known)} of {len(estimates)}"


def heads(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Column heads: one for each experiment, its seeds together."""
    return [
        (f"{name}{of_seeds(seeds)}", seeds)
        for (_, name), seeds in grouped(results, "group").items()
    ]


def of_seeds(seeds: Sequence[Result]) -> str:
    """How many seeds these are, of those that the page has: `, 3 seeds`, `, 1 of 3 seeds`."""
    count, most = len(once(seeds)), seeds[0].seeds
    if count < most:
        return f", {count} of {most} seeds"
    return f", {count} seeds" if count > 1 else ""


def clean(results: Sequence[Result]) -> Table:
    """Every run without an attack; several seeds of an experiment get a row of their mean."""
    metrics = {name: row.title for name, row in METRICS.items() if row.headline}
    rows, records = [], []
    for seeds in grouped(once(results), "group").values():
        for result in seeds:
            cells = [str(result.clean.get(metric, NOTHING)) for metric in metrics]
            rows.append((result.name, *cells, _rate(result), f"{result.clean['accuracy'].n:,}"))
            for metric in (*metrics, "majority_rate"):
                records += _record(result, metric, result.clean.get(metric))
        if len(seeds) > 1:
            cells = [combine([each.clean.get(metric) for each in seeds]) for metric in metrics]
            name = seeds[0].name.rpartition(" seed ")[0] or seeds[0].group[1]
            rows.append((f"{name}, mean of {len(seeds)} seeds", *cells, "", ""))
    return Table(
        name="clean",
        caption="Without an attack, on the test split.",
        columns=("Model", *metrics.values(), "Majority rate", "n"),
        rows=tuple(rows),
        frame=pd.DataFrame(records),
        note="The majority rate is the accuracy of always naming the commonest class.",
    )


def _rate(result: Result) -> str:
    rate = result.clean.get("majority_rate")
    return f"{rate.value:.3f}" if rate else NOTHING


def recall(results: Sequence[Result]) -> list[Table]:
    """Recall of every class without an attack, a table for each dataset."""
    tables = []
    for dataset, members in by_dataset(results).items():
        columns = heads(members)
        names = [metric for metric in members[0].clean if metric.startswith("recall[")]
        rows, records = [], []
        for metric in names:
            cells = [combine([each.clean.get(metric) for each in seeds]) for _, seeds in columns]
            counts = {each.clean[metric].n for each in members if metric in each.clean}
            rows.append((metric[7:-1], *cells, _ranged(counts)))
            for result in members:
                records += _record(result, metric, result.clean.get(metric))
        if rows:
            tables.append(
                Table(
                    name=f"recall-{dataset}",
                    caption=f"Recall of every class without an attack, {dataset}.",
                    columns=("Class", *(head for head, _ in columns), "n"),
                    rows=tuple(rows),
                    frame=pd.DataFrame(records),
                )
            )
    return tables


def by_dataset(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Every run once, by its dataset and task."""
    members: dict[str, list[Result]] = {}
    for result in once(results):
        members.setdefault(result.dataset, []).append(result)
    return members


def robust(results: Sequence[Result]) -> list[Table]:
    """Robust accuracy by epsilon, a table for each dataset, backbone and attack."""
    return _by_epsilon(
        results,
        name="robust",
        caption="Robust accuracy",
        columns=lambda members: (tuple(head for head, _ in heads(members)), ()),
        metrics=("accuracy",),
    )


def attack(results: Sequence[Result]) -> list[Table]:
    """Attack success and changed predictions by epsilon, tables as in `robust`."""

    def columns(members: list[Result]) -> Heads:
        """Two columns an experiment, below its name."""
        top = tuple((head, 2) for head, _ in heads(members))
        return ("attack success", "prediction changed") * len(top), (("", 3), *top, ("", 1))

    return _by_epsilon(
        results,
        name="attack",
        caption="Attack success rate and changed predictions",
        columns=columns,
        metrics=("attack_success_rate", "prediction_change_rate"),
        note="Attack success counts among the images that were right without an attack; of a "
        "targeted attack, the images read as its target among those that were right and of another "
        "class. Prediction changed counts among all images (the last column).",
    )


def _by_epsilon(
    results: Sequence[Result],
    *,
    name: str,
    caption: str,
    columns: Callable[[list[Result]], Heads],
    metrics: tuple[str, ...],
    note: str = "",
) -> list[Table]:
    tables = []
    for (dataset, backbone, attack_name), members in grouped(results, "panel").items():
        epsilons = sorted({key(e): e for each in members for e in each.epsilons}.values())
        rows = [_level(members, metrics, epsilon) for epsilon in epsilons]
        records = [
            record
            for epsilon in epsilons
            for result in members
            for metric in metrics
            for record in _record(result, metric, result.under(metric, epsilon), epsilon)
        ]
        if not rows:
            continue
        middle, groups = columns(members)
        tables.append(
            Table(
                name=f"{name}-{dataset}-{backbone}-{attack_name}",
                caption=f"{caption} under {attack_name}: {dataset}, {backbone}.",
                columns=("ε", "255\u00a0ε", f"ε in {backbone} input units", *middle, "n"),
                rows=tuple(rows),
                frame=pd.DataFrame(records),
                groups=groups,
                note=note,
            )
        )
    return tables


def _level(members: Sequence[Result], metrics: Sequence[str], epsilon: float) -> tuple[str, ...]:
    """The row of one epsilon."""
    cells = [
        combine([each.under(metric, epsilon) for each in seeds])
        for _, seeds in heads(members)
        for metric in metrics
    ]
    scaled = model_units(members[0], epsilon)
    units = number(scaled) if math.isfinite(scaled) else NOTHING
    count = _count(members, metrics[-1], epsilon)
    return (number(epsilon), of_255(members[0], epsilon), units, *cells, count)


def _count(members: Sequence[Result], metric: str, epsilon: float) -> str:
    return _ranged({found.n for each in members if (found := each.under(metric, epsilon))})


def _ranged(counts: set[int]) -> str:
    return (
        "–".join(f"{count:,}" for count in sorted({min(counts), max(counts)}))
        if counts
        else (NOTHING)
    )


def _record(
    result: Result, metric: str, estimate: Estimate | None, epsilon: float | None = None
) -> list[dict[str, Any]]:
    """A row of a CSV file, or none where the value was not measured."""
    if estimate is None:
        return []
    experiment = result.run.experiment
    row: dict[str, Any] = {
        "dataset": experiment.data.dataset,
        "experiment": experiment.name,
        "seed": experiment.seed,
        "metric": metric,
    }
    if epsilon is not None:
        units = model_units(result, epsilon)
        row |= {
            "attack": result.attack,
            "epsilon": epsilon,
            "epsilon_255": key(255 * epsilon),
            "epsilon_model_units": key(units) if math.isfinite(units) else "",
        }
    return [row | {name: getattr(estimate, name) for name in ("value", "low", "high", "n")}]
