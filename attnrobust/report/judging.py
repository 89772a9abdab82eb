"""Each claim asked of the runs on a page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from attnrobust.measures import paired, paired_metrics, power
from attnrobust.measures.metrics import METRICS, probabilities
from attnrobust.measures.paired import Paired
from attnrobust.report import answers, claimed_heatmaps, claims, papers
from attnrobust.report.answers import CLEAN, Answers, Condition
from attnrobust.report.claims import Claim, Claims, Side
from attnrobust.report.pairs import named
from attnrobust.report.results import Result, grouped, key

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
NAN = float("nan")
# What is known of a difference that cannot be had.
NOTHING = Paired(NAN, NAN, NAN, "", NAN, NAN, NAN, "", 0)


class Verdict(NamedTuple):
    """A claim asked of two experiments.

    Attributes:
        short: Who claims it.
        claim: The claim.
        names: Of the experiments, first and second, with their seeds.
        place: Data set, backbone, and the attack where there is one.
        verdict: HOLDS, FAILS or OPEN.
        found: First less `times` second; NaN where they cannot be compared.
        needed: Images that would tell (power 0.8); None: none would, or that is not the question.
        problem: Why they cannot be compared; empty where they are.
    """

    short: str
    claim: Claim
    names: tuple[str, str]
    place: tuple[str, ...]
    verdict: str
    found: Paired
    needed: int | None
    problem: str


def judged(results: Sequence[Result], files: Sequence[Claims]) -> list[Verdict]:
    """Every claim that these runs have something for, once for each two experiments.

    Raises:
        UserError: As `answers.read`.
    """
    fitting = [
        (file.short, claim, *sides)
        for file in files
        for claim in file.claims
        for sides in _sides(file, claim, results)
    ]
    held = answers.read(results) if fitting else {}
    found = (
        _of_heatmaps(*each) if claims.heatmap(each[1]) else _verdict(*each, held)
        for each in fitting
    )
    return [each for each in found if each]


def _sides(
    file: Claims, claim: Claim, results: Sequence[Result]
) -> Iterator[tuple[list[Result], list[Result]]]:
    """Experiments of either side on one data set and backbone, under one attack if under any."""
    attacked = claims.attacked(claim)
    mine = [
        each
        for each in results
        if claim.dataset in ("", each.dataset)
        and papers.holds(claim.where, each)
        and (not attacked or (each.attack and each.setting.outputs == "logits"))
    ]
    for members in grouped(mine, "panel" if attacked else "architecture").values():
        # Without an attack a run stands there once.
        unique = list({each.run.root: each for each in members}.values())
        parts = list(grouped(unique, "group").values())
        one, other = (
            [part for part in parts if papers.holds(file.models[side.model].where, part[0])]
            for side in (claim.first, claim.second)
        )
        alone = claim.first.model == claim.second.model
        for first, second in itertools.product(one, other):
            same = first is second
            if same == alone and (same or _agree(claim.same, first[0], second[0])):
                yield first, second


def _agree(sections: Sequence[str], first: Result, second: Result) -> bool:
    one, other = (asdict(each.run.experiment) for each in (first, second))
    return all(one[section] == other[section] for section in sections)


def _verdict(
    short: str,
    claim: Claim,
    first: Sequence[Result],
    second: Sequence[Result],
    held: Mapping[tuple[str, str], list[Answers]],
) -> Verdict | None:
    """The verdict; None where a run has not been in the condition."""
    place, names = _place(claim, first[0]), (named(first), named(second))
    sides = [held.get(each[0].group, []) for each in (first, second)]
    if any(len(side) < len(each) for side, each in zip(sides, (first, second), strict=True)):
        problem = "predictions of single images are not there"
        return Verdict(short, claim, names, place, OPEN, NOTHING, None, problem)
    wanted = [
        _condition(side, each[0]) for side, each in ((claim.first, first), (claim.second, second))
    ]
    if any(
        at not in _kept(claim, each)
        for side, at in zip(sides, wanted, strict=True)
        for each in side
    ):
        return None
    if problem := answers.apart([*sides[0], *sides[1]]):
        return Verdict(short, claim, names, place, OPEN, NOTHING, None, problem)
    groups = answers.groups_of([*sides[0], *sides[1]])
    compared = _by_metric if claim.metric else _by_score
    return Verdict(short, claim, names, place, *compared(claim, sides, wanted, groups), "")


def _of_heatmaps(
    short: str, claim: Claim, first: Sequence[Result], second: Sequence[Result]
) -> Verdict | None:
    """As `_verdict`, of a claim on heatmaps; None where a run has none such."""
    place, names = _place(claim, first[0]), (named(first), named(second))
    one, other = claimed_heatmaps.read(claim, claim.first, first), []
    if one:
        other = claimed_heatmaps.read(claim, claim.second, second)
    if not other:
        return None
    if problem := claimed_heatmaps.apart([*one, *other]):
        return Verdict(short, claim, names, place, OPEN, NOTHING, None, problem)
    # What a map's roughness and the like come to has no end.
    images = _by_image(claim, *claimed_heatmaps.aligned(one, other), most=np.inf)
    return Verdict(short, claim, names, place, *images, "")


def _place(claim: Claim, result: Result) -> tuple[str, ...]:
    return (*result.architecture, *([result.named] if claims.attacked(claim) else []))


Sides = Sequence[Sequence[Answers]]


def _kept(claim: Claim, answer: Answers) -> Mapping[Condition, np.ndarray]:
    return answer.logits if claim.metric else answer.scores


def _by_score(
    claim: Claim, sides: Sides, wanted: Sequence[Condition], groups: np.ndarray | None
) -> tuple[str, Paired, int | None]:
    """The verdict, the difference and the images that would tell, of a mean over images."""
    one, other = (answers.stacked(side, [at]) for side, at in zip(sides, wanted, strict=True))
    return _by_image(claim, one, other, groups)


def _by_image(
    claim: Claim,
    one: np.ndarray,
    other: np.ndarray,
    groups: np.ndarray | None,
    *,
    most: float = 1.0,
) -> tuple[str, Paired, int | None]:
    """The same of numbers (seeds, 1, images) of either side, at most so large."""
    found = paired.compare(other, one, groups, factor=claim.times, most=most)[0]
    verdict, bound = verdict_of(claim, found)
    enough = None
    if verdict == OPEN:
        enough = power.needed(other[:, 0], one[:, 0], groups, least=bound, factor=claim.times)
    return verdict, found, enough


def _by_metric(
    claim: Claim, sides: Sides, wanted: Sequence[Condition], groups: np.ndarray | None
) -> tuple[str, Paired, int | None]:
    """The same of a metric of the whole set."""
    one, other = (
        [probabilities(each.logits[at]) for each in side]
        for side, at in zip(sides, wanted, strict=True)
    )
    found, parts = paired_metrics.compare(
        METRICS[claim.metric], sides[0][0].labels, other, one, groups, factor=claim.times
    )
    verdict, bound = verdict_of(claim, found)
    enough = None
    if verdict == OPEN and parts:
        enough = power.needed_by(parts, found.value - bound, found.n)
    return verdict, found, enough


def _condition(side: Side, result: Result) -> Condition:
    if side.corruption:
        return Condition("corruption", side.corruption, str(side.severity))
    if side.epsilon:
        return Condition("attack", result.named, key(side.epsilon / result.asked_scale))
    return CLEAN


def verdict_of(claim: Claim, found: Paired) -> tuple[str, float]:
    """What the interval says of a claim, and the difference that it must be told from.

    A claim holds if the whole interval agrees with it, and does not if none of it does.
    """
    if not np.isfinite([found.low, found.high]).all():
        return OPEN, claim.by
    if claim.relation == ">=":
        holds, fails, bound = found.low >= claim.by, found.high < claim.by, claim.by
    elif claim.relation == "<=":
        holds, fails, bound = found.high <= -claim.by, found.low > -claim.by, -claim.by
    else:
        holds = -claim.by <= found.low and found.high <= claim.by
        fails = found.low > claim.by or found.high < -claim.by
        bound = claim.by if found.value >= 0 else -claim.by
    return HOLDS if holds else FAILS if fails else OPEN, bound
