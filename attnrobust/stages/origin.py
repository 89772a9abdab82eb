"""Where a run's model comes from and what it learned, kept in `provenance.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnrobust.disk import provenance, runs
from attnrobust.stages.context import Context

if TYPE_CHECKING:
    from tensorflow import keras

    from attnrobust.data.records import Dataset


def remember(
    context: Context,
    dataset: Dataset,
    model: keras.Model,
    devices: list[str],
    adopted: dict[str, Any] | None = None,
) -> None:
    """Write `provenance.json`: where the model comes from, and what it learned."""
    from attnrobust.models import build

    start = (context.run.stamp(context.run.origin) or {}).get("started", "")
    origin = provenance.provenance(dataset_hash=dataset.hash, devices=devices, started=start)
    described = {
        "name": dataset.name,
        "task": context.experiment.data.task,
        "classes": list(dataset.classes),
        "size": dataset.size,
        "splits": {
            split: {key: value[key] for key in ("count", "class_counts")}
            for split, value in dataset.splits.items()
        },
        "corrupted": dataset.corrupted,
    }
    parameters, attention = build.count_parameters(model)
    runs.save_json(
        context.run.path("provenance.json"),
        {
            **origin,
            "dataset": described,
            "parameters": parameters,
            "attention_parameters": attention,
            "input_scale": build.input_scale(model),
            **({"adopted": adopted} if adopted else {}),
        },
    )
