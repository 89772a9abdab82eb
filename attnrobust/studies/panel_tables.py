"""The panel's tables: models on the same images, map by map, and how far seeds agree."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from attnrobust.disk import runs
from attnrobust.explanations.samples import Explained
from attnrobust.measures import maps, metrics
from attnrobust.measures.paired import Difference, compare, difference
from attnrobust.studies.panel_figure import Column

log = logging.getLogger("attnrobust")

DIFFERENCES = ("experiment", "minus", "seed", "metric", "difference", "low", "high", "n")
AGREEMENT = ("experiment", "seeds", "metric", "value", "low", "high", "n")
AGREE: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "spearman": maps.spearman,
    "top_overlap": maps.overlap,
}


def write(columns: Sequence[Column], stem: Path) -> list[Path]:
    """Write `<stem>-differences.csv` and `<stem>-agreement.csv`, each where it has a row.

    Args:
        columns: Of the same images; the first one's experiment is what others are compared with.
        stem: Of the files.

    Returns:
        The paths.
    """
    made = []
    for name, heads, rows in (
        ("differences", DIFFERENCES, list(differences(columns))),
        ("agreement", AGREEMENT, list(agreement(columns))),
    ):
        if rows:
            made.append(stem.with_name(f"{stem.name}-{name}.csv"))
            table = pd.DataFrame(rows, columns=list(heads))
            runs.save_text(made[-1], table.to_csv(index=False))
    return made


def differences(columns: Sequence[Column]) -> Iterator[tuple[object, ...]]:
    """Rows of DIFFERENCES: each other experiment minus the first, a row a seed and one of all.

    That of all is over the seeds that both have, its interval widened by what they vary. Maps of
    images of another size do not compare, and are passed over with a warning.
    """
    named = _by_experiment(columns)
    first, *others = named
    for other in others:
        seeds = sorted(named[first].keys() & named[other].keys())
        pairs = [(named[first][seed], named[other][seed]) for seed in seeds]
        if not pairs or any(not _comparable(*pair) for pair in pairs):
            log.warning(
                "warning: %s and %s have no seed in common or images of another size: their maps "
                "are not compared",
                first,
                other,
            )
            continue
        ids, groups = _common([each for pair in pairs for each in pair])
        for metric in pairs[0][0].shown.measured:
            apart = [
                [each.shown.values(metric)[_places(each.shown, ids)] for each in pair]
                for pair in pairs
            ]
            for seed, (before, after) in zip(seeds, apart, strict=True):
                yield (other, first, seed, metric, *difference(before, after, groups))
            if len(seeds) > 1:
                yield (other, first, "mean", metric, *_over_seeds(np.array(apart), groups))


def _over_seeds(apart: np.ndarray, groups: np.ndarray) -> Difference:
    """Of numbers (seeds, 2, images) the mean difference, whose interval knows what seeds vary."""
    defined = ~np.isnan(apart).any(axis=(0, 1))
    if not defined.any():
        return Difference(np.nan, np.nan, np.nan, 0)
    before, after = (apart[:, side][:, None, defined] for side in (0, 1))
    found = compare(before, after, groups[defined], most=np.inf)[0]
    return Difference(found.value, found.low, found.high, found.n)


def agreement(columns: Sequence[Column]) -> Iterator[tuple[object, ...]]:
    """Rows of AGREEMENT: of each experiment with several seeds, mean over all pairs of them."""
    for name, seeds in _by_experiment(columns).items():
        pairs = list(itertools.combinations(seeds.values(), 2))
        if not pairs or not all(_comparable(*pair) for pair in pairs):
            continue
        ids, groups = _common(list(seeds.values()))
        for metric, of in AGREE.items():
            alike = [_alike(of, one.shown, other.shown, ids) for one, other in pairs]
            # Not defined for a pair of seeds: not defined for the image.
            values = np.mean(alike, axis=0)
            defined = ~np.isnan(values)
            found = metrics.mean(values[defined], groups=groups[defined])
            said = " ".join(map(str, sorted(seeds)))
            yield (name, said, metric, *found[:3], int(defined.sum()))


def _by_experiment(columns: Sequence[Column]) -> dict[str, dict[int, Column]]:
    """Columns by experiment and seed, in the order of the columns."""
    found: dict[str, dict[int, Column]] = {}
    for each in columns:
        experiment = each.run.experiment
        found.setdefault(experiment.name, {})[experiment.seed] = each
    return found


def _comparable(one: Column, other: Column) -> bool:
    return one.shown.heatmaps.shape[1:] == other.shown.heatmaps.shape[1:]


def _common(columns: Sequence[Column]) -> tuple[list[str], np.ndarray]:
    """Ids that all columns hold, sorted, and what each is resampled with."""
    ids = sorted(set.intersection(*(set(map(str, each.shown.ids)) for each in columns)))
    first = columns[0].shown
    return ids, first.groups[_places(first, ids)]


def _places(found: Explained, ids: Sequence[str]) -> list[int]:
    places = {str(id_): place for place, id_ in enumerate(found.ids)}
    return [places[id_] for id_ in ids]


def _alike(
    of: Callable[[np.ndarray, np.ndarray], float],
    one: Explained,
    other: Explained,
    ids: Sequence[str],
) -> np.ndarray:
    pairs = zip(_places(one, ids), _places(other, ids), strict=True)
    return np.array([of(one.heatmaps[first], other.heatmaps[second]) for first, second in pairs])
