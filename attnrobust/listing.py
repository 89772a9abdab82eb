"""What there is of each kind, by name: experiments, data sets, rows of the tables."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

TABLES = {
    "attacks": "attacks.methods.ATTACKS",
    "attack-losses": "attacks.losses.LOSSES",
    "first-passes": "attacks.cheap.FIRST_PASSES",
    "checks": "attacks.sanity.CHECKS",
    "augmentations": "data.augmentation.AUGMENTATIONS",
    "augmix-operations": "training.mixing.OPERATIONS",
    "backbones": "models.backbones.BACKBONES",
    "baselines": "explanations.baselines.BASELINES",
    "calibration": "measures.calibration.CALIBRATION",
    "class-weights": "training.losses.CLASS_WEIGHTS",
    "corruptions": "corruptions.CORRUPTIONS",
    "explanations": "explanations.methods.EXPLANATIONS",
    "filters": "data.preprocessing.FILTERS",
    "fits": "data.preprocessing.FITS",
    "heads": "models.heads.HEADS",
    "heatmap-changes": "measures.heatmaps.HEATMAP_METRICS",
    "heatmap-metrics": "measures.maps.MAP_METRICS",
    "losses": "training.losses.LOSSES",
    "metrics": "measures.metrics.METRICS",
    "optimizers": "training.optimizers.OPTIMIZERS",
    "preprocessings": "models.adopted.preprocessing.PREPROCESSING",
    "pixel-losses": "attacks.segmentation.losses.PIXEL_LOSSES",
    "sampling": "data.sampling.SAMPLING",
    "segmentation-attacks": "attacks.segmentation.methods.SEGMENTATION_ATTACKS",
    "segmentation-checks": "attacks.segmentation.sanity.SEGMENTATION_CHECKS",
    "segmentation-metrics": "measures.segmentation.SEGMENTATION_METRICS",
    "segmenters": "models.segmenters.SEGMENTERS",
    "schedules": "training.optimizers.SCHEDULES",
    "stages": "stages.pipeline.STAGES",
    "training-methods": "training.methods.METHODS",
}


def _experiments() -> Iterator[tuple[str, str]]:
    import experiments

    for name in experiments.known():
        yield name, experiments.about(name)


def _datasets() -> Iterator[tuple[str, str]]:
    import tfrecords

    for name in tfrecords.known():
        yield name, importlib.import_module(f"tfrecords.{name}").__doc__ or ""


def _rows(place: str) -> Iterator[tuple[str, str]]:
    module, _, name = place.rpartition(".")
    table = getattr(importlib.import_module(f"attnrobust.{module}"), name)
    for key, row in table.items():
        yield key, description(row)


def description(row: Any) -> str:
    """What a row is, in a line: its own words, or the first line of its function's docstring."""
    if isinstance(row, str):
        return row
    if getattr(row, "what", ""):
        return str(row.what)
    if isinstance(row, Sequence):
        return next((part for part in row if isinstance(part, str)), "")
    if inspect.isclass(row) or not dataclasses.is_dataclass(row):
        return first_line(behind(row)) + bound(row)
    values = [getattr(row, field.name) for field in dataclasses.fields(row)]
    return next((description(value) for value in values if callable(value)), "")


def bound(row: Any) -> str:
    """What a partial decides, where that is all that tells two rows apart."""
    words = getattr(row, "keywords", {}).items()
    said = [f"{key}: {written(value)}" for key, value in words if isinstance(value, bool | int)]
    return f" ({', '.join(said)})" if said else ""


def behind(function: Any) -> Any:
    """The function itself, where the row has a partial of it, or what imports it when called."""
    if isinstance(function, functools.partial):
        return behind(function.func)
    held = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    if {"module", "name"} <= set(held):
        package = function.__module__.rpartition(".")[0]
        return getattr(importlib.import_module(f"{package}.{held['module']}"), held["name"])
    return function


def first_line(thing: Any) -> str:
    """Of its docstring, to the first empty line."""
    return paragraph(inspect.getdoc(thing) or "")


def paragraph(text: str) -> str:
    """The first, in a line."""
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def written(value: Any) -> str:
    """A value as a cell holds it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(
            key if callable(each) else f"{key} {written(each)}" for key, each in value.items()
        )
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(written, value))
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


KINDS: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    "experiments": _experiments,
    "datasets": _datasets,
    **{kind: functools.partial(_rows, place) for kind, place in TABLES.items()},
}


def lines(kind: str) -> list[str]:
    """A line for each row of a kind: its name and the first line of what is said of it."""
    rows = list(KINDS[kind]())
    wide = max(len(name) for name, _ in rows)
    return [f"{name:<{wide}}  {said.strip().partition(chr(10))[0]}".rstrip() for name, said in rows]
