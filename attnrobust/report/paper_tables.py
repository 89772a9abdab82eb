"""Sections of papers: the rows of their tables, and below each our runs that stand in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from attnrobust.report import paper_figures, papers
from attnrobust.report.blocks import Asked, Block, Section, Table
from attnrobust.report.figures import colours
from attnrobust.report.paper_kinds import Chapter, Column, Paper, Published
from attnrobust.report.results import (
    NOTHING,
    Estimate,
    Result,
    combine,
    grouped,
    heads,
    mean_accuracy,
    once,
)

# Rows that results stand in, by their keys.
Places = Mapping[tuple[Path, str], str]


def sections(results: Sequence[Result], _: Asked) -> list[Section]:
    """The sections of every paper that these runs have something for, in the files' order."""
    made = (
        section(paper, chapter, results)
        for paper in papers.read().values()
        for chapter in paper.sections
    )
    return [each for each in made if each]


def section(paper: Paper, chapter: Chapter, results: Sequence[Result]) -> Section | None:
    """Words, figures and tables of a chapter, or None where no run is its own."""
    ours = [each for each in results if papers.holds(chapter.runs, each)]
    stands = papers.stands(paper, (*chapter.tables, *chapter.figures), ours)
    fitting = {root for found in stands.values() for root, _ in found}
    if not (ours if chapter.always else fitting):
        return None
    words = list(chapter.words)
    out = list(dict.fromkeys(each.name for each in ours if each.run.root not in fitting))
    if out and chapter.left_out:
        words.append(f"{chapter.left_out}{', '.join(out)}.")
    look = colours(results)
    pictures = (
        paper_figures.draw(paper, part, _in_rows(part.shown, ours, stands[part.name]), look)
        for part in chapter.figures
    )
    tables = (_table(paper, chapter, part, ours, stands[part.name]) for part in chapter.tables)
    blocks: list[Block] = list(words)
    blocks += [each for each in (*pictures, *tables) if each]
    return Section(chapter.anchor, chapter.title, blocks)


def _in_rows(
    rows: Iterable[str], ours: Sequence[Result], places: Places, *, more: bool = False
) -> dict[str, list[Result]]:
    """Our results by row, in the order of the paper's, and `more` of ours after them."""
    found: dict[str, list[Result]] = {row: [] for row in rows}
    for each in ours:
        row = places.get(each.key, "")
        if row and (more or row in found):
            found.setdefault(row, []).append(each)
    return found


def _table(
    paper: Paper, chapter: Chapter, table: Published, ours: Sequence[Result], places: Places
) -> Table | None:
    """A paper's table with our rows, or None where none of those that it needs is ours."""
    # What does not depend on the attack is shown once.
    counted = ours if chapter.by_attack else once(ours)
    of_rows = _in_rows(table.values, counted, places, more=table.more)
    if table.needs and not any(of_rows[row] for row in table.needs):
        return None
    rows: list[tuple[str, ...]] = []
    records: list[dict[str, Any]] = []
    for row, mine in of_rows.items():
        if row in table.values:
            values = list(zip(table.columns, table.values[row], strict=True))
            rows.append((f"{row}, paper", *(_theirs(*pair) for pair in values)))
            records.append({table.csv: row, "model": "paper"} | _numbers(values))
        for head, seeds in _by_attack(paper, mine) if chapter.by_attack else heads(mine):
            rows.append(
                (f"{row}, {head}", *(_kind(c).cell(paper, c, seeds) for c in table.columns))
            )
            for each in seeds:
                start = {table.csv: row, "model": each.label, "seed": each.run.experiment.seed}
                found = (_kind(c).record(paper, c, each) for c in table.columns)
                records.append(start | {name: v for part in found for name, v in part.items()})
    return Table(
        name=table.name,
        caption=table.caption,
        columns=(table.head, *(column.title for column in table.columns)),
        rows=tuple(rows),
        frame=_frame(table, records),
        note=table.note,
    )


def _frame(table: Published, records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The records as a table; whole numbers stay whole where some are not known."""
    names = [name for column in table.columns for name in _kind(column).names(column)]
    frame = pd.DataFrame(records, columns=[table.csv, "model", "seed", *names])
    whole = {name for column in table.columns for name in _kind(column).whole(column)}
    return frame.astype(
        dict.fromkeys(("seed", *(name for name in names if name in whole)), "Int64")
    )


def _theirs(column: Column, value: str | float) -> str:
    return f"{value:.{column.digits}f}" if isinstance(value, float) else str(value)


def _numbers(values: Sequence[tuple[Column, str | int | float]]) -> dict[str, Any]:
    return {c.csv or c.title: value for c, value in values if not isinstance(value, str)}


def _by_attack(paper: Paper, mine: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    """Every experiment under each of its attacks at the paper's ε; once where there is none."""
    for of_group in grouped(mine, "group").values():
        attacks = grouped([each for each in of_group if _attacked(paper, each)], "attack")
        for label, part in attacks.items():
            ((head, seeds),) = heads(part)
            usual = all(papers.as_theirs(paper, each) for each in seeds)
            if not usual or len(attacks) > 1:
                head = f"{head}, {_said(paper, label, seeds)}"
            yield head, seeds
        if not attacks:
            yield heads(once(of_group))[0]


def _said(paper: Paper, label: str, seeds: Sequence[Result]) -> str:
    """What an attack is called, and what it is where it is not the paper's."""
    if all(papers.as_theirs(paper, each) for each in seeds):
        return label
    setting = seeds[0].setting
    target = f" targeted at {setting.target}" if setting.target else ""
    return f"{label} ({setting.name}, {setting.steps} steps{target})"


def _attacked(paper: Paper, result: Result) -> Estimate | None:
    """Mean robust accuracy at the paper's ε, or None where one was not measured."""
    if paper.attack is None or result.norm != paper.attack.norm:
        return None
    return mean_accuracy(result.attacked, papers.epsilons(paper.attack))


def _measured(paper: Paper, column: Column, result: Result) -> Estimate | None:
    if column.condition == "clean":
        return result.clean.get(column.metric)
    if column.condition == "attack":
        return _attacked(paper, result)
    found, severities = result.corrupted.get(column.name, {}), list(map(str, column.severities))
    if len(severities) > 1:
        return mean_accuracy(found, severities)
    return found.get((column.metric, severities[0]))


def _estimates(paper: Paper, column: Column, seeds: Sequence[Result]) -> str:
    return combine([_measured(paper, column, each) for each in seeds])


def _estimate(paper: Paper, column: Column, result: Result) -> dict[str, Any]:
    found = _measured(paper, column, result)
    return {column.csv or column.title: found.value if found else math.nan}


def _settings(_: Paper, column: Column, seeds: Sequence[Result]) -> str:
    return "–".join(map(str, sorted({papers.value_of(column.name, each) for each in seeds})))


def _setting(_: Paper, column: Column, result: Result) -> dict[str, Any]:
    return {column.csv or column.title: papers.value_of(column.name, result)}


def _times(_: Paper, __: Column, seeds: Sequence[Result]) -> str:
    times = [seconds for each in seeds if (seconds := _seconds(each))]
    epochs = sorted({len(each.history) for each in seeds})
    spent = _spoken(sum(times) / len(times)) if times else NOTHING
    return f"{spent} ({'–'.join(map(str, epochs))} epochs)"


def _time(_: Paper, __: Column, result: Result) -> dict[str, Any]:
    return {"seconds": _seconds(result), "epochs": len(result.history)}


def _seconds(result: Result) -> float | None:
    """Of training; of all epochs at least, since a stage that was cut off knows its last part."""
    epochs = sum(float(row.get("seconds", 0)) for row in result.history)
    return max(result.run.seconds("train") or 0.0, epochs) or None


def _spoken(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _own(column: Column) -> tuple[str, ...]:
    return (column.csv or column.title,)


class Kind(NamedTuple):
    """How a column's cell is said of several seeds, and what a file holds of one.

    Attributes:
        cell: Paper, column and seeds to text.
        record: Paper, column and result to numbers by their heads in the file.
        names: These heads, of a column.
        whole: Of these, which are whole numbers.
    """

    cell: Callable[[Paper, Column, Sequence[Result]], str]
    record: Callable[[Paper, Column, Result], dict[str, Any]]
    names: Callable[[Column], tuple[str, ...]] = _own
    whole: Callable[[Column], tuple[str, ...]] = lambda _: ()


def _kind(column: Column) -> Kind:
    return KINDS.get(column.condition, MEASURED)


MEASURED = Kind(_estimates, _estimate)
# By condition of a column; all others are measured.
KINDS = {
    "setting": Kind(_settings, _setting, whole=_own),
    "training time": Kind(_times, _time, lambda _: ("seconds", "epochs"), lambda _: ("epochs",)),
}
