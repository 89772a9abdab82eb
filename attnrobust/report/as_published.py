"""Readings of a paper's ε and of what its attack saw, side by side: which gives the paper's curve?

Foolbox takes a model's outputs for logits. Where the network ends in a softmax (all of Wasserman's
do), and where images are scaled before Foolbox sees them, the same line of a paper can mean four
attacks. Only those on logits tell of a model's robustness.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from attnrobust.report.published import ATTACK, PUBLISHED
from attnrobust.report.results import NOTHING, Estimate, Result, grouped, key, number
from attnrobust.report.sections import Section
from attnrobust.report.tables import Table, combine, heads

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
PAPERS = "resnet50"


def section(results: Sequence[Result]) -> Section | None:
    """A table for each dataset and backbone that was attacked in another reading than ours."""
    made = []
    for (dataset, backbone), members in grouped(results, "architecture").items():
        mine = [each for each in members if each.attack and each.setting.name == ATTACK]
        if any(reading(each) != ("logits", False) for each in mine):
            made.append(_table(dataset, backbone, mine))
    if not made:
        return None
    return Section("readings", "Which reading gives the paper’s curve", WORDS, tables=tuple(made))


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
    rows = [
        (
            number(float(text)),
            _stated(dataset, backbone, float(text)),
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
    whose = "" if _in_paper(dataset, backbone) else ", of its ResNet-50"
    spans = [
        (READINGS[which], sum(each[0] == which for each in columns))
        for which in dict.fromkeys(each[0] for each in columns)
    ]
    return Table(
        name=f"readings-{dataset}-{backbone}",
        caption=f"Accuracy left by PGD in each reading: {dataset}, {backbone}. The second column "
        "is the paper’s.",
        columns=("ε as given", f"Wasserman{whose}", *(head for _, head, _ in columns)),
        rows=tuple(rows),
        frame=pd.DataFrame(records, columns=names),
        groups=(("", 2), *spans),
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


def _in_paper(dataset: str, backbone: str) -> bool:
    return any((each.dataset, each.backbone) == (dataset, backbone) for each in PUBLISHED)


def _stated(dataset: str, backbone: str, epsilon: float) -> str:
    """What the paper says of accuracy there, of its ResNet-50 where it has no such network."""
    backbone = backbone if _in_paper(dataset, backbone) else PAPERS
    who = {True: "with", False: "without", None: "both"}
    said = [
        each.said if each.said.endswith("both") else f"{each.said} ({who[each.attention]})"
        for each in PUBLISHED
        if (each.dataset, each.backbone, each.what) == (dataset, backbone, "accuracy")
        and key(each.epsilon) == key(epsilon)
    ]
    return "; ".join(said) or NOTHING
