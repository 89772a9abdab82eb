"""The photographs of the page: heatmaps of every run, models side by side; figures numbered."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnrobust.disk.runs import atomic, safe_name
from attnrobust.report import commands, pictures, samples, sheets
from attnrobust.report.results import Result, grouped, key


@dataclass(frozen=True)
class Embedded:
    """A figure as the template prints it."""

    number: int
    source: str
    alt: str
    caption: str
    width: int
    height: int


@dataclass
class Album:
    """Writes every figure to a file and hands it back for the page, numbered.

    Attributes:
        folder: Where the PNG files go.
        limit: Bytes that a photograph may take on the page.
        names: Files so far.
    """

    folder: Path
    limit: int
    names: list[str] = field(default_factory=list)

    def add(self, picture: pictures.Picture | None) -> list[Embedded]:
        """The figure for the page, as a list of one; an empty list for None."""
        if picture is None:
            return []
        self.names.append(f"{safe_name(picture.name)}.png")
        lossless = pictures.png(picture.pixels)
        with atomic(self.folder / self.names[-1]) as temporary:
            temporary.write_bytes(lossless)
        kind, data = pictures.embed(picture, self.limit, lossless)
        source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
        height, width = picture.pixels.shape[:2]
        shown = round(height * picture.width / width)
        return [
            Embedded(len(self.names), source, picture.alt, picture.caption, picture.width, shown)
        ]


@dataclass
class Gallery:
    """The heatmap figures of one run and method.

    Attributes:
        heading: Run and method.
        missing: A sentence that says how to make them, where there are none.
        levels: One for each epsilon shown: summary, whether it is open, figures.
    """

    heading: str
    missing: str = ""
    levels: list[tuple[str, bool, list[Embedded]]] = field(default_factory=list)


def _explained(result: Result) -> bool:
    return any(
        result.path("explain", f"{method}-clean.npz").is_file()
        for method in result.explanation.methods
    )


def _with_heatmaps(results: Sequence[Result]) -> list[Result]:
    """Every result that has heatmaps, and the first of each run that has none."""
    chosen = []
    for mine in grouped(results, "run").values():
        chosen += [each for each in mine if _explained(each)] or mine[:1]
    return chosen


def _shown_fully(results: Sequence[Result]) -> set[tuple[Path, str]]:
    """Keys of those shown at every epsilon: an experiment's first seed, its first attack."""
    return {mine[0].key for mine in grouped(_with_heatmaps(results), "group").values()}


def expected_photos(results: Sequence[Result]) -> int:
    """About how many photographic figures there will be, to share the page's bytes among."""
    full, shown = _shown_fully(results), _with_heatmaps(results)
    # A strip and three comparisons for each dataset and attack.
    count = 4 * len({result.panel[::2] for result in shown if result.key in full})
    for result in shown:
        levels = len(result.explanation.methods)
        if result.key in full:
            levels += len(result.epsilons) - 1
        count += levels * math.ceil(result.setting.samples / 8)
    return max(1, count)


def slug(result: Result) -> str:
    """The name of a run for files."""
    experiment = result.run.experiment
    return safe_name(f"{experiment.data.dataset}-{experiment.name}-{experiment.seed}")


def galleries(
    results: Sequence[Result], album: Album
) -> tuple[list[Gallery], list[samples.Samples]]:
    """Heatmap figures of every run, and one set of samples an experiment to compare models by."""
    made, held, full = [], [], _shown_fully(results)
    for result in _with_heatmaps(results):
        for order, method in enumerate(result.explanation.methods):
            gallery = Gallery(f"{result.label}, {method}")
            made.append(gallery)
            found = samples.read(result, method)
            telling = found.telling() if found else None
            if found is None or telling is None:
                gallery.missing = commands.heatmaps(result)
                continue
            # Further methods and seeds at one epsilon, or the page would grow beyond reading.
            everything = order == 0 and result.key in full
            for condition in found.attacked if everything else (telling,):
                name = f"samples-{slug(result)}-{method}-{result.attack}-{key(condition.epsilon)}"
                shown = [
                    each
                    for picture in sheets.sample_sheets(found, condition, name)
                    for each in album.add(picture)
                ]
                level = (sheets.heading(found, condition), condition is telling, shown)
                gallery.levels.append(level)
            if everything:
                held.append(found)
    return made, held


def side_by_side(
    held: Sequence[samples.Samples], album: Album
) -> tuple[list[Embedded], list[Embedded]]:
    """One image at every epsilon, and a few under all models, by dataset and attack."""
    strips: list[Embedded] = []
    comparisons: list[Embedded] = []
    together: dict[str, list[samples.Samples]] = {}
    for each in held:
        dataset, _, attack = each.result.panel
        together.setdefault(safe_name(f"{dataset}-{attack}"), []).append(each)
    for where, members in together.items():
        chosen = samples.choose(members, 4)
        for sample in chosen[:1]:
            strips += album.add(
                sheets.strip(members, sample, name=f"strip-{where}", perturbations=True)
            )
        if len(members) > 1:
            for order, sample in enumerate(chosen[1:] or chosen, start=1):
                name = f"compare-{where}-{order}"
                picture = sheets.strip(members, sample, name=name, perturbations=False)
                comparisons += album.add(picture)
    return strips, comparisons
