"""All that an experiment can say: frozen dataclasses, JSON in and out, typed `--set key=value`."""

from attnrobust.config.adopted import Adopted
from attnrobust.config.checking import lookup
from attnrobust.config.experiment import (
    Attack,
    Checks,
    Corruptions,
    Data,
    Experiment,
    Explanation,
    Model,
)
from attnrobust.config.settings import from_json, to_json, with_settings
from attnrobust.config.training import Training

__all__ = [
    "Adopted",
    "Attack",
    "Checks",
    "Corruptions",
    "Data",
    "Experiment",
    "Explanation",
    "Model",
    "Training",
    "from_json",
    "lookup",
    "to_json",
    "with_settings",
]
