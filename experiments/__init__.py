"""EXPERIMENTS: one file each, `experiments/<dataset>/<backbone>_<head>.py`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from attnrobust.config import Experiment


def as_published(twin: Experiment) -> Experiment:
    """The twin, attacked as Wasserman's own code may have done it, whatever its network stands.

    Foolbox's loop for every image at every epsilon, on what his networks end in, a softmax, and on
    images that were scaled for the network before Foolbox saw them, so that its epsilon is in
    those numbers.
    """
    attack = dataclasses.replace(
        twin.attack,
        outputs="probabilities",
        scale="model_input",
        mode="independent",
        early_stop=False,
    )
    return dataclasses.replace(twin, name=f"{twin.name}_as_published", attack=attack)


def known() -> list[str]:
    """All of them as `<dataset>.<name>`, in alphabetical order."""
    files = Path(__file__).parent.glob("*/[!_]*.py")
    return sorted(f"{path.parent.name}.{path.stem}" for path in files)
