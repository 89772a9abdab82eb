"""Claims as data: the files of `experiments/claims/`, each claim asked of the runs on a page."""

from __future__ import annotations

import contextlib
import importlib.resources
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from attnrobust.config import lookup
from attnrobust.config.experiment import Experiment
from attnrobust.disk import schemas
from attnrobust.errors import UserError
from attnrobust.measures import paired, power
from attnrobust.measures.paired import Paired
from attnrobust.report import answers, papers
from attnrobust.report.answers import CLEAN, Answers, Condition
from attnrobust.report.pairs import named
from attnrobust.report.paper_kinds import Part, Where
from attnrobust.report.results import Result, grouped, key

AGAIN = "report/claims.py says what a file of claims holds"
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
NAN = float("nan")
# What is known of a difference that cannot be had.
NOTHING = Paired(NAN, NAN, NAN, "", NAN, NAN, NAN, "", 0)
SECTIONS = tuple(Experiment.__dataclass_fields__)


class Side(Part, frozen=True):
    """A model in a condition.

    Attributes:
        model: One of the file's.
        epsilon: Of the attack, in the scale that the attack was given; 0: without one.
        corruption: On the images, at `severity`; empty: none.
    """

    model: str
    epsilon: Annotated[float, Meta(ge=0)] = 0
    corruption: str = ""
    severity: Annotated[int, Meta(ge=1, le=5)] = 1


class Claim(Part, frozen=True):
    """The share of right images of one side set against that of another.

    Attributes:
        words: The claim, as a sentence.
        first: One side.
        second: The other.
        relation: `>=`: first is at least second plus `by`; `within`: they differ by at most `by`.
        by: How much.
        dataset: Whose (with its task, as the page calls it); empty: any.
        source: Where it is made.
        same: Sections of the settings in which runs must agree to be set side by side.
        where: What else must hold of the runs.
    """

    words: str
    first: Side
    second: Side
    relation: Literal[">=", "within"] = ">="
    by: Annotated[float, Meta(ge=0, le=1)] = 0
    dataset: str = ""
    source: str = ""
    same: list[str] = msgspec.field(default_factory=lambda: ["data", "training"])
    where: Where = msgspec.field(default_factory=dict)


class Model(Part, frozen=True):
    """Runs that a claim speaks of."""

    where: Where


class Claims(Part, frozen=True):
    """A file: who claims it, which models by name, and what."""

    short: str
    models: dict[str, Model]
    claims: list[Claim]


class Verdict(NamedTuple):
    """A claim asked of two experiments.

    Attributes:
        short: Who claims it.
        claim: The claim.
        names: Of the experiments, first and second, with their seeds.
        place: Data set, backbone, and the attack where there is one.
        verdict: HOLDS, FAILS or OPEN.
        found: First less second; NaN where they cannot be compared.
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


def read(more: Path | None = None) -> list[Claims]:
    """Every file of `experiments/claims/`, in alphabetical order, and one that is named.

    Raises:
        UserError: A file that is damaged or names what there is not; file and key are named.
    """
    return [load(path) for path in (*sorted(folder().glob("*.toml")), *([more] if more else []))]


def folder() -> Path:
    """Where the files are, of a checkout and of an installed package alike."""
    return Path(str(importlib.resources.files("experiments"))) / "claims"


def load(path: Path) -> Claims:
    """One file; raises as `read` does."""
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
        found = msgspec.convert(value, Claims)
        with _at(str(path)):
            papers.require_settings(value, "")
            for number, claim in enumerate(found.claims):
                with _at(f"claims[{number}]"):
                    _require_known(found, claim)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise schemas.damaged(path, error, AGAIN) from None
    return found


@contextlib.contextmanager
def _at(where: str) -> Iterator[None]:
    """What goes wrong inside names the place in the file, too."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _require_known(file: Claims, claim: Claim) -> None:
    for side in (claim.first, claim.second):
        lookup("model", file.models, side.model)
        if side.corruption:
            lookup("corruption", papers.CORRUPTIONS, side.corruption)
        if side.corruption and side.epsilon:
            raise UserError("a corruption and an epsilon: expected one of them")
    for section in claim.same:
        lookup("section", dict.fromkeys(SECTIONS), section)


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
    found = (_verdict(*each, held) for each in fitting)
    return [each for each in found if each]


def _sides(
    file: Claims, claim: Claim, results: Sequence[Result]
) -> Iterator[tuple[list[Result], list[Result]]]:
    """Experiments of either side on one data set and backbone, under one attack if under any."""
    attacked = bool(claim.first.epsilon or claim.second.epsilon)
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
    sides = [held.get(each[0].group, []) for each in (first, second)]
    attacked = bool(claim.first.epsilon or claim.second.epsilon)
    place = (*first[0].architecture, *([first[0].named] if attacked else []))
    names = (named(first), named(second))
    if any(len(side) < len(each) for side, each in zip(sides, (first, second), strict=True)):
        problem = "predictions of single images are not there"
        return Verdict(short, claim, names, place, OPEN, NOTHING, None, problem)
    wanted = [
        _condition(side, each[0]) for side, each in ((claim.first, first), (claim.second, second))
    ]
    if any(at not in each.right for side, at in zip(sides, wanted, strict=True) for each in side):
        return None
    if problem := answers.apart([*sides[0], *sides[1]]):
        return Verdict(short, claim, names, place, OPEN, NOTHING, None, problem)
    one, other = (answers.stacked(side, [at]) for side, at in zip(sides, wanted, strict=True))
    groups = answers.groups_of([*sides[0], *sides[1]])
    found = paired.compare(other, one, groups)[0]
    verdict, bound = verdict_of(claim, found)
    enough = None
    if verdict == OPEN:
        enough = power.needed(other[:, 0], one[:, 0], groups, least=bound)
    return Verdict(short, claim, names, place, verdict, found, enough, "")


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
    else:
        holds = -claim.by <= found.low and found.high <= claim.by
        fails = found.low > claim.by or found.high < -claim.by
        bound = claim.by if found.value >= 0 else -claim.by
    return HOLDS if holds else FAILS if fails else OPEN, bound
