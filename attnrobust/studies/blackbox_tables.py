"""A paper's transfer tables with our models: each judged by adversarials of all, and by noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnrobust import task
from attnrobust.disk import runs, schemas
from attnrobust.measures import metrics
from attnrobust.report.paper_kinds import Judged, Transfer

COLUMNS = ("images", "attack", "source", "target", "metric", "value", "low", "high", "n")
CLEAN, NOISE, ADVERSARIAL = "clean", "noise", "adversarial"
OURS, PAPERS = "ours", "paper"
# Columns that live close to 0 or 1.
FINE = ("ssim", "low", "high", "noise_apart", "linf")


def file_of(folder: Path, source: str, attack: str) -> Path:
    """Where adversarials of one model by one attack have left what all see in them."""
    return folder / f"{runs.safe_name(source)}-{runs.safe_name(attack)}.npz"


def measure(
    folder: Path, names: Sequence[str], attacks: Sequence[str], kind: str = "classify"
) -> pd.DataFrame:
    """Accuracy or mean Dice of every model on clean, noisy and adversarial images, with intervals.

    As in such papers' tables, an image that is wrong without an attack may be right under one.

    Args:
        folder: With the files that `attacks/blackbox.py` writes.
        names: Of the models.
        attacks: What the paper calls its attacks.
        kind: Row of TASKS.

    Returns:
        A row for each target, images, attack and source, and for the `average` over all attacks
        and sources, and over those of other models (`black box`).
    """
    row = task.TASKS[kind]
    base = schemas.load_npz(folder / f"{CLEAN}.npz", schemas.judged(names, kind))
    groups, labels = base.get("group"), base["label"]
    rows: list[list[Any]] = []
    kept: dict[tuple[str, str], list[tuple[bool, np.ndarray]]] = {}
    for target in names:
        cells, _ = _cells(row, base[f"{row.scores}-{target}"], labels, groups)
        rows.append([CLEAN, "", "", target, *cells])
    for attack in attacks:
        for source in names:
            place = file_of(folder, source, attack)
            found = schemas.load_npz(place, schemas.crafted(names, kind))
            if not np.array_equal(found["id"], base["id"]):
                raise schemas.damaged(place, f"other images than in {CLEAN}.npz")
            for target in names:
                for images, key in ((ADVERSARIAL, row.scores), (NOISE, "noisy")):
                    cells, each = _cells(row, found[f"{key}-{target}"], labels, groups)
                    rows.append([images, attack, source, target, *cells])
                    kept.setdefault((images, target), []).append((source != target, each))
    for (images, target), parts in kept.items():
        for name, chosen in (
            ("average", [right for _, right in parts]),
            ("black box", [right for foreign, right in parts if foreign]),
        ):
            share = np.mean(chosen, axis=0)
            value = metrics.mean(share, groups=groups)
            rows.append([images, name, "", target, *_told(row, value, share)])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _cells(
    row: task.Task, scores: np.ndarray, labels: np.ndarray, groups: np.ndarray | None
) -> tuple[list[Any], np.ndarray]:
    """Metric, value, interval and n; and what each image adds (N,)."""
    each = row.score(scores, labels) if row.graded else row.right(scores, labels)
    measure_of = metrics.mean if row.graded else metrics.proportion
    return _told(row, measure_of(each, groups=groups), each), each


def _told(row: task.Task, measured: metrics.Measured, each: np.ndarray) -> list[Any]:
    metric = "dice" if row.graded else "accuracy"
    return [metric, measured.value, measured.low, measured.high, len(each)]


def likeness(
    folder: Path, names: Sequence[str], attacks: Mapping[str, str], kind: str = "classify"
) -> pd.DataFrame:
    """How visible adversarials and their noisy twins are.

    Args:
        folder: As for `measure`.
        names: Of the models.
        attacks: How each attack's adversarials are read, by its name.
        kind: Row of TASKS.

    Returns:
        For each attack and source the share of images that were changed (an attack for the least
        perturbation leaves those alone that are wrong already), and of these: the SSIM's median
        and its 5 % and 95 % quantiles, the largest difference between an adversarial's and its
        twin's, the perturbation's median sizes. NaN where none was changed.
    """
    rows = []
    for attack, reading in attacks.items():
        for source in names:
            found = schemas.load_npz(file_of(folder, source, attack), schemas.crafted(names, kind))
            changed = found["linf"] > 0
            numbers = [np.nan] * 6
            if changed.any():
                ssim, noisy, *sizes = (
                    found[key][changed] for key in ("ssim", "noisy_ssim", "linf", "l2")
                )
                quantiles = np.quantile(ssim, [0.5, 0.05, 0.95])
                medians = [float(np.median(size)) for size in sizes]
                numbers = [*quantiles, float(np.abs(ssim - noisy).max()), *medians]
            rows.append([attack, reading, source, changed.mean(), *numbers])
    columns = "attack reading source changed ssim low high noise_apart linf l2"
    return pd.DataFrame(rows, columns=columns.split())


def table_1(
    measured: pd.DataFrame, heads: Mapping[str, str], paper: Transfer | None
) -> pd.DataFrame:
    """Clean, noise, average over all adversarials, and the drop in points, ours and the paper's.

    Args:
        measured: As `measure` gives it.
        heads: What each model is called here, by its name.
        paper: Whose numbers are set beside ours.

    Returns:
        A row a model, and one for each of the paper's; `others` is the average without the
        attacks on the model itself, `noise` that over the twins of all adversarials.
    """
    value = measured.set_index(["images", "attack", "source", "target"])["value"]
    rows = []
    for name, head in heads.items():
        clean, noise = value[CLEAN, "", "", name], value[NOISE, "average", "", name]
        average, others = (value[ADVERSARIAL, kind, "", name] for kind in ("average", "black box"))
        rows.append([head, OURS, clean, noise, average, 100 * (clean - average), others])
        if theirs := _of(paper, head):
            cells = (theirs.clean, theirs.noise, theirs.average, 100 * theirs.drop)
            rows.append([head, PAPERS, *cells, _foreign(paper, theirs)])
    columns = ["model", "whose", "clean", "noise", "average", "drop", "others"]
    return pd.DataFrame(rows, columns=columns)


def table_2(
    measured: pd.DataFrame,
    heads: Mapping[str, str],
    attacks: Sequence[str],
    paper: Transfer | None,
) -> pd.DataFrame:
    """Accuracy of each model (rows) on each attack's adversarials of each model (columns).

    Args:
        measured: As `measure` gives it.
        heads: What each model is called here, by its name.
        attacks: In the order of the columns.
        paper: Whose numbers are set beside ours.
    """
    value = measured.set_index(["images", "attack", "source", "target"])["value"]
    rows = []
    for name, head in heads.items():
        cells = {
            f"{attack} {heads[source]}": value[ADVERSARIAL, attack, source, name]
            for attack in attacks
            for source in heads
        }
        rows.append({"model": head, "whose": OURS, **cells})
        if paper and (theirs := _of(paper, head)):
            published = {
                f"{attack} {model.name}": number
                for attack, numbers in theirs.accuracy.items()
                for model, number in zip(paper.models, numbers, strict=True)
            }
            known = {cell: published.get(cell, np.nan) for cell in cells}
            rows.append({"model": head, "whose": PAPERS, **known})
    return pd.DataFrame(rows)


def _of(paper: Transfer | None, head: str) -> Judged | None:
    models = paper.models if paper else []
    return next((model for model in models if model.name == head), None)


def _foreign(paper: Transfer | None, theirs: Judged) -> float:
    """The paper's average without the attacks on the model itself, by its own table."""
    assert paper
    own = [model.name for model in paper.models].index(theirs.name)
    numbers = [np.delete(each, own) for each in theirs.accuracy.values()]
    return float(np.mean(numbers))


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown: three digits after the point, four of SSIM and sizes, `drop` one."""

    def said(column: str, value: Any) -> str:
        if not isinstance(value, float):
            return str(value)
        digits = 1 if column == "drop" else 4 if column in FINE else 3
        return "" if np.isnan(value) else f"{value:.{digits}f}"

    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[said(*cell) for cell in row.items()] for row in table.to_dict("records")]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def page(
    made: Mapping[str, pd.DataFrame],
    heads: Mapping[str, str],
    short: str,
    note: str,
    *,
    count: int,
) -> str:
    """The tables as one Markdown page.

    Args:
        made: By name, as they are written.
        heads: What each model is called.
        short: The paper's name.
        note: What is to be known of its numbers.
        count: Images.
    """
    moved = ""
    if "embedding" in made:
        moved = f"""
## How far embeddings are moved

Median, as a share of the median distance between images of two classes.

{markdown(made["embedding"])}
"""
    models = "\n".join(f"- {head}: {name}" for name, head in heads.items())
    return f"""# Adversarials of each model, judged by all: as in {short}

{count:,} test images. Rows marked “paper” are not ours. {note}

{models}

## Table 1: clean, noisy and adversarial images

`noise` is the mean over a noisy twin of every adversarial, of the same SSIM; `drop` is in points;
`others` is the average without the attacks on the model itself.

{markdown(made["table-1"])}

## Table 2: each model (rows) under each attack made on each model (columns)

{markdown(made["table-2"])}

## How visible the adversarials are

The share of images that were changed, and of these: SSIM as median, 5 % and 95 %; `noise_apart`,
how far a noisy twin's is from it at most; sizes as medians, in [0, 1] pixel scale. An attack that
is read “as found” stops at the border of its own model, and leaves alone what is wrong already.

{markdown(made["likeness"])}
{moved}"""
