"""Tables of what was measured: the models and the examples of every split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from attnrobust.report.results import NOTHING, Result, once
from attnrobust.report.tables import Table


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
        columns=("Model", "Backbone", "Head", "Variant", "Cut", "Image size", "Parameters",
                 "of these attention", "Epochs", "Best epoch", "Training minutes"),
        rows=tuple(rows),
        frame=pd.DataFrame(records),
    )  # fmt: skip


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def splits(result: Result) -> Table | None:
    """How many examples of every class each split holds, or None where it is not recorded."""
    dataset = result.provenance.get("dataset", {})
    parts = dataset.get("splits", {})
    if not parts:
        return None
    names = [name for name in ("train", "validation", "test") if name in parts]
    counts = {name: parts[name].get("class_counts", {}) for name in names}
    classes = result.classes or tuple(dict.fromkeys(c for each in counts.values() for c in each))
    records = [(each, *(counts[name].get(each, 0) for name in names)) for each in classes]
    records.append(("all", *(parts[name]["count"] for name in names)))
    dataset_name = result.dataset
    return Table(
        name=f"splits-{dataset_name}",
        caption=f"Examples of every class and split, {dataset_name}.",
        columns=("Class", *names),
        rows=tuple((each, *(f"{count:,}" for count in cells)) for each, *cells in records),
        frame=pd.DataFrame(records, columns=["class", *names]),
    )
