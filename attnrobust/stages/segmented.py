"""What evaluate measures of a run that segments. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from attnrobust import task
from attnrobust.disk import conditions
from attnrobust.disk.runs import Run
from attnrobust.measures import metrics, segmentation
from attnrobust.measures.metrics import Measured
from attnrobust.measures.segmentation import SEGMENTATION_METRICS, Pixels
from attnrobust.task import overlap

Arrays = dict[str, np.ndarray]
# Metric, what was measured, over how many images.
Measurement = tuple[str, Measured, int]
# Condition, name, level, measurement: the columns of `measurements.csv` that differ by row.
Told = tuple[str, str, Any, Measurement]


class Images(NamedTuple):
    """What all conditions share.

    Attributes:
        classes: Their names.
        groups: Subjects (N,), where the file tells.
        pixels: How large they are.
    """

    classes: Sequence[str]
    groups: np.ndarray | None
    pixels: Pixels


def measurements(run: Run, clean: Arrays, classes: Sequence[str]) -> Iterator[Told]:
    """The clean condition, corruptions, every finished attack, the worst of several.

    Of every condition: each metric of SEGMENTATION_METRICS as a mean over images, its quantiles
    (`<metric>_q05`, …), the mean of the worst twentieth (`_worst`) and of each class (`[class]`);
    `dice_volume`, the mean over subjects, all images of one together. Under an attack the worse
    of the image with and without it counts, by Dice, since the image itself lies in every ball.
    `dice_drop` is what a condition takes off the Dice of the same images, also for the third of the
    structures that are smallest, and `size_drop_rank` Spearman's correlation of a structure's
    pixels with its drop. `mean_dice`, without a level, is the mean over all levels. The name of a
    metric of lengths ends in its unit, `mm` where the size of a pixel is known, else `px`.
    """
    groups = clean.get("group")
    images = Images(classes, groups, Pixels.of(clean))
    for measurement in measured(clean, images):
        yield "clean", "", "", measurement
    levels: dict[str, list[np.ndarray]] = {}
    for name, severity, corrupted in conditions.corrupted(run, clean):
        for measurement in harmed(clean, corrupted, images):
            yield "corruption", name, severity, measurement
        levels.setdefault(name, []).append(task.score_in(corrupted))
    for name, each in levels.items():
        yield "corruption", name, "", _mean(each, groups)
    yield from _attacks(run, clean, images)


def _attacks(run: Run, clean: Arrays, images: Images) -> Iterator[Told]:
    for label, attack in run.attacks().items():
        norm, scores = run.norm(label), []
        for epsilon in (0.0, *attack.epsilons):
            found = conditions.attacked(run, label, epsilon, clean)
            worst = conditions.worst(clean, [found], norm)
            for measurement in harmed(clean, worst, images):
                yield "attack", label, epsilon, measurement
            for measurement in _sizes(found, norm):
                yield "attack", label, epsilon, measurement
            scores.append(task.score_in(worst))
        yield "attack", label, "", _mean(scores[1:], images.groups)
    for (norm, _), (epsilon, _) in conditions.shared(run).items():
        inside = conditions.within(run, norm, epsilon)
        several = [conditions.attacked(run, label, each, clean) for label, each in inside]
        worst = conditions.worst(clean, several, norm)
        for measurement in harmed(clean, worst, images):
            yield "worst_case", norm, epsilon, measurement


def measured(found: Arrays, images: Images) -> Iterator[Measurement]:
    """Every metric of one condition."""
    prediction, labels = found["prediction"], found["label"]
    classes, groups, (sides, unit) = images
    for name, row in SEGMENTATION_METRICS.items():
        each = row.function(prediction, labels, len(classes), sides)
        yield from segmentation.summary(row.named(name, unit), row, each, classes, groups)
    if groups is not None and len(np.unique(groups)) < len(groups):
        volumes = segmentation.of_volumes(prediction, labels, len(classes), groups)
        yield "dice_volume", metrics.mean(volumes), len(volumes)


def harmed(clean: Arrays, found: Arrays, images: Images) -> Iterator[Measurement]:
    """Every metric of a condition, and what it takes off the Dice of the same images."""
    yield from measured(found, images)
    labels, groups = clean["label"], images.groups
    before, after = (
        overlap.dice_by_class(each["prediction"], labels, len(images.classes))
        for each in (clean, found)
    )
    drop = segmentation.of_images(before) - segmentation.of_images(after)
    yield "dice_drop", metrics.mean(drop, groups=groups), len(drop)
    yield from segmentation.size_and_drop(before, after, labels, groups)


def _sizes(found: Arrays, norm: str) -> Iterator[Measurement]:
    for size in dict.fromkeys(("linf", norm)):
        yield f"{size}_max", Measured(float(found[size].max())), len(found["label"])


def _mean(scores: Sequence[np.ndarray], groups: np.ndarray | None) -> Measurement:
    """Mean Dice over several levels on the same images."""
    mean = np.mean(scores, axis=0)
    return "mean_dice", metrics.mean(mean, groups=groups), len(mean)
