"""Heatmaps on disk to their rows of `measurements.csv`: what each map is like. No TensorFlow."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from attnrobust.disk.runs import Run
from attnrobust.explanations import UNATTACKED, samples
from attnrobust.measures import metrics
from attnrobust.measures.maps import MAP_METRICS
from attnrobust.measures.metrics import Measured

log = logging.getLogger("attnrobust")


def measurements(run: Run) -> Iterator[tuple[str, str, float | str, str, Measured, int]]:
    """Condition, name, level, metric, value and n: the rows of heatmaps in `measurements.csv`.

    A metric is a row of MAP_METRICS with the method, as `gini[grad_cam]`; its value the mean over
    the images for which it is defined, which are the n, with a bootstrap interval over them, or
    over their groups where one has several; the pointing game's is that of a proportion. The maps
    that were made under an attack's label stand under that attack, at level 0 those of the images
    as they are; where there was no attack, under the clean condition. Heatmaps that are older than
    the attack or the weights are left out.

    Raises:
        UserError: A file is missing or damaged, or holds other images than the others.
    """
    for label, methods in samples.explained(run).items():
        if not samples.current(run, label):
            log.warning(
                "warning: %s: the heatmaps of '%s' are older than their images; they are left out; "
                "run 'explain' again with --force",
                run.root,
                label,
            )
            continue
        clean = label == UNATTACKED
        for method in methods:
            for epsilon, found in samples.at_all_radii(run, label, method).items():
                for metric in found.measured:
                    values = found.values(metric)
                    defined = ~np.isnan(values)
                    mean = _mean(metric, values[defined], found.groups[defined])
                    place = ("clean", "", "") if clean else ("attack", label, epsilon)
                    yield *place, f"{metric}[{method}]", mean, int(defined.sum())


def _mean(metric: str, values: np.ndarray, groups: np.ndarray) -> Measured:
    """With an interval of a proportion where it is one: all of few images is not all of many."""
    if MAP_METRICS[metric].hit and np.isin(values, (0, 1)).all():
        return metrics.proportion(values == 1, groups=groups)
    return metrics.mean(values, groups=groups)
