"""SEARCH: settings chosen by cross-validation inside the train split (attnrobust/data/folds.py).

    python -m experiments <dataset>.<name> search --folds 5 --grid training.learning_rate=1e-3,3e-4

Every point of the grid is trained on every fold, and each such cell is kept, or goes on where it
was cut off, like any training. All is in `runs/<dataset>/<name>-search/seed-<n>/`: `search.csv`,
`log.txt`, and a folder `<point>/fold-<k>-of-<folds>/` a cell.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import logging
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from attnrobust import config
from attnrobust.console import log_to
from attnrobust.disk import files, lock, runs, schemas
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.stages.context import Context
from attnrobust.studies.grid import Point, axes, points, require_one_measure

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("attnrobust")

FOLDS = 5


class Cell(Run):
    """One point on one fold: a run that neither `report` nor `transfer` finds.

    They look for `config.json`, and folds are no seeds that one may average over.
    """

    def _remember(self, used: Mapping[str, Any]) -> None:
        runs.save_json(self.path("cell.json"), json.loads(config.to_json(self.experiment)))


def search(
    context: Context,
    grid: Sequence[str],
    folds: int | None,
    *,
    train: Callable[[Context], None],
    words: Sequence[str],
) -> None:
    """Settings of --grid, each trained on --folds parts of the train split, to `search.csv`."""
    # Args: train: what trains a cell; words: the command that trains on everything.
    from attnrobust.training import ready as settings

    folds = FOLDS if folds is None else folds
    if folds < 2:
        raise UserError(f"--folds {folds}: expected at least 2")
    if context.experiment.data.folds:
        raise UserError("search sets data.folds and data.fold itself; leave them out of --set")
    tried = points(context.experiment, grid)
    if any(point.experiment.training.start for point in tried):
        raise UserError(
            "search: the run that training.start names has seen every fold; expected "
            "none (--set training.start=)"
        )
    require_one_measure(tried)
    root = place(context.run)
    cells = [[cell(root, point, folds, fold) for fold in range(folds)] for point in tried]
    # Before a night of training, not after it: every name is known, every class is in every fold.
    for point in tried:
        settings.ready(point.experiment)
    for each in cells[0]:
        dataclasses.replace(context, run=each).dataset()
    with lock.alone(root), log_to(root / "log.txt"):
        keep_other(root / "search.csv", table(tried, [[] for _ in tried], folds), list(axes(tried)))
        found: list[list[float]] = [[] for _ in tried]
        for row, accuracies in zip(cells, found, strict=True):
            for each in row:
                train(dataclasses.replace(context, run=each))
                _forget()
                # Only what this call has trained or found to fit, so that nothing else mixes in.
                accuracies.append(accuracy(each))
                shown = table(tried, found, folds)
                runs.save_text(root / "search.csv", shown.to_csv(index=False))
        log.info("%s\n%s", root / "search.csv", shown.to_string(index=False))
        _say(tried[best(shown)], shown["mean"].max(), folds, words)


def _say(chosen: Point, mean: float, folds: int, words: Sequence[str]) -> None:
    settings = list(map("=".join, chosen.settings.items()))
    command = [*words, *(word for setting in settings for word in ("--set", setting))]
    log.info(
        "best: %s, validation accuracy %.4f as the mean over %d folds (robust accuracy where "
        "training attacks); with it on the whole train split:\n  %s",
        ", ".join(settings),
        mean,
        folds,
        shlex.join(command),
    )


def place(run: Run) -> Path:
    """Where the search for an experiment's settings is kept: beside its runs."""
    return run.root.parents[1] / f"{run.experiment.name}-search" / run.root.name


def cell(root: Path, point: Point, folds: int, fold: int) -> Cell:
    """The run of one point on one fold; nothing is written."""
    name = "_".join(f"{key}-{text}" for key, text in point.settings.items())
    # What older searches have begun goes on under the name that it has.
    before = "".join(c if c.isalnum() or c in "_-." else "-" for c in name)
    safe = before if (root / before).is_dir() else files.safe_name(name)
    experiment = config.with_settings(
        point.experiment, [f"data.folds={folds}", f"data.fold={fold}"]
    )
    return Cell(root / safe / f"fold-{fold}-of-{folds}", experiment)


def accuracy(run: Run) -> float:
    """Validation accuracy of the epoch whose weights were kept; under attack, if it was measured.

    Raises:
        UserError: No history, or a damaged one.
    """
    from attnrobust.training.state import State

    file, state, kept = run.path("train", "history.jsonl"), State(), math.nan
    try:
        for row in schemas.load_history(file):
            if state.add(row, run.experiment.training.min_delta):
                kept = float(row.get("val_robust_accuracy", row["val_accuracy"]))
    except (UserError, KeyError):
        kept = math.nan
    if math.isnan(kept):
        raise UserError(f"{file}: not a history of training; add --force to train anew")
    return kept


def table(tried: Sequence[Point], found: Sequence[Sequence[float]], folds: int) -> pd.DataFrame:
    """A row a point: settings, mean and standard deviation (n - 1) over its folds, each fold, n.

    Args:
        tried: The points.
        found: For each one the accuracies of its first folds.
        folds: How many there will be.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for point, values in zip(tried, found, strict=True):
        rows.append(
            {
                **point.settings,
                "mean": fmean(values) if values else None,
                "sd": stdev(values) if len(values) > 1 else None,
                **{f"fold_{k}": values[k] if k < len(values) else None for k in range(folds)},
                "n": len(values),
            }
        )
    return pd.DataFrame(rows)


def keep_other(file: Path, new: pd.DataFrame, names: Sequence[str]) -> None:
    """Rename the table of another grid or number of folds to the next free `search-<n>.csv`.

    Args:
        file: The table, if there is one.
        new: The table that will take its place, empty as yet.
        names: Columns that hold the settings.
    """
    import pandas as pd

    if not file.is_file():
        return
    try:
        old = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError):  # what is no table is kept as well
        old = pd.DataFrame()
    if list(old) == list(new) and old[names].values.tolist() == new[names].values.tolist():
        return
    numbered = (file.with_name(f"{file.stem}-{n}{file.suffix}") for n in itertools.count(1))
    kept = next(place for place in numbered if not place.exists())
    file.rename(kept)
    log.info("the table of another grid is kept as %s", kept)


def best(shown: pd.DataFrame) -> int:
    """The row of the highest mean accuracy, the first of several."""
    return int(shown["mean"].astype(float).idxmax())


def _forget() -> None:
    """Drop what Keras and TensorFlow keep of a trained model, or it would add up over the cells."""
    from tensorflow import keras

    keras.backend.clear_session()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `search`."""
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=VALUE,VALUE",
        help="search: values of a setting to try; may be given often",
    )
    parser.add_argument("--folds", type=int, help=f"search: parts of the train split ({FOLDS})")


def refuse_mixture(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a usage error where `search` meets other stages, or its options go without it."""
    if "search" not in options.stage:
        if options.grid or options.folds is not None:
            parser.error("--grid and --folds are for search")
    elif len(options.stage) > 1 or options.label:
        parser.error("search goes alone, without other stages and --as; train with its best after")


def without(program: str, options: argparse.Namespace) -> list[str]:
    """The words of the command that trains what was searched for, without the found settings."""
    return [*program.split(), "train", *given(options, "records", "runs", "seed")]


def given(options: argparse.Namespace, *names: str) -> list[str]:
    """The words by which an experiment was chosen: --smoke, these options, every --set."""
    words = ["--smoke"] * options.smoke
    for name in names:
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return words + [word for setting in options.settings for word in ("--set", setting)]
