"""Reads what the explain stage compared: `comparison.csv` of every run that has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from attnrobust.disk import schemas
from attnrobust.measures.heatmaps import HEATMAP_METRICS
from attnrobust.report.reading import estimate
from attnrobust.report.results import Estimate, Result, key


@dataclass(frozen=True)
class Compared:
    """The heatmap comparison of one run.

    Attributes:
        result: The run.
        frame: Its rows of `comparison.csv` under the run's attack.
        estimates: By (method, subset, metric, epsilon as text).
        left_out: Images for which a metric is not defined, by the same.
    """

    result: Result
    frame: pd.DataFrame
    estimates: dict[tuple[str, str, str, str], Estimate]
    left_out: dict[tuple[str, str, str, str], int]

    @property
    def methods(self) -> tuple[str, ...]:
        """Explanation methods, in the order of the file."""
        return tuple(dict.fromkeys(self.frame["method"]))

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Radii compared, rising."""
        return tuple(sorted(set(self.frame["level"])))

    @property
    def masked(self) -> bool:
        """Whether the region that matters was known."""
        return any(
            HEATMAP_METRICS[name].masked
            for name in self.frame["metric"].unique()
            if name in HEATMAP_METRICS
        )

    def at(self, method: str, subset: str, metric: str, epsilon: float) -> Estimate | None:
        """One estimate, or None where it was not measured."""
        return self.estimates.get((method, subset, metric, key(epsilon)))


def read(results: Sequence[Result]) -> list[Compared]:
    """The comparisons of those runs that have one.

    Raises:
        UserError: A damaged file.
    """
    found = []
    for result in results:
        path = result.path("explain", "comparison.csv")
        if not path.is_file():
            continue
        frame = schemas.load_table(path, schemas.COMPARISON, stage="explain")
        frame = frame[frame["name"] == result.attack]
        if len(frame):
            names = [
                (row.method, row.subset, row.metric, key(row.level)) for row in frame.itertuples()
            ]
            estimates = dict(zip(names, map(estimate, frame.itertuples()), strict=True))
            left_out = dict(zip(names, map(int, frame["left_out"]), strict=True))
            found.append(Compared(result, frame, estimates, left_out))
    return found
