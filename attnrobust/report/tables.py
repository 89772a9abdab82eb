"""Tables of what was measured: numbers as text for the page, in full for the CSV files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from attnrobust.measures.metrics import METRICS
from attnrobust.report import attacks, compared, statements, wording
from attnrobust.report.blocks import Asked, Note, Section, Table
from attnrobust.report.results import (
    NOTHING,
    Estimate,
    Result,
    by_dataset,
    combine,
    grouped,
    heads,
    key,
    number,
    of_255,
    once,
)

# Column heads, and the groups above them as in Table.
Heads = tuple[tuple[str, ...], tuple[tuple[str, int], ...]]


def section(results: Sequence[Result], _: Asked) -> Section:
    """What was measured, the models, and what papers state of them."""
    said = (
        f"In brackets: 95 % interval. {wording.intervals(results)} With several seeds: mean ± "
        "standard deviation over the seeds, “1 of 3” where not all were measured. The folder "
    )
    note = Note(
        Markup(
            "{}<code>tables</code> beside this page holds the same numbers in full, as CSV."
        ).format(said)
    )
    made = (
        clean(results),
        *recall(results),
        *attacks.tables(results),
        *robust(results),
        *attack(results),
        models(results),
        *statements.tables(results, compared.read(results)),
    )
    return Section("tables", "Tables", (note, *made))


def model_units(result: Result, epsilon: float) -> float:
    """An epsilon in [0, 1] pixel scale in the numbers that the backbone's first layer receives.

    255 times larger for 0..255 minus means, twice for [-1, 1]; NaN where it is not recorded, and
    for a number of changed pixels (l0).
    """
    if result.norm == "l0":
        return math.nan
    return float(result.provenance.get("input_scale", math.nan)) * epsilon


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


def models(results: Sequence[Result]) -> Table:
    """What every run is made of and what its training took."""
    rows, records = [], []
    for result in once(results):
        model, data = result.run.experiment.model, result.run.experiment.data
        seconds = result.run.seconds("train")
        # A head without soft attention has no variant, whatever the configuration's default says.
        variant = model.variant if model.head.startswith("soft_attention") else NOTHING
        record = {
            "model": result.name,
            "backbone": model.backbone if model.width == 1 else f"{model.backbone} x{model.width}",
            "head": model.head,
            "variant": variant,
            "cut": model.cut,
            "image_size": data.image_size,
            "parameters": result.provenance.get("parameters"),
            "attention_parameters": result.provenance.get("attention_parameters"),
            "epochs": len(result.history) or None,
            "best_epoch": result.best_epoch(),
            "training_minutes": None if seconds is None else round(seconds / 60, 1),
        }
        records.append(record)
        rows.append(tuple(_cell(value) for value in record.values()))
    return Table(
        name="models",
        caption="The models and their training.",
        columns=(
            "Model",
            "Backbone",
            "Head",
            "Variant",
            "Cut",
            "Image size",
            "Parameters",
            "of these attention",
            "Epochs",
            "Best epoch",
            "Training minutes",
        ),
        rows=tuple(rows),
        frame=pd.DataFrame(records),
    )


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    return f"{value:,}" if isinstance(value, int | float) else str(value)
