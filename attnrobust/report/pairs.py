"""Pairs of experiments that a study is about, compared on the test images that both have seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from attnrobust.attacks.methods import settled
from attnrobust.measures import paired, paired_tests
from attnrobust.measures.paired import Paired
from attnrobust.report import answers
from attnrobust.report.answers import Answers, Condition
from attnrobust.report.results import Result, by_dataset, grouped, of_seeds

# Experiments side by side, each with its seeds, and why these.
Partners = tuple[list[Result], list[Result], str]
ATTENTION, ROBUST, BASELINE = "without and with attention", "standard and robust", "baseline"
# What must not differ between partners beside what they are partners for.
SAME = {ATTENTION: ("data", "training"), ROBUST: ("data", "model")}
# Settings of an attack that do not make it stronger.
NO_STRENGTH = ("epsilons", "samples", "batch_size", "mode", "first_passes")


class Row(NamedTuple):
    """A pair under one condition.

    Attributes:
        condition: What the images went through.
        shares: Share of right images, or mean Dice, of the first and of the second.
        found: The difference.
        corrected: Its p value after Holm.
    """

    condition: Condition
    shares: tuple[float, float]
    found: Paired
    corrected: float


class Pair(NamedTuple):
    """Two experiments, seeds together.

    Attributes:
        names: Of both, with their seeds.
        why: What they are partners for.
        rows: Under each condition that all their runs have; empty where they cannot be compared.
        problem: Why they cannot be, in words; empty where they are.
        unequal: Attacks of one name that had other settings on the one than on the other.
        results: A run of each.
    """

    names: tuple[str, str]
    why: str
    rows: list[Row]
    problem: str
    unequal: list[str]
    results: tuple[Result, Result]


def read(results: Sequence[Result], baseline: str | None = None) -> list[Pair]:
    """Every pair that the study is about, compared.

    Raises:
        UserError: As `answers.read`.
    """
    asked = [
        each for members in by_dataset(results).values() for each in partners(members, baseline)
    ]
    held = answers.read(results) if asked else {}
    return [_pair(*each, held) for each in asked]


def partners(members: Sequence[Result], baseline: str | None = None) -> list[Partners]:
    """Who is set against whom among the runs of a data set, once each.

    Experiments that differ in their attention alone, or in standard and robust training alone;
    what has no such partner, and all where one is asked for, against the baseline (the first).

    Args:
        members: Runs, each once.
        baseline: An experiment's name; None: the first, for those without a partner.
    """
    every = list(grouped(members, "group").values())
    found: list[Partners] = []
    for why, is_plain in ((ATTENTION, _is_plain), (ROBUST, _is_standard)):
        for other in every:
            if not is_plain(other[0]) and (
                first := next(
                    (each for each in every if is_plain(each[0]) and _alike(each, other, why)), None
                )
            ):
                found.append((first, other, why))
    paired_up = {each[0].group for pair in found for each in pair[:2]}
    base = next((each for each in every if each[0].group[1] == baseline), every[0])
    for other in every:
        known = any(base in pair[:2] and other in pair[:2] for pair in found)
        alone = other[0].group not in paired_up
        if other is not base and not known and (alone or base[0].group[1] == baseline):
            found.append((base, other, f"{BASELINE} and variant"))
    return found


def _is_plain(result: Result) -> bool:
    return not result.run.experiment.model.head.startswith("soft_attention")


def _is_standard(result: Result) -> bool:
    return result.run.experiment.training.method == "standard"


def _alike(first: Sequence[Result], second: Sequence[Result], why: str) -> bool:
    """Whether all that must not differ is the same."""
    one, other = (dataclasses.asdict(each[0].run.experiment) for each in (first, second))
    same = all(one[section] == other[section] for section in SAME[why])
    return same and _body(one["model"]) == _body(other["model"])


def _body(model: Mapping[str, Any]) -> tuple[Any, ...]:
    return model["backbone"], model["width"], model["weights"]


def named(seeds: Sequence[Result]) -> str:
    """An experiment's name, with its seeds where it has several."""
    return f"{seeds[0].group[1]}{of_seeds(seeds)}"


def _pair(
    first: Sequence[Result],
    second: Sequence[Result],
    why: str,
    held: Mapping[tuple[str, str], list[Answers]],
) -> Pair:
    sides = [held.get(each[0].group, []) for each in (first, second)]
    names = (named(first), named(second))
    ends = (first[0], second[0])
    if any(len(side) < len(each) for side, each in zip(sides, (first, second), strict=True)):
        return Pair(names, why, [], "predictions of single images are not there", [], ends)
    if problem := answers.apart([*sides[0], *sides[1]]):
        return Pair(names, why, [], problem, [], ends)
    return Pair(names, why, compared(*sides), "", _unequal(*ends), ends)


def _unequal(first: Result, second: Result) -> list[str]:
    """Attacks that both have under one name, but in another strength: with what differs."""
    found = []
    one, other = (each.run.attacks() for each in (first, second))
    for label in one.keys() & other.keys():
        before, after = (dataclasses.asdict(settled(each[label])) for each in (one, other))
        names = [name for name in before if name not in NO_STRENGTH and before[name] != after[name]]
        if names:
            found.append(f"{label} ({', '.join(names)})")
    return sorted(found)


def compared(first: Sequence[Answers], second: Sequence[Answers]) -> list[Row]:
    """Second less first, under every condition that all of these runs have.

    Args:
        first: The seeds of an experiment.
        second: Of another, on the same images.
    """
    every = [*first, *second]
    shared = [each for each in first[0].scores if all(each in other.scores for other in every)]
    sides = answers.stacked(first, shared), answers.stacked(second, shared)
    found = paired.compare(*sides, groups=answers.groups_of(every))
    shares = [side.mean(axis=(0, 2)) for side in sides]
    corrected = np.full(len(shared), np.nan)
    for family in dict.fromkeys(each.family for each in shared):
        mine = [i for i, each in enumerate(shared) if each.family == family]
        corrected[mine] = paired_tests.holm(np.array([found[i].p for i in mine]))
    return [
        Row(each, (float(shares[0][i]), float(shares[1][i])), found[i], float(corrected[i]))
        for i, each in enumerate(shared)
    ]
