"""EXPERIMENTS: `<dataset>.<name>`, in a folder a data set.

There a file holds one, `EXPERIMENT`, and is called as it is; or many, the rows of its `VARIANTS`.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from pathlib import Path
from types import ModuleType

from attnrobust import config
from attnrobust.config import Experiment
from attnrobust.errors import UsageError, UserError
from experiments.variants import made

log = logging.getLogger("attnrobust")


def known() -> list[str]:
    """All of them as `<dataset>.<name>`, in alphabetical order."""
    return list(_modules())


def load(name: str) -> Experiment:
    """The experiment called `<dataset>.<name>`.

    Raises:
        UserError: No such experiment; the message has near misses and the known ones.
    """
    module = _module(name)
    dataset, _, own = name.partition(".")
    if own in getattr(module, "VARIANTS", {}):
        return made(module.VARIANTS, own, dataset)
    experiment: Experiment = module.EXPERIMENT
    return experiment


def about(name: str) -> str:
    """What it says of itself: one line, claim, settings, command.

    A variant's own text, and below it that of its module, where NAME stands for its name.

    Raises:
        UserError: As `load`.
    """
    module = _module(name)
    own = name.partition(".")[2]
    shared = inspect.cleandoc(module.__doc__ or "")
    if own not in getattr(module, "VARIANTS", {}):
        return shared
    text = f"{inspect.cleandoc(module.VARIANTS[own].about)}\n\n{shared}"
    return text.replace("NAME", own)


def _module(name: str) -> ModuleType:
    try:
        return config.lookup("experiment", _modules(), name)
    except UserError as error:
        raise UsageError(str(error)) from None


def _modules() -> dict[str, ModuleType]:
    """The module of each experiment, by its name, in alphabetical order."""
    found: dict[str, ModuleType] = {}
    for path in Path(__file__).parent.glob("*/[!_]*.py"):
        dataset = path.parent.name
        try:
            module = importlib.import_module(f"experiments.{dataset}.{path.stem}")
        except Exception as error:  # A half-written file must not take the others with it.
            log.warning("warning: %s: left out: %s: %s", path, type(error).__name__, error)
            continue
        alone = [path.stem] if hasattr(module, "EXPERIMENT") else []
        found |= {f"{dataset}.{own}": module for own in getattr(module, "VARIANTS", alone)}
    return dict(sorted(found.items()))
