"""EVALUATE: logits files to `measurements.csv`, one tidy row for each number. No TensorFlow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnrobust import task
from attnrobust.disk import conditions, runs, schemas, stamps
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.explanations import measured
from attnrobust.measures import calibration, metrics
from attnrobust.measures.metrics import Measured
from attnrobust.stages import segmented

COLUMNS = (
    "dataset",
    "experiment",
    "seed",
    "split",
    "condition",
    "name",
    "level",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "interval",
)
log = logging.getLogger("attnrobust")

# Metric, what was measured, over how many images.
Measurement = tuple[str, Measured, int]


def evaluate(run: Run, folder: Path) -> pd.DataFrame:
    """Measure the clean condition, corruptions, every finished attack, the worst of several.

    Without a finished attack there are clean numbers alone.

    Condition `attack` is named by the attack's label, `worst_case` by the norm: an image stands
    there only if it stands under every attack of that norm that was run at that epsilon.
    Right under an attack is what is right without it, too: the image itself lies in every ball.
    `prediction_change_rate` alone compares the predictions as they are.
    `accuracy_drop` is what a corruption takes off the clean accuracy.
    `mean_accuracy`, without a level, is the mean over all severities, or over all epsilons above 0.
    `attack_success_rate` counts among the images that were right without the attack; of a targeted
    one those that it made its class of, among the right ones of other classes.
    `interval` says what `low` and `high` were made by (attnrobust/measures/metrics.py).
    `temperature` is fitted on the validation split; `<metric>_scaled` is a calibration metric of
    the clean condition with the logits divided by it.
    What heatmaps of the sample images are like: see `explanations.measured.measurements`.
    Of a run that segments: see `segmented.measurements`.

    Args:
        run: With a finished predict stage.
        folder: Where `measurements.csv` goes.

    Returns:
        The table, columns as in COLUMNS.

    Raises:
        UserError: Predict is missing, predictions are older than the weights, a file holds other
            images, or the attack's own clean row differs from predict's.
    """
    classes = _classes(run)
    predictions = run.require("predict")
    run.require_fresh()
    clean = schemas.load_npz(predictions / "clean.npz", schemas.PREDICTED)
    _require_classes(predictions / "clean.npz", clean, classes)
    attacks = run.attacks()
    if not attacks:
        log.info("no attack has finished: clean numbers alone")
    for place in run.root.glob("attack/*/stage.json"):
        if place.parent.name not in attacks and stamps.begun(place.parent):
            log.warning("warning: attack '%s' has not finished; it is left out", place.parent.name)
    for label in run.outdated():
        log.warning(
            "warning: attack '%s' was made by an earlier version, which may have left more "
            "standing; make it anew with --force",
            label,
        )
    table = pd.DataFrame(_told(_measured(run, clean, classes)), columns=list(COLUMNS))
    runs.save_text(folder / "measurements.csv", table.to_csv(index=False))
    return table


def _require_classes(place: Path, clean: Mapping[str, np.ndarray], classes: Sequence[str]) -> None:
    """Raise a UserError where predictions are of another number of classes."""
    if "logits" in clean and clean["logits"].shape[1] != len(classes):
        raise schemas.damaged(
            place,
            f"logits of another number of classes than the {len(classes)} of provenance.json",
        )
    if max(int(clean["label"].max()), int(task.predict_in(clean).max())) >= len(classes):
        raise schemas.damaged(place, f"a class beyond the {len(classes)} of provenance.json")


def _measured(
    run: Run, clean: dict[str, np.ndarray], classes: Sequence[str]
) -> Iterator[list[Any]]:
    """All rows, as the task of the run has them."""
    if task.of_file(clean).graded:
        for condition, name, level, measurement in segmented.measurements(run, clean, classes):
            yield _row(run, condition, name, level, measurement)
    else:
        yield from _clean(run, clean, classes)
        yield from _corruptions(run, clean, classes)
        yield from _attacks(run, clean, classes)
    for condition, name, level, metric, value, n in measured.measurements(run):
        yield _row(run, condition, name, level, (metric, value, n))


def _told(rows: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """The rows as they come; the accuracies among them are said, which shows how far it is."""
    for row in rows:
        found = dict(zip(COLUMNS, row, strict=True))
        if found["metric"] in ("accuracy", "dice"):
            level = f" {found['level']:g}" if found["level"] != "" else ""
            log.info(
                "  %-32s %s %.3f (%.3f to %.3f), n = %d",
                f"{found['condition']} {found['name']}".rstrip() + level,
                found["metric"],
                *(found[column] for column in ("value", "low", "high", "n")),
            )
        yield row


def _classes(run: Run) -> list[str]:
    """Class names in label order, as training found them in the records."""
    place, again = run.path("provenance.json"), "run 'train' again"
    described = schemas.load_json(place, schemas.Provenance, again).get("dataset")
    if not described:
        raise schemas.damaged(place, "no dataset in it", again)
    return list(described["classes"])


def _clean(run: Run, clean: dict[str, np.ndarray], classes: Sequence[str]) -> Iterator[list[Any]]:
    for measurement in _all_metrics(clean, classes):
        yield _row(run, "clean", "", "", measurement)
    path = run.path("predict", "validation.npz")
    if not path.exists():  # Predicted before that file was written, or no such images.
        return
    held = schemas.load_npz(path, schemas.PREDICTED)
    if held["logits"].shape[1] != len(classes):
        raise schemas.damaged(path, f"logits of other than {len(classes)} classes")
    found = calibration.temperature(held["label"], held["logits"])
    if calibration.is_at_end(found):
        log.warning(
            "warning: no temperature is best for the validation split (it is all right, or "
            "no better than chance); %g, an end of the range, is taken",
            found,
        )
    fitted = ("temperature", Measured(found), len(held["label"]))
    yield _row(run, "clean", "", "", fitted, split="validation")
    scaled = metrics.probabilities(clean["logits"].astype(np.float64) / found)
    for name, metric in calibration.CALIBRATION.items():
        value = metrics.measure(metric, clean["label"], scaled, groups=clean.get("group"))
        yield _row(run, "clean", "", "", (f"{name}_scaled", value, len(scaled)))


def _corruptions(
    run: Run, clean: dict[str, np.ndarray], classes: Sequence[str]
) -> Iterator[list[Any]]:
    right: dict[str, list[np.ndarray]] = {}
    for name, severity, corrupted in conditions.corrupted(run, clean):
        for measurement in _all_metrics(corrupted, classes):
            yield _row(run, "corruption", name, severity, measurement)
        # On the same images, so that its interval is narrower than either accuracy's tells.
        lost = task.right_in(clean).astype(float) - task.right_in(corrupted)
        drop = metrics.mean(lost, groups=clean.get("group"))
        yield _row(run, "corruption", name, severity, ("accuracy_drop", drop, len(lost)))
        right.setdefault(name, []).append(task.right_in(corrupted))
    for name, each in right.items():
        yield _row(run, "corruption", name, "", _mean_accuracy(each, clean.get("group")))


def _attacks(run: Run, clean: dict[str, np.ndarray], classes: Sequence[str]) -> Iterator[list[Any]]:
    for label, attack in run.attacks().items():
        norm, right = run.norm(label), []
        for epsilon in (0.0, *attack.epsilons):
            attacked = conditions.attacked(run, label, epsilon, clean)
            aim = attack.target or None
            if aim and aim not in classes:
                raise UserError(
                    f"{run.attacked(label) / 'stage.json'}: attack.target '{aim}': "
                    f"expected one of {', '.join(classes)}; run 'attack' again with "
                    "--force"
                )
            for measurement in _attack_metrics(clean, attacked, classes, norm, aim):
                yield _row(run, "attack", label, epsilon, measurement)
            right.append(task.right_in(clean) & task.right_in(attacked))
        yield _row(run, "attack", label, "", _mean_accuracy(right[1:], clean.get("group")))
    for (norm, _), (epsilon, _) in conditions.shared(run).items():
        inside = conditions.within(run, norm, epsilon)
        several = [conditions.attacked(run, label, each, clean) for label, each in inside]
        for measurement in _attack_metrics(
            clean, conditions.worst(clean, several, norm), classes, norm
        ):
            yield _row(run, "worst_case", norm, epsilon, measurement)


def _mean_accuracy(right: Sequence[np.ndarray], groups: np.ndarray | None) -> Measurement:
    """Of several levels on the same images, whose shares of levels withstood are resampled."""
    share = np.mean(right, axis=0)
    return "mean_accuracy", metrics.mean(share, groups=groups), len(share)


def _row(
    run: Run,
    condition: str,
    name: str,
    level: Any,
    measurement: Measurement,
    *,
    split: str = "test",
) -> list[Any]:
    metric, (value, low, high, interval), n = measurement
    experiment = run.experiment
    return [
        experiment.data.dataset,
        experiment.name,
        experiment.seed,
        split,
        condition,
        name,
        level,
        metric,
        value,
        low,
        high,
        n,
        interval,
    ]


def _all_metrics(clean: dict[str, np.ndarray], classes: Sequence[str]) -> Iterator[Measurement]:
    labels, probability = clean["label"], metrics.probabilities(clean["logits"])
    groups = clean.get("group")
    for name, metric in metrics.METRICS.items():
        yield name, metrics.measure(metric, labels, probability, groups=groups), len(labels)
    yield from _recalls(labels, probability, classes, groups)
    majority = float(np.bincount(labels).max() / len(labels))
    yield "majority_rate", Measured(majority), len(labels)


def _recalls(
    labels: np.ndarray, probability: np.ndarray, classes: Sequence[str], groups: np.ndarray | None
) -> Iterator[Measurement]:
    correct = task.right(probability, labels)
    for index, class_ in enumerate(classes):
        yield _proportion(f"recall[{class_}]", correct, labels == index, groups)


def _attack_metrics(
    clean: dict[str, np.ndarray],
    attacked: dict[str, np.ndarray],
    classes: Sequence[str],
    norm: str,
    target: str | None = None,
) -> Iterator[Measurement]:
    """What an attack leaves."""
    labels, groups = attacked["label"], clean.get("group")
    probability = metrics.probabilities(conditions.worst(clean, [attacked], norm)["logits"])
    for name, metric in metrics.METRICS.items():
        if metric.attacked:
            yield name, metrics.measure(metric, labels, probability, groups=groups), len(labels)
    yield from _recalls(labels, probability, classes, groups)
    before, after = (task.predict(each["logits"]) for each in (clean, attacked))
    # A targeted attack has succeeded where its class is read; images of that class it leaves alone.
    aim = None if target is None else list(classes).index(target)
    reached = task.of(attacked["logits"]).reached(attacked["logits"], labels, aim)
    asked = task.right_in(clean) & (labels != aim)
    yield _proportion("attack_success_rate", reached == task.FALLEN, asked, groups)
    yield _proportion("prediction_change_rate", after != before, slice(None), groups)
    for size in dict.fromkeys(("linf", norm)):
        yield f"{size}_max", Measured(float(attacked[size].max())), len(labels)


def _proportion(
    name: str, hits: np.ndarray, among: np.ndarray | slice, groups: np.ndarray | None
) -> Measurement:
    """Share of hits (N,) bool among some of the images."""
    mine = hits[among]
    own = None if groups is None else groups[among]
    return name, metrics.proportion(mine, groups=own), len(mine)
