"""What the report knows of a run under an attack, and how it writes numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnrobust.config import Attack, Explanation
from attnrobust.disk.runs import Run, safe_name

NOTHING = "–"


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95 % interval; NaN where something is not known.

    Attributes:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of images behind it.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return NOTHING
        if not self.has_interval:
            return f"{self.value:.3f}"
        low = max(self.low, 0.0) if self.low > -5e-4 else self.low  # Not "-0.000".
        return f"{self.value:.3f} ({low:.3f}–{self.high:.3f})"


@dataclass(frozen=True)
class Result:
    """One run under one of its attacks, as the report sees it.

    Attributes:
        run: The run.
        name: Its name on the page; only results of the same run share one.
        label: The name, with the attack's where the run has several or it is targeted; no two
            results share one.
        attack: What the attack is called in the run; empty where none was measured.
        setting: The attack's settings.
        norm: `linf`, `l2` or `l0`: what its epsilons are radii in.
        explanation: Settings of the heatmaps under this attack.
        frame: The run's rows of `measurements.csv` for the test split and the temperature's, which
            is the validation split's, as they stand there.
        clean: Estimates without an attack, by metric.
        corrupted: Of each corruption its estimates, by (metric, severity as text).
        attacked: Estimates under the attack, by (metric, epsilon as text).
        worst: Estimates under the worst of the run's attacks of this norm, by the same.
        epsilons: Radii above 0 that were evaluated, in [0, 1] pixel scale, rising.
        classes: Class names in the order of the logits; empty where they are not recorded.
        history: One mapping an epoch, rising.
        provenance: Content of `provenance.json`.
        seeds: How many seeds of its experiment the page has.
    """

    run: Run
    name: str
    label: str
    attack: str
    setting: Attack
    norm: str
    explanation: Explanation
    frame: pd.DataFrame
    clean: dict[str, Estimate]
    corrupted: dict[str, dict[tuple[str, str], Estimate]]
    attacked: dict[tuple[str, str], Estimate]
    worst: dict[tuple[str, str], Estimate]
    epsilons: tuple[float, ...]
    classes: tuple[str, ...]
    history: tuple[dict[str, Any], ...]
    provenance: dict[str, Any]
    seeds: int = 1

    @property
    def dataset(self) -> str:
        """Dataset, and its task where it has one: what measures the same thing."""
        data = self.run.experiment.data
        return "-".join(filter(None, (data.dataset, data.task)))

    @property
    def headline(self) -> str:
        """The metric that says how good it is: `accuracy`, or `dice` where the run segments."""
        return "dice" if "dice" in self.clean else "accuracy"

    @property
    def group(self) -> tuple[str, str]:
        """Dataset and experiment: what the seeds of one experiment share."""
        return self.run.experiment.data.dataset, self.run.experiment.name

    @property
    def named(self) -> str:
        """The attack's name for readers, with the class that it is targeted at."""
        name = self.attack or self.setting.name
        return f"{name} targeted at {self.setting.target}" if self.setting.target else name

    @property
    def panel(self) -> tuple[str, str, str]:
        """Dataset, backbone and attack: what may be drawn in one plot."""
        return *self.architecture, self.named

    @property
    def architecture(self) -> tuple[str, str]:
        """Dataset and backbone: what its attacks are compared within."""
        return self.dataset, self.run.experiment.model.backbone

    @property
    def key(self) -> tuple[Path, str]:
        """What tells it from every other result."""
        return self.run.root, self.attack

    @property
    def asked_scale(self) -> float:
        """What 1 in [0, 1] pixels is in the scale that the attack's epsilons were given in."""
        place = self.run.place_of("attack", self.attack or self.setting.name)
        return float((self.run.stamp(place) or {}).get("epsilon_scale", 1.0))

    def path(self, stage: str, *parts: str) -> Path:
        """A file of the `attack` or `explain` stage under this attack."""
        return self.run.path(self.run.place_of(stage, self.attack or self.setting.name), *parts)

    def under(self, metric: str, epsilon: float) -> Estimate | None:
        """The estimate of a metric at an epsilon, or None where it was not measured."""
        return self.attacked.get((metric, key(epsilon)))

    def class_name(self, index: int) -> str:
        """The name of a class, or its number where names are not recorded."""
        return self.classes[index] if 0 <= index < len(self.classes) else f"class {index}"

    def best_epoch(self) -> int | None:
        """The epoch whose weights were kept: the last that bettered the validation loss."""
        best, kept = math.inf, None
        for row in self.history:
            loss = float(row.get("val_loss", math.nan))
            if loss < best - self.run.experiment.training.min_delta:
                best, kept = loss, int(row["epoch"])
        return kept


def key(epsilon: float) -> str:
    """An epsilon as file names spell it, so that rounding in the last digit is no difference."""
    return f"{epsilon:g}"


def levels(found: Mapping[tuple[str, str], Estimate]) -> set[str]:
    """Epsilons or severities above 0 at which accuracy was measured, as text."""
    return {level for metric, level in found if metric == "accuracy" and level not in ("", "0")}


def mean_accuracy(
    found: Mapping[tuple[str, str], Estimate], over: Sequence[str]
) -> Estimate | None:
    """Mean of the accuracies at some levels, or None where one of them was not measured.

    With its interval if these are all levels: the images being the same, none follows from theirs.
    """
    known = levels(found)
    if not over or not known.issuperset(over):
        return None
    if known == set(over) and ("mean_accuracy", "") in found:
        return found["mean_accuracy", ""]
    each = [found["accuracy", level] for level in over]
    return Estimate(float(np.mean([one.value for one in each])), n=each[0].n)


def number(value: float, digits: int = 4) -> str:
    """A small number in full, never as 1e-05: 0.00125, 0.03137, 0."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else NOTHING
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def grouped(results: Sequence[Result], attribute: str) -> dict[Any, list[Result]]:
    """Results by `group`, `panel` or the like, in the order of their first appearance."""
    groups: dict[Any, list[Result]] = {}
    for result in results:
        groups.setdefault(getattr(result, attribute), []).append(result)
    return groups


def once(results: Sequence[Result]) -> list[Result]:
    """The first result of every run: for what does not depend on the attack."""
    return list({result.run.root: result for result in reversed(results)}.values())[::-1]


def combine(estimates: Sequence[Estimate | None]) -> str:
    """One run: its value and interval. Several seeds: mean ± standard deviation.

    Where only some of the estimates are known it says of how many: `…, 1 of 3`.
    """
    known = [each for each in estimates if each is not None and math.isfinite(each.value)]
    if not known:
        return NOTHING
    values = [each.value for each in known]
    one = len(known) == 1
    text = str(known[0]) if one else f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    return text if len(known) == len(estimates) else f"{text}, {len(known)} of {len(estimates)}"


def heads(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Column heads: one for each experiment, its seeds together."""
    return [
        (f"{name}{of_seeds(seeds)}", seeds)
        for (_, name), seeds in grouped(results, "group").items()
    ]


def of_seeds(seeds: Sequence[Result]) -> str:
    """How many seeds these are, of those that the page has: `, 3 seeds`, `, 1 of 3 seeds`."""
    count, most = len(once(seeds)), seeds[0].seeds
    if count < most:
        return f", {count} of {most} seeds"
    return f", {count} seeds" if count > 1 else ""


def by_dataset(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Every run once, by its dataset and task."""
    members: dict[str, list[Result]] = {}
    for result in once(results):
        members.setdefault(result.dataset, []).append(result)
    return members


def of_255(result: Result, epsilon: float) -> str:
    """An epsilon in steps of a 0–255 image; a dash for a number of changed pixels (l0)."""
    return NOTHING if result.norm == "l0" else number(255 * epsilon)


def slug(result: Result) -> str:
    """The name of a run for files."""
    experiment = result.run.experiment
    return safe_name(f"{experiment.data.dataset}-{experiment.name}-{experiment.seed}")
