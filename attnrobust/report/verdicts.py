"""Claims on the page: what holds, what does not, and what these runs cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from attnrobust.measures.metrics import METRICS
from attnrobust.measures.paired import SEEDS
from attnrobust.report import claims, judging
from attnrobust.report.blocks import Asked, Section, Table
from attnrobust.report.claims import Claim
from attnrobust.report.differences import chance, signed
from attnrobust.report.judging import OPEN, Verdict
from attnrobust.report.results import NOTHING, Result

WORDS = (
    "What papers and we claim, as the files of experiments/claims/ state it, asked of these runs. "
    "A claim holds if the whole 95 % interval of the difference agrees with it, and does not hold "
    "if none of it does. Else these images cannot tell; “n to tell” is how many would, four "
    "times of five, if models and images are as here (by simulation, of AUC and the like by the "
    "normal distribution). With one seed of each a "
    "verdict is on these two networks, not on their kinds; p and intervals are not corrected for "
    "the number of claims. A run in small is not the paper’s: what does not hold here may hold "
    "there."
)
# What a claim without a metric is of.
HEADLINE = "score"
HEADS = ("Claim", "Verdict", "First less second", "p", "n", "n to tell", "By", "Asked of")


def section(results: Sequence[Result], asked: Asked) -> Section | None:
    """A table, also as Markdown, and each verdict for the first screen; None for no claim."""
    found = judging.judged(results, claims.read(asked.claims))
    if not found:
        return None
    rows = tuple(_cells(each) for each in found)
    table = Table(
        name="claims",
        caption="Claims asked of these runs.",
        columns=HEADS,
        rows=rows,
        frame=pd.DataFrame([_record(each) for each in found]),
    )
    return Section(
        "claims",
        "What holds?",
        (WORDS, table),
        summary=tuple(sentence(each) for each in found),
        texts={"tables/claims.md": markdown(rows)},
    )


def sentence(found: Verdict) -> str:
    """A claim and its verdict in a line."""
    claim = found.claim
    whose = f"{found.short}, {claim.source}" if claim.source else found.short
    head = f"Claim ({whose}): {claim.words} {' and '.join(found.names)}"
    if found.problem:
        return f"{head}: {found.verdict}, {found.problem}."
    need = f"; {_need(found)}" if found.verdict == OPEN else ""
    return (
        f"{head}: {found.verdict} with n\u00a0=\u00a0{found.found.n:,} ({_what(claim)} "
        f"{signed(found.found)}{need})."
    )


def _what(claim: Claim) -> str:
    """What the number is: a difference of which metric, less how many times the second."""
    row = METRICS.get(claim.metric)
    # Of heatmaps as `measurements.csv` calls it: gini[gradient].
    named = (row and row.title) or claim.metric
    if claim.times != 1:
        what = f"first less {claim.times:g} times the second"
        return f"{named}, {what}" if named else what
    return f"difference in {named}" if named else "difference"


def _need(found: Verdict) -> str:
    if found.needed:
        return f"about {found.needed:,} images would tell"
    if found.found.interval == SEEDS:
        return "not more images, but more seeds would tell, if anything"
    return "no number of images would tell so small a difference"


def _cells(found: Verdict) -> tuple[str, ...]:
    claim = found.claim
    known = not found.problem
    return (
        claim.words,
        found.verdict if known else f"{found.verdict}: {found.problem}",
        _difference(found) if known else NOTHING,
        chance(found.found.p),
        f"{found.found.n:,}" if known else NOTHING,
        f"{found.needed:,}" if found.needed else NOTHING,
        f"{found.short}, {claim.source}" if claim.source else found.short,
        f"{found.names[0]} and {found.names[1]} ({', '.join(found.place)})",
    )


def _difference(found: Verdict) -> str:
    what, plain = _what(found.claim), "difference"
    return signed(found.found) if what == plain else f"{signed(found.found)}, {what}"


def _record(found: Verdict) -> dict[str, object]:
    claim, numbers = found.claim, found.found
    return {
        "claim": claim.words,
        "by": found.short,
        "source": claim.source,
        "dataset": found.place[0],
        "backbone": found.place[1],
        "attack": found.place[2] if len(found.place) > 2 else "",
        "first": found.names[0],
        "second": found.names[1],
        "metric": claim.metric or HEADLINE,
        "relation": claim.relation,
        "times": claim.times,
        "margin": claim.by,
        "verdict": found.verdict,
        "difference": numbers.value,
        "low": numbers.low,
        "high": numbers.high,
        "interval": numbers.interval,
        "only_first": numbers.only_second,
        "only_second": numbers.only_first,
        "p": numbers.p,
        "test": numbers.test,
        "n": numbers.n,
        "n_needed": found.needed,
        "problem": found.problem,
    }


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table for a page in Markdown."""
    lines = [HEADS, ["---"] * len(HEADS), *rows]
    cells = ([cell.replace("|", r"\|").replace("\n", " ") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
