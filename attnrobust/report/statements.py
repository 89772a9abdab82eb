"""What papers state in words or single numbers, beside the same condition of our runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from attnrobust.report import papers
from attnrobust.report.blocks import Table
from attnrobust.report.compared import Compared
from attnrobust.report.paper_kinds import Model, Paper, Said, Statements
from attnrobust.report.results import (
    NOTHING,
    Estimate,
    Result,
    combine,
    grouped,
    heads,
    key,
    number,
)

WHAT = {"accuracy": "accuracy", "correlation": "heatmaps, clean and attacked"}
Held = Mapping[tuple[Path, str], Compared]


def tables(results: Sequence[Result], compared: Sequence[Compared]) -> list[Table]:
    """A table for each paper and each data set and backbone of it that was run; none for others."""
    held = {each.result.key: each for each in compared}
    return [
        table
        for paper in papers.read().values()
        if paper.statements
        for panel, members in grouped(results, "panel").items()
        if (table := _table(paper, paper.statements, panel, members, held))
    ]


def about(stated: Statements, dataset: str, backbone: str) -> list[Said]:
    """What a paper says of a data set and backbone, in the file's order."""
    return [
        said
        for part in stated.of
        if (part.dataset, part.backbone) == (dataset, backbone)
        for said in part.said
    ]


def model(stated: Statements, said: Said) -> Model:
    """The models that something is said of."""
    return next(each for each in stated.models if each.name == said.model)


def at(stated: Statements, dataset: str, backbone: str, epsilon: float) -> str:
    """What a paper says of accuracy at an epsilon, and of which models; a dash for nothing."""
    words = []
    for said in about(stated, dataset, backbone):
        if said.metric == "accuracy" and key(said.epsilon) == key(epsilon):
            brief = model(stated, said).brief
            named = said.words.endswith(f", {brief}")
            words.append(said.words if named else f"{said.words} ({brief})")
    return "; ".join(words) or NOTHING


def _table(
    paper: Paper,
    stated: Statements,
    panel: tuple[str, str, str],
    members: Sequence[Result],
    held: Held,
) -> Table | None:
    dataset, backbone, label = panel
    found = about(stated, dataset, backbone)
    if not found or not all(papers.as_theirs(paper, each) for each in members):
        return None
    rows = [row for said in found for row in _rows(stated, said, members, held)]
    columns = ("What", stated.head, "Where", "Our model", "Ours")
    return Table(
        name=f"published-{dataset}-{backbone}-{label}",
        caption=f"Published: {dataset}, {backbone}; ours under {label}. The second column is the "
        "paper’s.",
        columns=columns,
        rows=tuple(rows),
        frame=pd.DataFrame(rows, columns=list(columns)),
        note=stated.note,
    )


def _rows(
    stated: Statements, said: Said, members: Sequence[Result], held: Held
) -> Iterator[tuple[str, ...]]:
    """A row for each of our models that the statement is about; one with dashes if none is."""
    where = f"at ε\u00a0=\u00a0{number(said.epsilon)}" if said.epsilon else "without an attack"
    heading = f"{WHAT[said.metric]} {where}, {said.model}"
    fitting = [each for each in members if papers.holds(model(stated, said).where, each)]
    for head, seeds in heads(fitting) or [(NOTHING, [])]:
        ours = combine([_value(said, each, held) for each in seeds])
        yield heading, said.words, said.source, head, ours


def _value(said: Said, result: Result, held: Held) -> Estimate | None:
    epsilon = said.epsilon / result.asked_scale
    if said.metric == "accuracy":
        return result.under("accuracy", epsilon) if epsilon else result.clean["accuracy"]
    mine = held.get(result.key)
    return mine.at(mine.methods[0], "all", said.metric, epsilon) if mine else None
