"""Claims as data: the files of `experiments/claims/`."""

from __future__ import annotations

import contextlib
import importlib.resources
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from attnrobust.config import lookup
from attnrobust.config.experiment import Experiment
from attnrobust.disk import schemas
from attnrobust.errors import UserError
from attnrobust.measures.maps import MAP_METRICS
from attnrobust.measures.metrics import METRICS
from attnrobust.report import papers
from attnrobust.report.paper_kinds import Part, Where

AGAIN = "report/claims.py says what a file of claims holds"
SECTIONS = tuple(Experiment.__dataclass_fields__)


class Side(Part, frozen=True):
    """A model in a condition.

    Attributes:
        model: One of the file's.
        epsilon: Of the attack, in the scale that the attack was given; 0: without one.
        corruption: On the images, at `severity`; empty: none.
    """

    model: str
    epsilon: Annotated[float, Meta(ge=0)] = 0
    corruption: str = ""
    severity: Annotated[int, Meta(ge=1, le=5)] = 1


class Claim(Part, frozen=True):
    """A number of one side set against that of another.

    Attributes:
        words: The claim, as a sentence.
        first: One side.
        second: The other.
        metric: Row of METRICS that has an interval; a row of MAP_METRICS with the method, as
            `gini[gradient]`: the mean over the heatmaps of the sample images; empty: the share of
            right images, or of runs that segment the mean Dice.
        relation: `>=`: first is at least `times` second plus `by`; `<=`: it is at most that less
            `by`; `within`: they differ by at most `by`.
        by: How much.
        times: What the second is multiplied by, for claims on ratios.
        dataset: Whose (with its task, as the page calls it); empty: any.
        source: Where it is made.
        same: Sections of the settings in which runs must agree to be set side by side.
        where: What else must hold of the runs.
    """

    words: str
    first: Side
    second: Side
    metric: str = ""
    relation: Literal[">=", "<=", "within"] = ">="
    by: Annotated[float, Meta(ge=0)] = 0
    times: Annotated[float, Meta(gt=0)] = 1
    dataset: str = ""
    source: str = ""
    same: list[str] = msgspec.field(default_factory=lambda: ["data", "training"])
    where: Where = msgspec.field(default_factory=dict)


class Model(Part, frozen=True):
    """Runs that a claim speaks of."""

    where: Where


class Claims(Part, frozen=True):
    """A file: who claims it, which models by name, and what."""

    short: str
    models: dict[str, Model]
    claims: list[Claim]


def read(more: Path | None = None) -> list[Claims]:
    """Every file of `experiments/claims/`, in alphabetical order, and one that is named.

    Raises:
        UserError: A file that is damaged or names what there is not; file and key are named.
    """
    return [load(path) for path in (*sorted(folder().glob("*.toml")), *([more] if more else []))]


def folder() -> Path:
    """Where the files are, of a checkout and of an installed package alike."""
    return Path(str(importlib.resources.files("experiments"))) / "claims"


def load(path: Path) -> Claims:
    """One file; raises as `read` does."""
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
        found = msgspec.convert(value, Claims)
        with _at(str(path)):
            papers.require_settings(value, "")
            for number, claim in enumerate(found.claims):
                with _at(f"claims[{number}]"):
                    _require_known(found, claim)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise schemas.damaged(path, error, AGAIN) from None
    return found


@contextlib.contextmanager
def _at(where: str) -> Iterator[None]:
    """What goes wrong inside names the place in the file, too."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _require_known(file: Claims, claim: Claim) -> None:
    for side in (claim.first, claim.second):
        lookup("model", file.models, side.model)
        if side.corruption:
            lookup("corruption", papers.CORRUPTIONS, side.corruption)
        if side.corruption and side.epsilon:
            raise UserError("a corruption and an epsilon: expected one of them")
    if heatmap(claim):
        _require_mapped(claim)
    elif claim.metric:
        _require_measured(claim)
    for section in claim.same:
        lookup("section", dict.fromkeys(SECTIONS), section)


def _require_mapped(claim: Claim) -> None:
    lookup("heatmap metric", MAP_METRICS, claim.metric.partition("[")[0])
    if not re.fullmatch(r"\w+\[\w+\]", claim.metric):
        raise UserError(f"metric '{claim.metric}': expected a method, as gini[gradient]")
    if claim.first.corruption or claim.second.corruption:
        raise UserError(f"metric '{claim.metric}': there are no heatmaps of corrupted images")


def _require_measured(claim: Claim) -> None:
    row = lookup("metric", METRICS, claim.metric)
    kept = [name for name, each in METRICS.items() if not each.biased]
    if row.biased:
        raise UserError(
            f"metric '{claim.metric}' is biased and has no interval: expected one of "
            f"{', '.join(kept)}"
        )
    if attacked(claim) and not row.attacked:
        kept = [name for name in kept if METRICS[name].attacked]
        raise UserError(
            f"metric '{claim.metric}' is not measured under attack: expected one of "
            f"{', '.join(kept)}"
        )


def heatmap(claim: Claim) -> bool:
    """Whether it is of heatmaps: `gini[gradient]`."""
    return claim.metric.partition("[")[0] in MAP_METRICS or "[" in claim.metric


def attacked(claim: Claim) -> bool:
    """Whether a side of it is under attack."""
    return bool(claim.first.epsilon or claim.second.epsilon)
