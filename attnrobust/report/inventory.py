"""Tables of what was measured: the models and the examples of every split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from attnrobust.report.results import NOTHING, Result, once
from attnrobust.report.tables import Table, by_dataset


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


def splits(results: Sequence[Result]) -> list[Table]:
    """How many examples of every class each split holds, once for all runs on the same records."""
    made = []
    for members in by_dataset(results).values():
        alike: dict[str, list[Result]] = {}
        for each in members:
            described = each.provenance["dataset"].get("splits", {})
            alike.setdefault(json.dumps(described, sort_keys=True), []).append(each)
        for number, mine in enumerate(alike.values(), 1):
            names = [each.name for each in mine] if len(alike) > 1 else []
            if table := _splits(mine[0], names, number):
                made.append(table)
    return made


def _splits(result: Result, names_of_runs: Sequence[str], number: int) -> Table | None:
    dataset = result.provenance["dataset"]
    parts = dataset.get("splits", {})
    if not parts:
        return None
    names = [name for name in ("train", "validation", "test") if name in parts]
    counts = {name: parts[name].get("class_counts", {}) for name in names}
    classes = result.classes or tuple(dict.fromkeys(c for each in counts.values() for c in each))
    records = [(each, *(counts[name].get(each, 0) for name in names)) for each in classes]
    records.append(("all", *(parts[name]["count"] for name in names)))
    file = f"splits-{result.dataset}" + (f"-{number}" if number > 1 else "")
    whose = f" (records of {', '.join(names_of_runs)})" if names_of_runs else ""
    return Table(
        name=file,
        caption=f"Examples of every class and split, {result.dataset}{whose}.",
        columns=("Class", *names),
        rows=tuple((each, *(f"{count:,}" for count in cells)) for each, *cells in records),
        frame=pd.DataFrame(records, columns=["class", *names]),
    )
