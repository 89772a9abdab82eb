"""What each run makes of every test image, under every condition: what pairs are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attnrobust import task
from attnrobust.disk import conditions, schemas
from attnrobust.disk.runs import attack_file
from attnrobust.report.results import Result, grouped, key, number
from attnrobust.report.wording import NORMS


class Condition(NamedTuple):
    """What the images went through.

    Attributes:
        kind: `clean`, `attack`, `worst_case` or `corruption`, as in `measurements.csv`.
        name: The attack's for readers, the norm's or the corruption's; empty for `clean`.
        level: Epsilon or severity, as text; empty for `clean`.
    """

    kind: str
    name: str = ""
    level: str = ""

    def __str__(self) -> str:
        at = number(float(self.level)) if self.level else ""
        return {
            "clean": "without an attack",
            "attack": f"{self.name}, ε\u00a0=\u00a0{at}",
            "worst_case": f"worst of the {NORMS.get(self.name, self.name)} attacks, "
            f"ε\u00a0=\u00a0{at}",
            "corruption": f"{self.name}, severity {at}",
        }[self.kind]

    @property
    def family(self) -> tuple[str, str]:
        """What a correction for several tests is made within: an attack, all corruptions."""
        return self.kind, "" if self.kind == "corruption" else self.name


CLEAN = Condition("clean")


@dataclass(frozen=True)
class Answers:
    """Of one run, image by image.

    Attributes:
        result: The run, under its first attack.
        ids: Of the test images (N,).
        groups: Of each image its patient or lesion (N,); None where that is not known.
        labels: (N,).
        scores: By condition, whether each image is right (N,) bool, or its Dice (N,); under an
            attack the worse of the image with and without it.
        logits: By condition (N, K); under an attack those without it where it was wrong already.
            None where a run segments.
    """

    result: Result
    ids: np.ndarray
    groups: np.ndarray | None
    labels: np.ndarray
    scores: Mapping[Condition, np.ndarray]
    logits: Mapping[Condition, np.ndarray]


def read(results: Sequence[Result]) -> dict[tuple[str, str], list[Answers]]:
    """Every run whose predictions are there, by data set and experiment.

    Raises:
        UserError: A damaged file, or predictions and attacks of other images or weights.
    """
    found: dict[tuple[str, str], list[Answers]] = {}
    for mine in grouped(results, "run").values():
        if (path := mine[0].run.path("predict", "clean.npz")).is_file():
            clean = schemas.load_npz(path, schemas.PREDICTED)
            scores, logits = {CLEAN: score(clean)}, {}
            if "logits" in clean:
                logits[CLEAN] = clean["logits"]
            for condition, each, said in _conditions(mine, clean):
                scores[condition] = each
                if said is not None:
                    logits[condition] = said
            answers = Answers(
                mine[0], clean["id"], clean.get("group"), clean["label"], scores, logits
            )
            found.setdefault(mine[0].group, []).append(answers)
    return found


def score(found: dict[str, np.ndarray]) -> np.ndarray:
    """Whether each image of a file is right (N,) bool, or how good it is where that has degrees."""
    return task.score_in(found) if task.of_file(found).graded else task.right_in(found)


def _conditions(
    mine: Sequence[Result], clean: dict[str, np.ndarray]
) -> Iterator[tuple[Condition, np.ndarray, np.ndarray | None]]:
    """Attacks, the worst of several, corruptions, of those whose files are there.

    With each its scores, and its logits where they are kept.
    """
    before, run = score(clean), mine[0].run
    named: dict[str, dict[str, np.ndarray]] = {}
    for each in mine:
        for epsilon in each.epsilons:
            file = attack_file(each.setting.name, epsilon)
            if not (run.attacked(each.attack) / file).is_file():
                continue
            attacked = conditions.attacked(run, each.attack, epsilon, clean)
            worse = np.minimum(before, score(attacked))
            named.setdefault(each.attack, {})[key(epsilon)] = worse
            said = None
            if "logits" in clean:
                said = np.where(before[:, None], attacked["logits"], clean["logits"])
            yield Condition("attack", each.named, key(epsilon)), worse, said
    for (norm, _), (epsilon, _) in conditions.shared(run).items():
        inside = conditions.within(run, norm, epsilon)
        found = [named.get(label, {}).get(key(each)) for label, each in inside]
        every = [each for each in found if each is not None]
        if len(every) == len(inside):
            yield Condition("worst_case", norm, key(epsilon)), np.min(every, axis=0), None
    for name, measured in mine[0].corrupted.items():
        for severity in sorted({level for _, level in measured if level}):
            path = run.path("predict", f"corruption-{name}-{severity}.npz")
            if path.is_file():
                corrupted = schemas.load_npz(path, schemas.PREDICTED)
                conditions.require_alike(path, clean, corrupted)
                condition = Condition("corruption", name, severity)
                yield condition, score(corrupted), corrupted.get("logits")


def apart(several: Sequence[Answers]) -> str:
    """Why these are not of the same images, in words; empty where they are."""
    first = several[0]
    for other in several[1:]:
        if not np.array_equal(first.ids, other.ids):
            if not set(first.ids).symmetric_difference(other.ids):
                return "their test images are in another order: predict again"
            shared = len(np.intersect1d(first.ids, other.ids))
            return (
                f"only {shared:,} test images are in both, of {len(first.ids):,} and "
                f"{len(other.ids):,}"
                if shared
                else "they have no test image in common"
            )
        if not np.array_equal(first.labels, other.labels):
            return "their test images have other labels"
    return ""


def groups_of(several: Sequence[Answers]) -> np.ndarray | None:
    """The groups of the images, as the first that knows them has them."""
    return next((each.groups for each in several if each.groups is not None), None)


def stacked(several: Sequence[Answers], shared: Sequence[Condition]) -> np.ndarray:
    """Scores of each image (seeds, conditions, images)."""
    return np.stack([np.stack([each.scores[one] for one in shared]) for each in several])
