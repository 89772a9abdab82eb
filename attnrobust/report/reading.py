"""Runs to results: measurements, stamps, history and provenance, read from disk."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from attnrobust import stamps
from attnrobust.config import Explanation
from attnrobust.errors import Unfinished, UserError
from attnrobust.report.results import Estimate, Result, key
from attnrobust.runs import Run, load_json

TEXT = ("dataset", "experiment", "split", "condition", "name", "metric")
NUMBERS = ("seed", "level", "value", "low", "high", "n")


def finished(run_list: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Runs whose measurements are there; of the others why they are left out, in words.

    Raises:
        UserError: There is none, which is the reason of the first; a damaged file.
    """
    kept, wrong = [], []
    for run in run_list:
        try:
            _require_measured(run)
            kept.append(run)
        except Unfinished as error:
            wrong.append(error)
    if wrong and not kept:
        raise wrong[0]
    return kept, [str(error) for error in wrong]


def read(run_list: Sequence[Run]) -> list[Result]:
    """Every run under every attack that was measured; a run without one stands there once.

    Raises:
        UserError: No run, a run without measurements, with attacks made after them or weights made
            after its predictions, a damaged file, or two different folders that hold the same
            experiment and seed.
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
        shown = f"{label} seed {seed}" if several else label
        results += _of_run(run, shown, seeds=experiments.count((dataset, experiment)))
    return results


def _of_run(run: Run, name: str, *, seeds: int) -> list[Result]:
    frame, settings = _measurements(run), run.attacks()
    clean = _estimates(frame, "clean")
    if ("accuracy", "") not in clean:
        raise UserError(f"{run.path('evaluate', 'measurements.csv')}: no clean accuracy in it")
    place = run.path("provenance.json")
    provenance = load_json(place) if place.exists() else {}
    labels = list(dict.fromkeys(frame[frame["condition"] == "attack"]["name"]))
    corruptions = dict.fromkeys(frame[frame["condition"] == "corruption"]["name"])
    results = []
    for label in labels or [""]:
        if label and label not in settings:
            raise UserError(f"{run.root}: attack '{label}' was measured, but is not there (any "
                            "more); run 'evaluate' again")  # fmt: skip
        norm = run.norm(label) if label else "linf"
        attacked = _estimates(frame, "attack", label)
        results.append(Result(
            run=run,
            name=name,
            label=name,
            attack=label,
            setting=settings.get(label, run.experiment.attack),
            norm=norm,
            explanation=_explanation(run, label),
            frame=frame,
            clean={metric: value for (metric, _), value in clean.items()},
            corrupted={each: _estimates(frame, "corruption", each) for each in corruptions},
            attacked=attacked,
            worst=_estimates(frame, "worst_case", norm),
            epsilons=tuple(sorted({float(e) for _, e in attacked if e and float(e) > 0})),
            classes=tuple(map(str, provenance.get("dataset", {}).get("classes", []))),
            history=_history(run.path("train", "history.jsonl")),
            provenance=provenance,
            seeds=seeds,
        ))  # fmt: skip
    # A class aimed at and a paper's reading are named even where there is no other attack.
    marked = any(
        each.attack and (each.setting.target or each.setting.outputs != "logits")
        for each in results
    )
    if len(results) < 2 and not marked:
        return results
    return [dataclasses.replace(each, label=f"{name}, {each.named}") for each in results]


def _estimates(
    frame: pd.DataFrame, condition: str, name: str = ""
) -> dict[tuple[str, str], Estimate]:
    """By metric and epsilon as text, which is empty where there is none."""
    chosen = frame[(frame["condition"] == condition) & (frame["name"] == name)]
    return {
        (row.metric, "" if math.isnan(row.level) else key(row.level)): estimate(row)
        for row in chosen.itertuples()
    }


def _explanation(run: Run, label: str) -> Explanation:
    place = run.place_of("explain", label)
    stamp = run.stamp(place)
    if not stamp:
        return run.experiment.explanation
    return stamps.explanation(stamp, run.path(place, "stage.json"))


def estimate(row: Any) -> Estimate:
    """The value, interval and n of a row of a tidy table."""
    count = int(row.n) if math.isfinite(row.n) else 0
    return Estimate(float(row.value), float(row.low), float(row.high), count)


def _require_measured(run: Run) -> None:
    """Raise Unfinished unless what is there has been measured."""
    run.require_fresh()
    if not run.path("evaluate", "measurements.csv").is_file():
        raise Unfinished(f"{run.root}: run 'evaluate' first")
    stamp = run.stamp("evaluate")
    if stamp and stamp["inputs"] != run.measured():
        raise Unfinished(f"{run.root}: attacks were made after they were measured; run 'evaluate' "
                         "again")  # fmt: skip


def _measurements(run: Run) -> pd.DataFrame:
    _require_measured(run)
    path, stamp = run.path("evaluate", "measurements.csv"), run.stamp("evaluate")
    if stamp and stamps.outdated(stamp, "evaluate"):
        raise UserError(f"{run.root}: measured by an earlier version, which counted otherwise "
                        "(CHANGELOG.md); run 'evaluate' again")  # fmt: skip
    frame = tidy(path, TEXT, NUMBERS, stage="evaluate")
    # A temperature is no measurement of the validation split, but fitted there.
    ours = frame[(frame["split"] == "test") | (frame["metric"] == "temperature")]
    return ours if len(ours) else frame


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
