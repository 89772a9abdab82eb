"""Runs to results: measurements, stamps, history and provenance, read from disk."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from attnrobust.config import Explanation
from attnrobust.disk import schemas, stamps
from attnrobust.disk.runs import Run
from attnrobust.errors import Unfinished, UserError
from attnrobust.report.results import Estimate, Result, key


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
    if not {("accuracy", ""), ("dice", "")} & clean.keys():
        raise UserError(f"{run.path('evaluate', 'measurements.csv')}: no clean accuracy in it")
    place = run.path("provenance.json")
    again = "run 'train' again"
    known = place.exists()
    provenance = schemas.load_json(place, schemas.Provenance, again) if known else {}
    described = provenance.get("dataset") or {}
    labels = list(dict.fromkeys(frame[frame["condition"] == "attack"]["name"]))
    corruptions = dict.fromkeys(frame[frame["condition"] == "corruption"]["name"])
    results = []
    for label in labels or [""]:
        if label and label not in settings:
            raise UserError(
                f"{run.root}: attack '{label}' was measured, but is not there (any "
                "more); run 'evaluate' again"
            )
        norm = run.norm(label) if label else "linf"
        attacked = _estimates(frame, "attack", label)
        results.append(
            Result(
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
                classes=tuple(described.get("classes", [])),
                history=_history(run),
                provenance={**provenance, "dataset": described},
                seeds=seeds,
            )
        )
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
        raise Unfinished(
            f"{run.root}: attacks were made after they were measured; run 'evaluate' again"
        )
    if stamp and stamp.get("explained") and stamp["explained"] != run.explained():
        raise Unfinished(
            f"{run.root}: heatmaps were made after they were measured; run 'evaluate' again"
        )


def _measurements(run: Run) -> pd.DataFrame:
    _require_measured(run)
    path, stamp = run.path("evaluate", "measurements.csv"), run.stamp("evaluate")
    if stamp and stamps.outdated(stamp, "evaluate"):
        raise UserError(
            f"{run.root}: measured by an earlier version, which counted otherwise "
            "(CHANGELOG.md); run 'evaluate' again"
        )
    frame = schemas.load_table(path, schemas.MEASUREMENTS, stage="evaluate")
    # A temperature is no measurement of the validation split, but fitted there.
    ours = frame[(frame["split"] == "test") | (frame["metric"] == "temperature")]
    return ours if len(ours) else frame


def _history(run: Run) -> tuple[dict[str, Any], ...]:
    """A row for each epoch, rising; of one that a resumed training wrote twice the later one."""
    path = run.path("train", "history.jsonl")
    rows = schemas.load_history(path) if path.is_file() else []
    epochs = {int(row["epoch"]): row for row in rows}
    return tuple(epochs[epoch] for epoch in sorted(epochs))
