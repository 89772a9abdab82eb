"""All attacks of a norm side by side, and the worst case over them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from attnrobust.attacks.methods import departures
from attnrobust.report.blocks import Table
from attnrobust.report.results import (
    NOTHING,
    Result,
    combine,
    grouped,
    heads,
    key,
    number,
    of_255,
    once,
)
from attnrobust.report.wording import NORMS


def tables(results: Sequence[Result]) -> list[Table]:
    """Robust accuracy under every attack, a table for each dataset, backbone and norm.

    Only where several attacks share the norm and an epsilon; at these epsilons.
    """
    made = []
    for members in grouped(results, "architecture").values():
        for norm, mine in grouped(members, "norm").items():
            table = _of_norm(mine, norm)
            if table.rows:
                made.append(table)
    return made


def _of_norm(members: Sequence[Result], norm: str) -> Table:
    dataset, backbone = members[0].architecture
    by_attack = grouped(members, "named")
    epsilons = sorted({key(e): e for each in members for e in each.epsilons}.values())
    rows = []
    for epsilon in epsilons:
        for mine in grouped(members, "group").values():
            runs = once(mine)
            worst = combine([each.worst.get(("accuracy", key(epsilon))) for each in runs])
            if worst == NOTHING:
                continue
            cells = [_cell(runs, mine, label, epsilon) for label in by_attack]
            head = heads(runs)[0][0]
            rows.append((number(epsilon), of_255(members[0], epsilon), head, *cells, worst))
    frame = pd.concat([each.frame for each in once(members)])
    chosen = (frame["condition"] == "worst_case") & (frame["name"] == norm) | (
        (frame["condition"] == "attack") & frame["name"].isin({each.attack for each in members})
    )
    frame = frame[chosen & (frame["metric"] == "accuracy")]
    columns = ("ε", "255\u00a0ε", "Model", *by_attack, "worst case")
    return Table(
        name=f"all-attacks-{dataset}-{backbone}-{norm}",
        caption=f"All {NORMS[norm]} attacks: robust accuracy, {dataset}, {backbone}.",
        columns=columns,
        rows=tuple(rows),
        frame=frame.astype({"seed": "Int64", "n": "Int64"}),
        note="Worst case: an image counts only if it is classified right without an attack and "
        f"under every attack that was run at this ε. It is the number to quote.{_other(members)}",
        bold=frozenset({len(columns) - 1}),
    )


def _other(members: Sequence[Result]) -> str:
    """What these attacks' settings are, where they are not their rows' own; a sentence or none."""
    said = dict.fromkeys(
        f"{each.attack}: {', '.join(words)}"
        for each in members
        if (words := departures(each.setting))
    )
    return f" Other settings than usual: {'; '.join(said)}." if said else ""


def _cell(runs: Sequence[Result], mine: Sequence[Result], name: str, epsilon: float) -> str:
    """Robust accuracy of an experiment's seeds under one attack; it says where some lack it."""
    found = {each.run.root: each.under("accuracy", epsilon) for each in mine if each.named == name}
    return combine([found.get(run.run.root) for run in runs])
