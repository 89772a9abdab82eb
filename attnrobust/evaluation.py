"""EVALUATE: logits files to `measurements.csv`, one tidy row for each number. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnrobust import metrics, runs
from attnrobust.errors import UserError
from attnrobust.runs import Run

COLUMNS = ("dataset", "experiment", "seed", "split", "condition", "name", "level", "metric",
           "value", "low", "high", "n")  # fmt: skip
Measurement = tuple[str, float, float, float, int]
NONE = float("nan")


def evaluate(run: Run, folder: Path) -> pd.DataFrame:
    """Measure the clean condition and every attack file of a run.

    Args:
        run: With finished predict and attack stages.
        folder: Where `measurements.csv` goes.

    Returns:
        The table, columns as in COLUMNS.

    Raises:
        UserError: A stage is missing, or the attack's own clean row differs from predict's.
    """
    classes = runs.load_json(run.path("provenance.json"))["dataset"]["classes"]
    clean = runs.load_npz(run.require("predict") / "clean.npz")
    rows = [_row(run, "clean", "", "", m) for m in _all_metrics(clean, classes)]
    attack = run.experiment.attack
    files = run.require("attack")
    for epsilon in (0.0, *attack.epsilons):
        attacked = runs.load_npz(files / runs.attack_file(attack.name, epsilon))
        _check_same_images(clean, attacked, epsilon, run)
        for measurement in _attack_metrics(clean, attacked, classes):
            rows.append(_row(run, "attack", attack.name, epsilon, measurement))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    with runs.atomic(folder / "measurements.csv") as temporary:
        table.to_csv(temporary, index=False)
    return table


def _row(run: Run, condition: str, name: str, level: Any, measurement: Measurement) -> list[Any]:
    metric, value, low, high, n = measurement
    experiment = run.experiment
    return [experiment.data.dataset, experiment.name, experiment.seed, "test", condition, name,
            level, metric, value, low, high, n]  # fmt: skip


def _all_metrics(clean: dict[str, np.ndarray], classes: Sequence[str]) -> Iterator[Measurement]:
    labels, probability = clean["label"], metrics.probabilities(clean["logits"])
    for name, metric in metrics.METRICS.items():
        yield name, *metrics.measure(metric, labels, probability), len(labels)
    yield from _recalls(labels, probability, classes)
    yield "majority_rate", float(np.bincount(labels).max() / len(labels)), NONE, NONE, len(labels)


def _recalls(
    labels: np.ndarray, probability: np.ndarray, classes: Sequence[str]
) -> Iterator[Measurement]:
    correct = probability.argmax(axis=1) == labels
    for index, class_ in enumerate(classes):
        mine = labels == index
        yield _proportion(f"recall[{class_}]", correct[mine])


def _attack_metrics(
    clean: dict[str, np.ndarray], attacked: dict[str, np.ndarray], classes: Sequence[str]
) -> Iterator[Measurement]:
    """What an attack leaves. No AUC: adversarials are made to cross the decision, not to rank."""
    labels, probability = attacked["label"], metrics.probabilities(attacked["logits"])
    for name in ("accuracy", "balanced_accuracy"):
        yield name, *metrics.measure(metrics.METRICS[name], labels, probability), len(labels)
    yield from _recalls(labels, probability, classes)
    before, after = clean["logits"].argmax(axis=1), attacked["logits"].argmax(axis=1)
    yield _proportion("attack_success_rate", (after != labels)[before == labels])
    yield _proportion("prediction_change_rate", after != before)
    yield "linf_max", float(attacked["linf"].max()), NONE, NONE, len(labels)


def _proportion(name: str, hits: np.ndarray) -> Measurement:
    n, count = len(hits), int(hits.sum())
    return name, count / n if n else NONE, *metrics.wilson(count, n), n


def _check_same_images(
    clean: dict[str, np.ndarray], attacked: dict[str, np.ndarray], epsilon: float, run: Run
) -> None:
    if not np.array_equal(clean["id"], attacked["id"]):
        raise UserError(f"{run.root}: predict and attack (ε {epsilon:g}) hold different images")
    if epsilon == 0 and not np.array_equal(
        clean["logits"].argmax(axis=1), attacked["logits"].argmax(axis=1)
    ):
        raise UserError(
            f"{run.root}: the attack's clean predictions differ from predict's; the weights have "
            "changed in between: run predict and attack again with --force"
        )
