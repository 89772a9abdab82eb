"""Readings of a paper's ε and of what its attack saw, side by side: which gives the paper's curve?

Foolbox takes a model's outputs for logits. Where a paper's network ends in a softmax, and where
images are scaled before Foolbox sees them, the same line of it can mean four attacks. Only those on
logits tell of a model's robustness.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import pandas as pd

from attnrobust.report import papers, statements
from attnrobust.report.blocks import Asked, Section, Table
from attnrobust.report.results import Estimate, Result, combine, grouped, heads, key, number

# By (attack.outputs, whether ε is given in the numbers of the first layer): heads of the columns.
READINGS = {
    ("logits", False): "logits, ε of pixels: the model’s robust accuracy",
    ("logits", True): "logits, ε of the first layer’s numbers: robust accuracy in a smaller ball",
    ("probabilities", False): "through the softmax, ε of pixels: not robustness",
    ("probabilities", True): "through the softmax, ε of the first layer’s numbers: not robustness",
}
WORDS = (
    "A paper’s ε can be meant in [0, 1] pixels or in the numbers that the network’s first layer "
    "receives, and its attack can have seen logits or, where the network ends in a softmax, "
    "probabilities, which Foolbox takes for logits. Each row is one ε as a paper would print it, "
    "under every reading that was run.",
    "The model’s robust accuracy at an ε of pixels is what the attack on logits in pixels leaves. "
    "On logits with ε in the first layer’s numbers it is that of a ball so many times smaller. "
    "What is left through the softmax is not the model’s robustness, whichever curve it "
    "resembles: the attack stands still where the model is sure.",
)
# The attack whose settings have these readings.
ATTACK = "linf_pgd"


def section(results: Sequence[Result], _: Asked) -> Section | None:
    """A table for each dataset and backbone that was attacked in another reading than ours."""
    made = []
    for (dataset, backbone), members in grouped(results, "architecture").items():
        mine = [each for each in members if each.attack and each.setting.name == ATTACK]
        if any(reading(each) != ("logits", False) for each in mine):
            made.append(_table(dataset, backbone, mine))
    if not made:
        return None
    return Section("readings", "Which reading gives the paper’s curve", (*WORDS, *made))


def reading(result: Result) -> tuple[str, bool]:
    """What the attack saw, and whether its ε was given in the numbers of the first layer."""
    return result.setting.outputs, result.asked_scale != 1


def _table(dataset: str, backbone: str, members: Sequence[Result]) -> Table:
    columns = [
        (which, head if len(grouped(mine, "attack")) == 1 else f"{head}, {label}", seeds)
        for which in READINGS
        if (mine := [each for each in members if reading(each) == which])
        for label, part in grouped(mine, "attack").items()
        for head, seeds in heads(part)
    ]
    given = {key(epsilon * each.asked_scale) for each in members for epsilon in each.epsilons}
    asked = sorted(given, key=float)
    said = _said(dataset, backbone)
    rows = [
        (
            number(float(text)),
            *(at(float(text)) for at in said.values()),
            *(combine([_at(each, text) for each in seeds]) for _, _, seeds in columns),
        )
        for text in ("0", *asked)
    ]
    records = [
        (
            each.group[1],
            each.run.experiment.seed,
            each.attack,
            *reading(each),
            float(text),
            float(text) / each.asked_scale,
            found.value,
            found.low,
            found.high,
            found.n,
        )
        for text in asked
        for each in members
        if (found := _at(each, text))
    ]
    names = [
        "experiment",
        "seed",
        "attack",
        "outputs",
        "first_layer_scale",
        "epsilon_asked",
        "epsilon",
        "value",
        "low",
        "high",
        "n",
    ]
    spans = [
        (READINGS[which], sum(each[0] == which for each in columns))
        for which in dict.fromkeys(each[0] for each in columns)
    ]
    return Table(
        name=f"readings-{dataset}-{backbone}",
        caption=f"Accuracy left by PGD in each reading: {dataset}, {backbone}. The second column "
        "is the paper’s.",
        columns=("ε as given", *said, *(head for _, head, _ in columns)),
        rows=tuple(rows),
        frame=pd.DataFrame(records, columns=names),
        groups=(("", 1 + len(said)), *spans),
        note="The paper’s models, images and attack steps are its own. Columns of equal settings "
        "but for the reading compare; n and each value’s interval are in the CSV file.",
    )


def _at(result: Result, text: str) -> Estimate | None:
    """Accuracy at an ε as it was given, as text; without an attack at 0."""
    if text == "0":
        return result.clean["accuracy"]
    for epsilon in result.epsilons:
        if key(epsilon * result.asked_scale) == text:
            return result.under("accuracy", epsilon)
    return None


def _said(dataset: str, backbone: str) -> dict[str, Callable[[float], str]]:
    """By head of the column, what a paper says of accuracy at an epsilon.

    Of another network of its, which the head names, where it says nothing of this one.
    """
    columns: dict[str, Callable[[float], str]] = {}
    for paper in papers.read().values():
        stated = paper.statements
        if stated and stated.readings:
            own = bool(statements.about(stated, dataset, backbone))
            head = paper.short if own else f"{paper.short}, of {stated.readings.called}"
            network = backbone if own else stated.readings.backbone
            columns[head] = functools.partial(statements.at, stated, dataset, network)
    return columns
