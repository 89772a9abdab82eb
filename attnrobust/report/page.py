"""REPORT: runs to one self-contained HTML page, its figures as PNG and its tables as CSV."""

from __future__ import annotations

import base64
import itertools
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from attnrobust.report import comparison, figures, published, samples, sheets, tables, wording
from attnrobust.report.results import Result, grouped, key, read
from attnrobust.runs import Run, atomic, save_text

log = logging.getLogger("attnrobust")

# Bytes of photographs on the page before base64 adds a third: a page mailed or opened from a
# server stays below 15 MB. The PNG files beside it are not limited.
PHOTO_BYTES = 10_000_000


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
        count: Figures so far.
    """

    folder: Path
    limit: int
    count: int = 0

    def add(self, picture: figures.Picture | None) -> list[Embedded]:
        """The figure for the page, as a list of one; an empty list for None."""
        if picture is None:
            return []
        with atomic(self.folder / f"{picture.name}.png") as temporary:
            temporary.write_bytes(figures.png(picture.pixels))
        kind, data = figures.embed(picture, self.limit)
        source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
        height, width = picture.pixels.shape[:2]
        self.count += 1
        shown = round(height * picture.width / width)
        return [Embedded(self.count, source, picture.alt, picture.caption, picture.width, shown)]


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


def write(run_list: Sequence[Run], out: Path, *, title: str | None = None) -> Path:
    """Write `index.html`, `figures/*.png` and `tables/*.csv` below `out`.

    The same runs give the same bytes: the page holds no time of its own.

    Args:
        run_list: Evaluated runs, of one or several experiments and seeds.
        out: Folder; made where missing.
        title: Heading of the page; made from the runs if None.

    Returns:
        Path of the page.

    Raises:
        UserError: No run, a run that was not evaluated, a damaged file, or a full disk.
    """
    results = read(run_list)
    album = Album(out / "figures", limit=PHOTO_BYTES // _expected_photos(results))
    look = figures.colours(results)
    headline = album.add(figures.accuracy_curves(results, look))
    training = [
        each
        for result in results
        for each in album.add(
            figures.training_curves(result, look[result.group][0], name=f"training-{_slug(result)}")
        )
    ]
    galleries, held = _galleries(results, album)
    strips, comparisons = _side_by_side(held, album)
    compared = comparison.read(results)
    changes = [each for picture in comparison.curves(compared, look) for each in album.add(picture)]
    page_tables = _tables(results, compared, out / "tables")
    text = _template().render(
        title=title or wording.title(results),
        summary=wording.summary(results),
        headline=headline,
        tables=page_tables[0],
        changes=changes,
        masks=any("mask_area" in set(each.frame["metric"]) for each in compared),
        change_tables=page_tables[1],
        training=training,
        galleries=galleries,
        strips=strips,
        comparisons=comparisons,
        splits=page_tables[2],
        runs=[wording.about(result) for result in results],
        commands=wording.commands(results, out),
        attacks=wording.attacks(results),
        carry=any(result.run.experiment.attack.mode == "carry" for result in results),
        smallest=min(result.clean["accuracy"].n for result in results),
        explained=wording.explained(results),
        half=wording.half_width(results),
    )
    path = out / "index.html"
    save_text(path, text)
    log.info("report: %s (%.1f MB)", path, path.stat().st_size / 1e6)
    return path


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    return environment.get_template("page.html.j2")


def _breakable(text: str) -> Markup:
    """Escaped text that may break after an underscore, so that long names do not widen tables."""
    return escape(text).replace("_", Markup("_<wbr>"))


def _shown_fully(results: Sequence[Result]) -> set[Path]:
    """Folders of the runs whose heatmaps are shown at every epsilon: an experiment's first seed."""
    return {seeds[0].run.root for seeds in grouped(results, "group").values()}


def _expected_photos(results: Sequence[Result]) -> int:
    """About how many photographic figures there will be, to share the page's bytes among."""
    full, count = _shown_fully(results), 4 * len({result.group[0] for result in results})
    for result in results:
        levels = len(result.run.experiment.explanation.methods)
        if result.run.root in full:
            levels += len(result.epsilons) - 1
        count += levels * math.ceil(result.run.experiment.attack.samples / 8)
    return max(1, count)


def _slug(result: Result) -> str:
    experiment = result.run.experiment
    return re.sub(r"[^\w.-]", "-", f"{experiment.data.dataset}-{experiment.name}-{experiment.seed}")


def _tables(
    results: Sequence[Result], compared: Sequence[comparison.Compared], folder: Path
) -> list[list[tuple[int, tables.Table]]]:
    """Write every table as CSV; numbered: of the measurements, the heatmaps and the splits."""
    measured = [tables.clean(results), *tables.recall(results), *tables.robust(results),
                *tables.attack(results), tables.models(results),
                *published.tables(results, compared)]  # fmt: skip
    changes = comparison.tables(compared)
    first = {result.group[0]: result for result in reversed(results)}
    counted = [table for result in first.values() if (table := tables.splits(result))]
    for table in (*measured, *changes, *counted):
        save_text(folder / f"{table.name}.csv", table.frame.to_csv(index=False))
    everything = pd.concat([result.frame for result in results])
    everything = everything.astype({"seed": "Int64", "n": "Int64"})
    save_text(folder / "measurements.csv", everything.to_csv(index=False))
    numbers = itertools.count(1)
    return [[(next(numbers), table) for table in part] for part in (measured, changes, counted)]


def _galleries(
    results: Sequence[Result], album: Album
) -> tuple[list[Gallery], list[samples.Samples]]:
    """Heatmap figures of every run, and one set of samples an experiment to compare models by."""
    galleries, held, full = [], [], _shown_fully(results)
    for result in results:
        for order, method in enumerate(result.run.experiment.explanation.methods):
            gallery = Gallery(f"{result.label}, {method}")
            galleries.append(gallery)
            found = samples.read(result, method)
            telling = found.telling() if found else None
            if found is None or telling is None:
                gallery.missing = wording.missing(result)
                continue
            # Further methods and seeds at one epsilon, or the page would grow beyond reading.
            everything = order == 0 and result.run.root in full
            for condition in found.attacked if everything else (telling,):
                name = f"samples-{_slug(result)}-{method}-{key(condition.epsilon)}"
                shown = [each for picture in sheets.sample_sheets(found, condition, name)
                         for each in album.add(picture)]  # fmt: skip
                level = (sheets.heading(found, condition), condition is telling, shown)
                gallery.levels.append(level)
            if everything:
                held.append(found)
    return galleries, held


def _side_by_side(
    held: Sequence[samples.Samples], album: Album
) -> tuple[list[Embedded], list[Embedded]]:
    """One image at every epsilon, and heatmaps of a few images under all models, by dataset."""
    strips: list[Embedded] = []
    comparisons: list[Embedded] = []
    by_dataset: dict[str, list[samples.Samples]] = {}
    for each in held:
        by_dataset.setdefault(each.result.group[0], []).append(each)
    for dataset, members in by_dataset.items():
        chosen = samples.choose(members, 4)
        for sample in chosen[:1]:
            strips += album.add(sheets.strip(members, sample, name=f"strip-{dataset}",
                                             perturbations=True))  # fmt: skip
        if len(members) > 1:
            for order, sample in enumerate(chosen[1:] or chosen, start=1):
                name = f"compare-{dataset}-{order}"
                picture = sheets.strip(members, sample, name=name, perturbations=False)
                comparisons += album.add(picture)
    return strips, comparisons
