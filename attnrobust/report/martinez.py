"""Robust training on chest X-rays: another paper's Tables I and II beside our runs.

J. Martínez-Martínez and S. Nabavi, Addressing Vulnerability in Medical Deep Learning through Robust
Training. Its numbers, not ours; as shares of 1 where it has per cent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from attnrobust.report.results import (
    Estimate,
    Result,
    grouped,
    key,
    mean_accuracy,
    once,
)
from attnrobust.report.sections import Section
from attnrobust.report.tables import Table, combine, heads

DATASET, TASK = "covid_cxr", "covid"
STEPS = 20
EPSILONS = tuple(key(step / 255) for step in range(1, 6))
NOISES = ("gaussian_noise", "salt_and_pepper", "speckle")
SEVERITIES = ("1", "2", "3", "4", "5")
COLUMNS = ("Clean", "Adversarial", "Gaussian", "S&P", "Speckle", "Calibration error", "Entropy")
# By our name of the method: theirs, and the seven numbers of its row in Tables I and II.
PUBLISHED: dict[str, tuple[str, tuple[float, ...]]] = {
    "standard": ("Standard", (0.9580, 0.2224, 0.7278, 0.7200, 0.8651, 0.0714, 2.96)),
    "adversarial": ("Robust", (0.9596, 0.8983, 0.8291, 0.6198, 0.9591, 0.0561, 2.81)),
    "augmix": ("AugMix", (0.9425, 0.1241, 0.2127, 0.2607, 0.4435, 0.0611, 4.47)),
    "robust_augmix": ("RobustAugMix", (0.9627, 0.8210, 0.8356, 0.6975, 0.9486, 0.0232, 4.09)),
}
WORDS = (
    "Martínez-Martínez and Nabavi trained a ResNet-18 in four ways on COVID-19 chest X-rays. Rows "
    "marked “paper” are their Tables I and II, the others are ours. Adversarial: mean robust "
    "accuracy over ε = 1/255 to 5/255 (L-infinity; the paper says 1 to 5). Noises: mean over all "
    "five severities. Calibration error (RMSCE) and entropy: on the clean test images. The paper’s "
    "attack is PGD with 20 steps; a row of ours under another attack names it.",
)
NOISE_NOTE = (
    "Their split, training and attack are their own. Their noise goes from 0.1 to 1 in variance or "
    "amount, as our severities 1 to 5 do; they do not say in which steps."
)
NOTE = (
    "The paper gives no unit for its entropy and no estimator for its calibration error. Our "
    "entropy is in nats, our RMSCE is over all classes and debiased: the two need not compare."
)


def section(results: Sequence[Result]) -> Section | None:
    """Both tables, or None where no run on that data was trained in one of these ways."""
    ours = [
        each
        for each in results
        if each.dataset == f"{DATASET}-{TASK}" and _method(each) in PUBLISHED
    ]
    members = [each for each in ours if _plainly_trained(each)]
    if not members:
        return None
    words = list(WORDS)
    if out := list(dict.fromkeys(each.name for each in ours if each not in members)):
        words.append(
            "Left out, since they start from another run, learn in part, train on "
            f"corrupted images or were measured elsewhere: {', '.join(out)}."
        )
    rows, records = [], []
    for method, (name, numbers) in PUBLISHED.items():
        rows.append((f"{name}, paper", *map(_theirs, numbers)))
        records.append((name, "paper", None, *numbers))
        for head, part in _parts([each for each in members if _method(each) == method]):
            cells = [_ours(each) for each in part]
            rows.append((f"{name}, {head}", *map(combine, zip(*cells, strict=True))))
            for each, row in zip(part, cells, strict=True):
                values = [found.value if found else math.nan for found in row]
                records.append((name, each.label, each.run.experiment.seed, *values))
    frame = pd.DataFrame(records, columns=["method", "model", "seed", *COLUMNS])
    frame = frame.astype({"seed": "Int64"})
    made = tuple(
        Table(
            name=f"martinez-{kind}",
            caption=f"{caption} by training method; rows marked “paper” are not ours.",
            columns=("Method", *COLUMNS[part]),
            rows=tuple((row[0], *row[1:][part]) for row in rows),
            frame=frame[["method", "model", "seed", *COLUMNS[part]]],
            note=note,
        )
        for kind, caption, part, note in (
            ("accuracy", "Accuracy", slice(0, 5), NOISE_NOTE),
            ("calibration", "Calibration error and entropy", slice(5, 7), NOTE),
        )
    )
    return Section("martinez", "Robust training, after Martinez", tuple(words), tables=made)


def _method(result: Result) -> str:
    return result.run.experiment.training.method


def _plainly_trained(result: Result) -> bool:
    training = result.run.experiment.training
    changed = training.corruptions or training.start or training.groups is not None
    return not changed and not result.run.elsewhere()


def _theirs(value: float) -> str:
    return f"{value:.2f}" if value > 1 else f"{value:.4f}"


def _parts(mine: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    """Every experiment under each of its attacks that has these ε; once where none has."""
    for of_group in grouped(mine, "group").values():
        fitting = [
            each
            for each in of_group
            if each.norm == "linf" and mean_accuracy(each.attacked, EPSILONS)
        ]
        attacks = grouped(fitting, "attack")
        for label, part in attacks.items():
            ((head, seeds),) = heads(part)
            usual = all(_as_theirs(each) for each in seeds)
            yield head if usual and len(attacks) == 1 else f"{head}, {_said(label, seeds)}", seeds
        if not attacks:
            yield heads(once(of_group))[0]


def _as_theirs(result: Result) -> bool:
    setting = result.setting
    return (
        setting.name == "linf_pgd"
        and setting.steps == STEPS
        and not setting.target
        and setting.outputs == "logits"
    )


def _said(label: str, seeds: Sequence[Result]) -> str:
    """What an attack is called, and what it is where the name does not say so."""
    if all(_as_theirs(each) for each in seeds):
        return label
    setting = seeds[0].setting
    target = f" targeted at {setting.target}" if setting.target else ""
    return f"{label} ({setting.name}, {setting.steps} steps{target})"


def _ours(result: Result) -> list[Estimate | None]:
    """The seven numbers of a run under one attack, in the order of COLUMNS."""
    fitting = mean_accuracy(result.attacked, EPSILONS) if result.norm == "linf" else None
    noises = [result.corrupted.get(name, {}) for name in NOISES]
    return [
        result.clean["accuracy"],
        fitting,
        *(mean_accuracy(found, SEVERITIES) for found in noises),
        result.clean.get("rmsce"),
        result.clean.get("entropy"),
    ]
