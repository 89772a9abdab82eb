"""Another run beside one, whose adversarials the checks of its attack take."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from attnrobust import config
from attnrobust.config.smoke import SMOKED
from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.stages.context import Context

if TYPE_CHECKING:
    from attnrobust.data.records import Dataset
    from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")


def find(context: Context, dataset: Dataset) -> dict[str, str] | None:
    """A run beside this one that learned from, or was adopted for, and is tested on its images.

    A run of another experiment rather than of another seed, then the first by name. Never a
    smoke run: what learned next to nothing makes adversarials of nothing.

    Returns:
        Its place below the folder of the data set's runs, and the digest of its weights.
    """
    found, data = [], _learned_from(context)
    for file in _beside(context).glob("*/*/config.json"):
        try:
            run = Run.open(file.parent)
            stamp, other = run.stamp(run.origin), run.experiment
        except UserError as error:
            log.warning("warning: no adversarials are taken from that run: %s", error)
            continue
        alike = stamp and stamp["finished"] and stamp["inputs"] == dataset.hash
        alike = alike and other.data == data and not other.name.endswith(SMOKED)
        if alike and run.root != context.run.root and run.weights.is_file():
            found.append((other.name == context.experiment.name, str(run.root), run.root))
    if not found:
        return None
    return as_now(context, {"run": str(min(found)[2].relative_to(_beside(context)))})


def as_now(context: Context, surrogate: dict[str, str] | None) -> dict[str, str] | None:
    """A surrogate with its weights as they are now; unchanged where its run is gone."""
    if surrogate is None or not (_beside(context) / surrogate["run"] / "config.json").is_file():
        return surrogate
    weights = Run.open(_beside(context) / surrogate["run"]).weights
    return {**surrogate, "weights": runs.digest(weights)} if weights.is_file() else surrogate


def loaded(
    context: Context, surrogate: dict[str, str] | None, dataset: Dataset
) -> tuple[str, Callable[[], Replicas]] | None:
    """The surrogate's name and how to get its model."""
    if surrogate is None:
        return None
    other = Context(Run.open(_beside(context) / surrogate["run"]), context.records)
    name = f"{other.experiment.name}, seed {other.experiment.seed}"
    return name, lambda: other.trained(dataset)


def _beside(context: Context) -> Path:
    """The folder of the data set's runs."""
    return context.run.root.parents[1]


def _learned_from(context: Context) -> config.Data:
    """The data of these settings with the limit that training had: later ones choose images."""
    data = context.experiment.data
    stamp = context.run.stamp(context.run.origin) or {"used": {}}
    limit = stamp["used"].get("data", {}).get("limit", data.limit)
    return dataclasses.replace(data, limit=limit)
