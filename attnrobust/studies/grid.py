"""GRID: the points that a search tries, every combination of some settings' values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.training.methods import row_of

SECTIONS = ("model", "training")
EXAMPLE = "training.batch_size=8,16"


@dataclass(frozen=True)
class Point:
    """One point of the grid.

    Attributes:
        experiment: With the point's settings.
        settings: These, by name, as text that `--set` reads.
    """

    experiment: config.Experiment
    settings: Mapping[str, str]


def points(experiment: config.Experiment, grid: Sequence[str]) -> list[Point]:
    """Every combination of the grid's values, the last setting changing fastest.

    Args:
        experiment: What the settings are put into.
        grid: Words such as `training.batch_size=8,16`; a comma always parts two values.

    Raises:
        UserError: No grid, no value, a setting named twice, unknown or not of model or training,
            a value that cannot be read, is out of range, or comes twice.
    """
    axes: dict[str, list[str]] = {}
    for word in grid:
        key, _, texts = word.partition("=")
        values = [text.strip() for text in texts.split(",") if text.strip()]
        if not values:
            raise UserError(f"--grid {word}: expected KEY=VALUE,VALUE, such as {EXAMPLE}")
        if key in axes:
            raise UserError(f"--grid {key}: given twice; expected all its values after one =")
        if key.partition(".")[0] not in SECTIONS:
            raise UserError(f"--grid {key}: expected a setting of {' or '.join(SECTIONS)}")
        axes[key] = values
    if not axes:
        raise UserError(f"search: expected at least one --grid, such as --grid {EXAMPLE}")
    found: list[Point] = []
    for combination in itertools.product(*axes.values()):
        settings = list(map("=".join, zip(axes, combination, strict=True)))
        try:
            chosen = config.with_settings(experiment, settings)
        except UserError as error:
            raise UserError(str(error).replace("--set", "--grid")) from None
        if any(point.experiment == chosen for point in found):
            raise UserError(f"--grid: {' '.join(settings)} comes twice")
        found.append(Point(chosen, {key: _text(chosen, key) for key in axes}))
    return found


def require_one_measure(tried: Sequence[Point]) -> None:
    """Accuracies can be compared where validation makes the same attack, or none, everywhere."""

    def measure(training: config.Training) -> tuple[object, ...]:
        if not row_of(training).attacked:
            return ()
        return (
            training.inner_norm,
            training.inner_epsilon,
            training.inner_steps,
            training.inner_stepsize,
            training.validation_share,
        )

    if len({measure(point.experiment.training) for point in tried}) > 1:
        raise UserError(
            "search: --grid changes what validation measures (clean accuracy, or that under the "
            "attack inside training), so no point could be called best; expected one kind of "
            "method and one inner attack for all"
        )


def _text(experiment: config.Experiment, key: str) -> str:
    """A setting's value as text that `--set` reads, the same however the user spelt it."""
    value: Any = experiment
    for name in key.split("."):
        value = getattr(value, name)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def axes(tried: Sequence[Point]) -> tuple[str, ...]:
    """Names of the settings that a grid changes."""
    return tuple(tried[0].settings)
