"""Accuracy under corruptions: by severity, as a mean, and as error relative to a baseline."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from attnrobust.errors import UserError
from attnrobust.measures.corruption_error import corruption_errors
from attnrobust.report import corruption_figures, wording
from attnrobust.report.blocks import Asked, Section, Table
from attnrobust.report.commands import again
from attnrobust.report.figures import colours
from attnrobust.report.results import (
    NOTHING,
    Estimate,
    Result,
    by_dataset,
    combine,
    grouped,
    heads,
    levels,
    mean_accuracy,
    once,
)

WORDS = (
    "Accuracy on the test images as worse equipment, storage or handling would give them. What "
    "happens to an image is the same for every model."
)
FORMULA = (
    "Mean corruption error (Hendrycks and Dietterich 2019): for each corruption a model’s error, "
    "summed over the severities, divided by the baseline’s; then the mean of these ratios. Below 1 "
    "is better than the baseline. It counts all errors, not those that the corruption adds: read "
    "it beside the accuracy without one."
)
# Of each corruption the severities, as text.
Severities = dict[str, list[str]]


def section(results: Sequence[Result], asked: Asked) -> Section | None:
    """Figures and tables, one of each for every dataset, or None where nothing was corrupted.

    Args:
        results: Of all runs.
        asked: Its baseline is what errors are relative to; the first of each dataset if None.

    Raises:
        UserError: That experiment is not there, or has no corruptions.
    """
    baseline = asked.baseline
    corrupted = [each for each in once(results) if each.corrupted]
    known = list(dict.fromkeys(each.group[1] for each in corrupted))
    if baseline is not None and baseline not in known:
        raise UserError(
            f"--baseline {baseline}: expected a run of this page that has corruptions: "
            f"{', '.join(known) or 'there is none'}"
        )
    if not corrupted:
        return None
    parts = by_dataset(corrupted)
    words = [WORDS]
    if without := [each for each in once(results) if not each.corrupted]:
        chosen = f"--force --set corruptions.names={','.join(corrupted[0].corrupted)}"
        made = [
            again(each.run, "predict evaluate", place="predict", more=chosen) for each in without
        ]
        words.append(
            f"Without corruptions: {', '.join(each.name for each in without)}. This "
            f"measures them: {' && '.join(made)}"
        )
    if any(len(grouped(members, "group")) > 1 for members in parts.values()):
        words.append(FORMULA)
    return Section(
        "corruptions",
        "Corruptions",
        (
            *words,
            *(
                corruption_figures.figure(members, list(shared(members)), colours(results))
                for members in parts.values()
            ),
            *(_table(members, baseline) for members in parts.values()),
        ),
        {
            f"corruptions-{name}-severities": _rows(members, "accuracy")
            for name, members in parts.items()
        },
    )


def shared(members: Sequence[Result]) -> Severities:
    """Every corruption of any run, with the severities that all runs that have it share."""
    names = dict.fromkeys(itertools.chain.from_iterable(each.corrupted for each in members))
    return {
        name: sorted(
            set.intersection(
                *(levels(each.corrupted[name]) for each in members if name in each.corrupted)
            ),
            key=float,
        )
        for name in names
    }


def relative(
    members: Sequence[Result], baseline: Sequence[Result], severities: Severities
) -> dict[str, dict[str, float]]:
    """Of each run, by name, its error under each corruption over the baseline's.

    Args:
        members: The runs.
        baseline: Those of the baseline; their mean error counts.
        severities: What is compared; all runs have it.

    Raises:
        UserError: No corruption, or the baseline makes no error under one.
    """
    if not severities:
        raise UserError("there is no corruption that all runs have")
    errors = {
        each.name: {
            name: [1 - each.corrupted[name]["accuracy", level].value for level in severity]
            for name, severity in severities.items()
        }
        for each in members
    }
    mean = {
        name: list(np.mean([errors[each.name][name] for each in baseline], axis=0))
        for name in severities
    }
    return {name: corruption_errors(own, mean) for name, own in errors.items()}


def _table(members: Sequence[Result], baseline: str | None) -> Table:
    dataset, severities = members[0].dataset, shared(members)
    columns = heads(members)
    rows = [
        (
            "none",
            NOTHING,
            *(combine([each.clean["accuracy"] for each in seeds]) for _, seeds in columns),
        )
    ]
    for name, severity in severities.items():
        cells = [
            combine([mean_accuracy(each.corrupted.get(name, {}), severity) for each in seeds])
            for _, seeds in columns
        ]
        rows.append((name, _severities(severity), *cells))
    frame, note = _rows(members, "mean_accuracy"), ""
    if len(columns) > 1:
        row, errors, note = _against(members, severities, baseline)
        rows.append(row)
        frame = pd.concat([frame, errors])
    return Table(
        name=f"corruptions-{dataset}",
        caption=f"Accuracy under each corruption, mean over the severities: {dataset}.",
        columns=("Corruption", "Severities", *(head for head, _ in columns)),
        rows=tuple(rows),
        frame=frame,
        note=f"{note}In brackets: 95 % interval{wording.made_by(members, 'mean_accuracy')}. The "
        f"same by severity: tables/corruptions-{dataset}-severities.csv.",
    )


def _severities(severity: Sequence[str]) -> str:
    if len(severity) > 2 and float(severity[-1]) - float(severity[0]) == len(severity) - 1:
        return f"{severity[0]}–{severity[-1]}"
    return ", ".join(severity) or NOTHING


def _against(
    members: Sequence[Result], severities: Severities, baseline: str | None
) -> tuple[tuple[str, ...], pd.DataFrame, str]:
    """The row of mean corruption errors, every ratio as rows of a file, and what must be said."""
    groups = {group[1]: seeds for group, seeds in grouped(members, "group").items()}
    chosen = baseline if baseline in groups else next(iter(groups))
    used = {
        name: severity
        for name, severity in severities.items()
        if severity and all(name in each.corrupted for each in members)
    }
    head = "mean corruption error"
    try:
        errors = relative(members, groups[chosen], used)
    except UserError as error:
        return (
            (head, *(NOTHING,) * (len(groups) + 1)),
            pd.DataFrame(),
            f"No mean corruption error: {error}. ",
        )
    means = {name: Estimate(float(np.mean(list(each.values())))) for name, each in errors.items()}
    cells = [combine([means[each.name] for each in seeds]) for seeds in groups.values()]
    rows = [
        {
            "dataset": each.group[0],
            "experiment": each.group[1],
            "seed": each.run.experiment.seed,
            "condition": "corruption",
            "name": name,
            "metric": f"error_relative_to_{chosen}",
            "value": value,
        }
        for each in members
        for name, value in (*errors[each.name].items(), ("mean", means[each.name].value))
    ]
    note = f"The baseline of the mean corruption error is {chosen}. "
    if out := [name for name in severities if name not in used]:
        note += f"It leaves out what not all runs have: {', '.join(out)}. "
    return (head, NOTHING, *cells), pd.DataFrame(rows), note


def _rows(members: Sequence[Result], metric: str) -> pd.DataFrame:
    """Rows of the runs' own tables, with what a severity stands for."""
    frame = pd.concat([each.frame for each in members])
    frame = frame[(frame["condition"] == "corruption") & (frame["metric"] == metric)]
    frame = frame.astype({"seed": "Int64", "n": "Int64", "level": "Int64"})
    return frame.rename(columns={"level": "severity"})
