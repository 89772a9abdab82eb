"""What there is of each kind, by name: experiments, data sets, rows of the tables."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator

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
    "heatmap-metrics": "measures.heatmaps.HEATMAP_METRICS",
    "losses": "training.losses.LOSSES",
    "metrics": "measures.metrics.METRICS",
    "optimizers": "training.optimizers.OPTIMIZERS",
    "sampling": "data.sampling.SAMPLING",
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
        yield key, _said(row)


def _said(row: object) -> str:
    """A row's title, else the docstring of its first function that has one, else its words."""
    if inspect.isroutine(row) or inspect.isclass(row):
        return inspect.getdoc(row) or ""
    fields = row if isinstance(row, tuple) else tuple(vars(row).values())
    if title := getattr(row, "title", ""):
        return str(title)
    functions = (inspect.getdoc(each) for each in fields if inspect.isroutine(each))
    words = (each for each in fields if isinstance(each, str) and each)
    return next(filter(None, functions), ", ".join(words))


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
