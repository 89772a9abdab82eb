"""What the paper states, beside the same condition of our runs. Its numbers, not ours.

I. Wasserman, Adversarially Robust Medical Classification via Attentive Convolutional Neural
Networks. Only what the text says: nothing is read off its figures. Where it has words and no
number, its words stand here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from attnrobust.report.comparison import Compared
from attnrobust.report.results import NOTHING, Estimate, Result, grouped, number
from attnrobust.report.tables import Table, combine, heads

ATTACK = "linf_pgd"


@dataclass(frozen=True)
class Statement:
    """One thing that the paper says.

    Attributes:
        dataset: As our runs name it.
        backbone: As our runs name it.
        attention: With soft attention, without, or None for both models.
        epsilon: Radius as the paper gives it; 0 without an attack.
        said: Its number or words.
        source: Where it says so.
        what: `accuracy`, or `correlation` for words on how alike heatmaps are.
    """

    dataset: str
    backbone: str
    attention: bool | None
    epsilon: float
    said: str
    source: str
    what: str = "accuracy"

    @property
    def heading(self) -> str:
        """What is said, of which model, at which radius."""
        what = {"accuracy": "accuracy", "correlation": "heatmaps, clean and attacked"}[self.what]
        where = f"at ε\u00a0=\u00a0{number(self.epsilon)}" if self.epsilon else "without an attack"
        who = {True: "with attention", False: "without attention", None: "both models"}
        return f"{what} {where}, {who[self.attention]}"


def tables(results: Sequence[Result], held: Sequence[Compared]) -> list[Table]:
    """A table for each dataset and backbone of the paper that was run; none for others."""
    compared = {each.result.key: each for each in held}
    made = []
    for (dataset, backbone, label), members in grouped(results, "panel").items():
        stated = [s for s in PUBLISHED if (s.dataset, s.backbone) == (dataset, backbone)]
        other = any(each.setting.name != ATTACK or each.setting.target for each in members)
        if not stated or other:
            continue
        rows = [row for statement in stated for row in _rows(statement, members, compared)]
        columns = ("What", "Wasserman, from the paper", "Where", "Our model", "Ours")
        made.append(
            Table(
                name=f"published-{dataset}-{backbone}-{label}",
                caption=f"Published: {dataset}, {backbone}; ours under {label}. The second column "
                "is the paper’s.",
                columns=columns,
                rows=tuple(rows),
                frame=pd.DataFrame(rows, columns=list(columns)),
                note="The paper’s models, training, test images and attack steps are its own; it "
                "does not say in which scale its ε is. Ours stands where the same ε was run, "
                "in the scale that the attack was given: accuracy on our test split, or "
                "correlation of the heatmaps.",
            )
        )
    return made


def _rows(
    said: Statement, members: Sequence[Result], compared: dict[tuple[Path, str], Compared]
) -> Iterator[tuple[str, ...]]:
    """A row for each of our models that the statement is about; one with dashes if none is."""
    fitting = [
        each
        for each in members
        if said.attention in (None, each.run.experiment.model.head.startswith("soft_attention"))
    ]
    for head, seeds in heads(fitting) or [(NOTHING, [])]:
        ours = combine([_value(said, each, compared) for each in seeds])
        yield said.heading, said.said, said.source, head, ours


def _value(
    said: Statement, result: Result, compared: dict[tuple[Path, str], Compared]
) -> Estimate | None:
    if said.what == "accuracy":
        if said.epsilon:
            return result.under("accuracy", said.epsilon / result.asked_scale)
        return result.clean["accuracy"]
    mine = compared.get(result.key)
    epsilon = said.epsilon / result.asked_scale
    return mine.at(mine.methods[0], "all", "correlation", epsilon) if mine else None


SKIN, EYE, CHEST = "ham10000", "eyepacs-binary", "chestxray14"
RESNET, INCEPTION = "resnet50", "inception_resnet_v2"
NEAR = "near-identical; 6 % apart at most, skin and eye taken together"

PUBLISHED: tuple[Statement, ...] = (
    Statement(SKIN, RESNET, False, 0, "0.905", "4.1, fig. 3"),
    Statement(SKIN, RESNET, True, 0, "0.88", "4.1, fig. 3"),
    Statement(SKIN, RESNET, False, 0.00125, "reduced by 24 %", "4.1, fig. 3"),
    Statement(SKIN, RESNET, True, 0.00125, "in the lead", "4.1, fig. 3"),
    Statement(SKIN, RESNET, False, 0.005, "worse than random", "4.1, fig. 3"),
    Statement(SKIN, RESNET, False, 0.01, "0", "4.1, fig. 3"),
    Statement(SKIN, RESNET, True, 0.01, "better than random selection", "4.1, fig. 3"),
    Statement(
        SKIN, RESNET, None, 0.01, "invariant to perturbation", "5.1.1, fig. 13", "correlation"
    ),
    Statement(EYE, RESNET, False, 0, "0.832", "4.1, fig. 4"),
    Statement(EYE, RESNET, True, 0, "0.818", "4.1, fig. 4"),
    Statement(EYE, RESNET, None, 0.01, "reduced by 3 %, by no smaller ε", "4.1, fig. 4"),
    Statement(EYE, RESNET, None, 0.02, "begins falling, less so with attention", "4.1, fig. 4"),
    Statement(EYE, RESNET, True, 0.32, "over 20 times that without attention", "4.1, fig. 4"),
    Statement(
        EYE, RESNET, None, 0.32, "invariant to perturbation", "5.1.1, fig. 13", "correlation"
    ),
    Statement(CHEST, RESNET, None, 0.32, "0.805, both", "4.1, fig. 5"),
    Statement(
        CHEST,
        RESNET,
        False,
        0.32,
        "occasionally very different, only under successful attacks",
        "5.1.1, fig. 11 and 13",
        "correlation",
    ),
    Statement(SKIN, INCEPTION, None, 0, "within 1 % of each other", "4.2, fig. 6"),
    Statement(SKIN, INCEPTION, None, 0.00125, NEAR, "4.2, fig. 6"),
    Statement(
        SKIN,
        INCEPTION,
        None,
        0.00125,
        "greatly impacted, often nearly inverted",
        "5.1.2, fig. 14",
        "correlation",
    ),
    Statement(EYE, INCEPTION, None, 0, "within 1 % of each other", "4.2, fig. 7"),
    Statement(EYE, INCEPTION, None, 0.00125, NEAR, "4.2, fig. 7"),
    Statement(
        EYE,
        INCEPTION,
        None,
        0.00125,
        "greatly impacted, often nearly inverted",
        "5.1.2, fig. 14",
        "correlation",
    ),
    Statement(CHEST, INCEPTION, None, 0, "within 1 % of each other", "4.2, fig. 8"),
    Statement(CHEST, INCEPTION, True, 0.00125, "worse than random beyond this ε", "4.2, fig. 8"),
    Statement(CHEST, INCEPTION, False, 0.005, "remains usable", "4.2, fig. 8"),
    Statement(
        CHEST,
        INCEPTION,
        None,
        0.00125,
        "less affected than skin and eye",
        "5.1.2, fig. 14",
        "correlation",
    ),
)
