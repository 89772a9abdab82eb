"""What the report knows of a run: its measurements, history and provenance, read from disk."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnrobust.errors import UserError
from attnrobust.runs import Run, load_json

TEXT = ("dataset", "experiment", "split", "condition", "name", "metric")
NUMBERS = ("seed", "level", "value", "low", "high", "n")
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
    """One run as the report sees it.

    Attributes:
        run: The run.
        label: Its name on the page; no two results share one.
        frame: Its rows of `measurements.csv` for the test split, as they stand there.
        clean: Estimates without an attack, by metric.
        attacked: Estimates under the run's attack, by (metric, epsilon as text).
        epsilons: Radii above 0 that were evaluated, in [0, 1] pixel scale, rising.
        classes: Class names in the order of the logits; empty where they are not recorded.
        history: One mapping an epoch, rising.
        provenance: Content of `provenance.json`.
    """

    run: Run
    label: str
    frame: pd.DataFrame
    clean: dict[str, Estimate]
    attacked: dict[tuple[str, str], Estimate]
    epsilons: tuple[float, ...]
    classes: tuple[str, ...]
    history: tuple[dict[str, Any], ...]
    provenance: dict[str, Any]

    @property
    def group(self) -> tuple[str, str]:
        """Dataset and experiment: what the seeds of one experiment share."""
        return self.run.experiment.data.dataset, self.run.experiment.name

    @property
    def panel(self) -> tuple[str, str, str]:
        """Dataset, backbone and attack: what may be drawn in one plot."""
        experiment = self.run.experiment
        return experiment.data.dataset, experiment.model.backbone, experiment.attack.name

    def under(self, metric: str, epsilon: float) -> Estimate | None:
        """The estimate of a metric at an epsilon, or None where it was not measured."""
        return self.attacked.get((metric, key(epsilon)))

    def class_name(self, index: int) -> str:
        """The name of a class, or its number where names are not recorded."""
        return self.classes[index] if 0 <= index < len(self.classes) else f"class {index}"

    def best_epoch(self) -> int | None:
        """The epoch with the lowest validation loss."""
        losses = [float(row.get("val_loss", math.nan)) for row in self.history]
        if not np.isfinite(losses).any():
            return None
        finite = np.where(np.isfinite(losses), losses, np.inf)
        return int(self.history[int(np.argmin(finite))]["epoch"])


def key(epsilon: float) -> str:
    """An epsilon as file names spell it, so that rounding in the last digit is no difference."""
    return f"{epsilon:g}"


def number(value: float, digits: int = 4) -> str:
    """A small number in full, never as 1e-05: 0.00125, 0.03137, 0."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else NOTHING
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def grouped(results: Sequence[Result], attribute: str) -> dict[Any, list[Result]]:
    """Results by `group` or `panel`, in the order of their first appearance."""
    groups: dict[Any, list[Result]] = {}
    for result in results:
        groups.setdefault(getattr(result, attribute), []).append(result)
    return groups


def read(run_list: Sequence[Run]) -> list[Result]:
    """Every run once, with a label of its own.

    Raises:
        UserError: No run, a run without measurements, a damaged file, or two different folders
            that hold the same experiment and seed.
    """
    if not run_list:
        raise UserError("no run given; name at least one, such as runs/<dataset>/<name>/seed-0")
    unique = list({run.root.resolve(): run for run in run_list}.values())
    seen: dict[tuple[str, str, int], Run] = {}
    for run in unique:
        name = (run.experiment.data.dataset, run.experiment.name, run.experiment.seed)
        if name in seen:
            raise UserError(
                f"{run.root} and {seen[name].root} are both {name[0]}/{name[1]} seed {name[2]}; "
                "give one a name of its own with --set name=…"
            )
        seen[name] = run
    datasets = {name[0] for name in seen}
    experiments = [name[:2] for name in seen]
    results = []
    for (dataset, experiment, seed), run in seen.items():
        several = experiments.count((dataset, experiment)) > 1
        label = (f"{dataset}/" if len(datasets) > 1 else "") + experiment
        results.append(_result(run, f"{label} seed {seed}" if several else label))
    return results


def _result(run: Run, label: str) -> Result:
    frame = _measurements(run)
    plain = frame[frame["condition"] == "clean"]
    attack = frame[(frame["condition"] == "attack") & (frame["name"] == run.experiment.attack.name)]
    clean = {row.metric: estimate(row) for row in plain.itertuples()}
    if "accuracy" not in clean:
        raise UserError(f"{run.path('evaluate', 'measurements.csv')}: no clean accuracy in it")
    place = run.path("provenance.json")
    provenance = load_json(place) if place.exists() else {}
    classes = provenance.get("dataset", {}).get("classes", [])
    return Result(
        run=run,
        label=label,
        frame=frame,
        clean=clean,
        attacked={(row.metric, key(row.level)): estimate(row) for row in attack.itertuples()},
        epsilons=tuple(sorted({float(level) for level in attack["level"] if level > 0})),
        classes=tuple(str(name) for name in classes),
        history=_history(run.path("train", "history.jsonl")),
        provenance=provenance,
    )


def estimate(row: Any) -> Estimate:
    """The value, interval and n of a row of a tidy table."""
    count = int(row.n) if math.isfinite(row.n) else 0
    return Estimate(float(row.value), float(row.low), float(row.high), count)


def _measurements(run: Run) -> pd.DataFrame:
    path = run.path("evaluate", "measurements.csv")
    if not path.is_file():
        raise UserError(f"{run.root}: run 'evaluate' first")
    frame = tidy(path, TEXT, NUMBERS, stage="evaluate")
    test = frame[frame["split"] == "test"]
    return test if len(test) else frame


def tidy(path: Path, text: Sequence[str], numbers: Sequence[str], *, stage: str) -> pd.DataFrame:
    """A table that a stage wrote, its columns of numbers as floats, NaN where empty.

    Raises:
        UserError: Not readable, or a column is missing.
    """
    try:
        # As text first: a class called "NA" or "nan" must stay a name.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        missing = [column for column in (*text, *numbers) if column not in frame]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}")
        for column in numbers:
            frame[column] = [float(cell) if cell else math.nan for cell in frame[column]]
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable ({reason}); run '{stage}' again") from None
    return frame


def _history(path: Path) -> tuple[dict[str, Any], ...]:
    if not path.is_file():
        return ()
    epochs: dict[int, dict[str, Any]] = {}
    for line_number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            # A resumed training may have written an epoch twice; the later one counts.
            epochs[int(row["epoch"])] = row
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path} line {line_number}: not a history row") from None
    return tuple(epochs[epoch] for epoch in sorted(epochs))
