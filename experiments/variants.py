"""VARIANTS: experiments of one module that differ in a few settings, a row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from attnrobust import config
from attnrobust.config import Experiment

# Wasserman's own code may have attacked so, whatever the network stands: Foolbox's loop for every
# image at every epsilon, on what his networks end in, a softmax, and on images that were scaled for
# the network before Foolbox saw them, so that its epsilon is in those numbers.
AS_PUBLISHED = (
    "attack.outputs=probabilities",
    "attack.scale=model_input",
    "attack.mode=independent",
    "attack.early_stop=false",
)


@dataclass(frozen=True)
class Variant:
    """An experiment, told by what it changes in another one.

    Attributes:
        about: What it is, in one line; below it the claim, what is the paper's and what is ours.
        base: What it starts from: an experiment, or the name of a variant of the same table.
            Name and data set of an experiment are not taken over.
        settings: `key=value`, as `--set` reads them.
    """

    about: str
    base: Experiment | str
    settings: tuple[str, ...] = ()


def made(table: Mapping[str, Variant], name: str, dataset: str) -> Experiment:
    """The experiment of a row; it is called as the row is, and its data set as the folder.

    Raises:
        UserError: A setting that there is not, or of another type.
    """
    row = table[name]
    base = made(table, row.base, dataset) if isinstance(row.base, str) else row.base
    return config.with_settings(base, [*row.settings, f"name={name}", f"data.dataset={dataset}"])
