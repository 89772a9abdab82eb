"""Is one model better than the other? The page's tables of pairs on the same test images.

Not two intervals side by side: the difference on each image, its interval and its p value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from attnrobust.measures.paired import MCNEMAR, SEEDS, SIGN_FLIPS, Paired
from attnrobust.report import pairs
from attnrobust.report.blocks import Asked, Block, Details, Heading, Note, Section, Table
from attnrobust.report.pairs import Pair, Row
from attnrobust.report.results import NOTHING, Estimate, Result

MOST_SENTENCES = 3
TOLD = 0.05
WORDS = (
    "Two models that saw the same test images are compared image by image: what makes an image "
    "hard is hard for both and falls out. A difference is the second model’s share of right images "
    "less the first’s, under the same condition; under an attack an image counts as right if it is "
    "right without it, too. Each model met its own attack. The 95 % interval says how far other "
    "test images, or other seeds where there are several, could move the difference."
)
OF_DICE = (
    "Two models that saw the same test images are compared image by image: what makes an image "
    "hard is hard for both and falls out. A difference is the second model’s mean Dice less the "
    "first’s, under the same condition; under an attack the worse of an image with and without it "
    "counts. Each model met its own attack. The 95 % interval says how far other subjects, or "
    "other seeds where there are several, could move the difference."
)
INTERVALS = {
    "bootstrap": "95 % interval: bootstrap of images.",
    "group_bootstrap": "95 % interval: bootstrap of whole groups (patients, lesions).",
    SEEDS: "95 % interval: bootstrap of the images (whole groups where a patient or lesion has "
    "several), widened by what the seeds of each model vary; what a seed does by chance on single "
    "images, which is in both, is counted once (two-way analysis of variance), and the ends are "
    "Student’s t. A model of one seed adds nothing to that, though its training was chance, too. "
    "Numbers of images are means over the seeds.",
}
TESTS = {
    MCNEMAR: "p: McNemar’s exact test.",
    SIGN_FLIPS: "p: McNemar’s exact test with whole groups in place of images (their signs "
    "flipped), since images of one patient or lesion are not independent.",
    "t": "p: t test of the difference, by the same variance as the interval.",
}
HOLM = (
    "Holm: the same, corrected for the epsilons of one attack, or for all corruptions together. "
    "Below 0.05 the models differ; without the correction one test in twenty says so by chance."
)


def section(results: Sequence[Result], asked: Asked) -> Section | None:
    """A table for each pair; None where no two experiments are on one data set."""
    found = pairs.read(results, asked.baseline)
    if not found:
        return None
    blocks = [block for pair in found for block in _shown(pair)]
    words = OF_DICE if _graded(found[0]) else WORDS
    return Section("pairs", "Is one better than the other?", (words, *blocks), summary=_said(found))


def _graded(pair: Pair) -> bool:
    """Whether images have a Dice instead of being right or wrong."""
    return pair.results[0].headline == "dice"


def _shown(pair: Pair) -> Iterator[Block]:
    yield Heading(f"{pair.names[0]} and {pair.names[1]} ({pair.why})")
    if pair.problem:
        yield f"Not compared: {pair.problem}."
        return
    if pair.unequal:
        yield Note(
            "The attack had other settings on the one than on the other: "
            f"{'; '.join(pair.unequal)}. What it left does not compare."
        )
    corrupted = [row for row in pair.rows if row.condition.kind == "corruption"]
    yield _table(pair, [row for row in pair.rows if row not in corrupted])
    if corrupted:
        yield Details("Under corruptions", (_table(pair, corrupted, "-corruptions"),))


def _table(pair: Pair, rows: Sequence[Row], more: str = "") -> Table:
    found = rows[0].found
    files = [each.group[1] for each in pair.results]
    return Table(
        name=f"pairs-{pair.results[0].dataset}-{files[0]}-{files[1]}{more}",
        caption=f"{pair.names[1]} less {pair.names[0]}, on the same {found.n:,} test images"
        f"{', under corruptions' if more else ''}: {pair.results[0].dataset}.",
        columns=("", "first", "second", "second less first", "first", "second", "p", "Holm"),
        groups=(
            ("", 1),
            ("Dice" if _graded(pair) else "right", 2),
            ("difference", 1),
            ("images better in" if _graded(pair) else "right in one alone", 2),
            ("p", 2),
        ),
        rows=tuple(_cells(row) for row in rows),
        frame=pd.DataFrame([_record(pair, row) for row in rows]),
        note=f"First: {pair.names[0]}. Second: {pair.names[1]}. {INTERVALS[found.interval]} "
        f"{TESTS[found.test]} {HOLM}",
    )


def _cells(row: Row) -> tuple[str, ...]:
    counts = (f"{each:g}" if each == round(each) else f"{each:.1f}" for each in row.found[4:6])
    return (
        str(row.condition),
        *(f"{share:.3f}" for share in row.shares),
        signed(row.found),
        *counts,
        chance(row.found.p),
        chance(row.corrected),
    )


def signed(found: Paired) -> str:
    """A difference with its interval, its sign always there: +0.037 (−0.015 to 0.091)."""
    low, high = (f"{each:.3f}".replace("-", "−") for each in (found.low, found.high))
    value = f"{found.value:+.3f}".replace("-", "−")
    return f"{value} ({low} to {high})" if Estimate(*found[:3]).has_interval else value


def chance(p: float) -> str:
    """A p value: 0.043, < 0.001, or a dash where there is none."""
    if not np.isfinite(p):
        return NOTHING
    return f"{p:.3f}" if p >= 0.001 else "<\u00a00.001"


def _record(pair: Pair, row: Row) -> dict[str, Any]:
    first, second = pair.results
    of = "dice" if _graded(pair) else "right"
    return {
        "dataset": first.dataset,
        "first": first.group[1],
        "second": second.group[1],
        "why": pair.why,
        "seeds_first": first.seeds,
        "seeds_second": second.seeds,
        "condition": row.condition.kind,
        "name": row.condition.name,
        "level": row.condition.level,
        f"{of}_first": row.shares[0],
        f"{of}_second": row.shares[1],
        "difference": row.found.value,
        "low": row.found.low,
        "high": row.found.high,
        "interval": row.found.interval,
        "only_first": row.found.only_first,
        "only_second": row.found.only_second,
        "p": row.found.p,
        "test": row.found.test,
        "p_holm": row.corrected,
        "n": row.found.n,
    }


def _said(found: Sequence[Pair]) -> tuple[str, ...]:
    """For the first screen: each pair at its attack's middle ε, or how many of them differ."""
    middle = [(pair, row) for pair in found if (row := _middle(pair))]
    said = [
        f"{pair.names[0]} and {pair.names[1]} are not compared image by image: {pair.problem}."
        for pair in found
        if pair.problem
    ]
    if len(middle) > MOST_SENTENCES:
        told = sum(row.corrected < TOLD for _, row in middle)
        said.append(
            f"Of {len(middle)} pairs of models on the same test images {told} differ at the middle "
            "ε of their first attack (p below 0.05 after Holm’s correction)."
        )
        return tuple(said)
    return (*(_sentence(*each) for each in middle), *said)


def _middle(pair: Pair) -> Row | None:
    attacked = [row for row in pair.rows if row.condition.kind == "attack"]
    mine = [row for row in attacked if row.condition.name == attacked[0].condition.name]
    return mine[(len(mine) - 1) // 2] if mine else next(iter(pair.rows), None)


def _sentence(pair: Pair, row: Row) -> str:
    verdict = "they differ" if row.corrected < TOLD else "that does not tell them apart"
    same = "the same images" if row.found.interval == "bootstrap" else "the same test split"
    what = f"Dice on {same}" if _graded(pair) else f"of {same} right"
    return (
        f"{row.condition}: {pair.names[1]} has {signed(row.found)} {what} compared with "
        f"{pair.names[0]} (n = {row.found.n:,}; p after Holm’s correction "
        f"{chance(row.corrected)}): {verdict}."
    )
