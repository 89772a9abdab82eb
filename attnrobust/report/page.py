"""REPORT: runs to one self-contained HTML page, its figures as PNG and its tables as CSV."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from attnrobust.disk import folders, lock
from attnrobust.disk.files import clean
from attnrobust.disk.runs import Run, safe_name, save_json, save_text
from attnrobust.report import (
    as_published,
    attacks,
    calibration,
    commands,
    comparison,
    confusion,
    corruptions,
    figures,
    galleries,
    imbalance,
    inventory,
    martinez,
    published,
    tables,
    trust,
    wording,
    wu,
)
from attnrobust.report.pictures import Picture
from attnrobust.report.reading import finished, read
from attnrobust.report.results import Result, once
from attnrobust.report.sections import Section

log = logging.getLogger("attnrobust")

# Bytes of photographs on the page before base64 adds a third: a page mailed or opened from a
# server stays below 15 MB. The PNG files beside it are not limited.
PHOTO_BYTES = 10_000_000


def write(
    run_list: Sequence[Run], out: Path, *, title: str | None = None, baseline: str | None = None
) -> Path:
    """Write `index.html`, `figures/*.png` and `tables/*.csv` below `out`.

    The same runs give the same bytes: the page holds no time of its own.

    Args:
        run_list: Runs, of one or several experiments and seeds; those without measurements are
            left out, and the page says so.
        out: Folder; made where missing.
        title: Heading of the page; made from the runs if None.
        baseline: Experiment that mean corruption errors are relative to; the first if None.

    Returns:
        Path of the page.

    Raises:
        UserError: No run, none that was evaluated, a damaged file, no such baseline, a full
            disk, other files at `out`, or another process that writes there.
    """
    with lock.alone(out, inner=True):  # a study holds it already
        before = require_free(out, [run.root for run in run_list])
        for folder in (out, out / "figures", out / "tables"):
            clean(folder)
        kept, left_out = finished(run_list)
        for reason in left_out:
            log.warning("warning: a run is left out: %s", reason)
        return _write(
            read(kept), out, before=before, title=title, baseline=baseline, left_out=left_out
        )


def _write(
    results: Sequence[Result],
    out: Path,
    *,
    before: Sequence[str],
    title: str | None,
    baseline: str | None,
    left_out: Sequence[str],
) -> Path:
    album = galleries.Album(
        out / "figures", limit=PHOTO_BYTES // galleries.expected_photos(results)
    )
    look = figures.colours(results)
    sections = _sections(results, look, baseline)
    compared = comparison.read(results)
    words = _words(results, out, baseline, title)
    _list(out, before)  # Ours from the first file on.
    pictures = _pictures(results, sections, compared, look, album)
    page_tables, table_names = _tables(results, sections, compared, out / "tables")
    text = _template().render(
        **words,
        left_out=left_out,
        **pictures,
        tables=page_tables[0],
        sections=list(zip(sections, pictures["drawn"], page_tables[1:-2], strict=True)),
        masks=any(each.masked for each in compared),
        change_tables=page_tables[-2],
        splits=page_tables[-1],
    )
    path = out / "index.html"
    save_text(path, text)
    files = [
        "index.html",
        *(f"figures/{name}" for name in album.names),
        *(f"tables/{name}" for name in table_names),
    ]
    folders.remove(out, {*before} - {*files, folders.MANIFESTS["report"]})
    _list(out, files)
    log.info("report: %s (%.1f MB)", path, path.stat().st_size / 1e6)
    return path


def _words(
    results: Sequence[Result], out: Path, baseline: str | None, title: str | None
) -> dict[str, Any]:
    """What the page says, by its name in the template."""
    checked = trust.read(results)
    return {
        "title": title or wording.title(results),
        "summary": [*wording.summary(results), *trust.sentences(checked)],
        "trust": checked,
        "runs": [wording.about(result) for result in once(results)],
        "commands": commands.repeating(results, out, baseline=baseline, title=title),
        "intervals": wording.intervals(results),
        "attacks": wording.attacks(results),
        "carry": any(result.setting.mode == "carry" for result in results),
        "smallest": min(result.clean["accuracy"].n for result in results),
        "explained": wording.explained(results),
        "half": wording.half_width(results),
    }


def _pictures(
    results: Sequence[Result],
    sections: Sequence[Section],
    compared: Sequence[comparison.Compared],
    look: figures.Look,
    album: galleries.Album,
) -> dict[str, Any]:
    """What the page shows, by its name in the template; the album writes it as PNG."""

    def added(pictures: Iterable[Picture | None]) -> list[galleries.Embedded]:
        return [image for picture in pictures for image in album.add(picture)]

    found: dict[str, Any] = {
        "headline": added(figures.accuracy_curves(results, look)),
        "drawn": [added(part.pictures) for part in sections],
        "training": added(
            figures.training_curves(
                result, look[result.group][0], name=f"training-{galleries.slug(result)}"
            )
            for result in once(results)
        ),
    }
    found["galleries"], held = galleries.galleries(results, album)
    found["strips"], found["comparisons"] = galleries.side_by_side(held, album)
    return found | {"changes": added(comparison.curves(compared, look))}


def _sections(results: Sequence[Result], look: figures.Look, baseline: str | None) -> list[Section]:
    """What these runs have something for, in the page's order."""
    found = (
        confusion.section(results),
        calibration.section(results, look),
        corruptions.section(results, look, baseline=baseline),
        martinez.section(results),
        wu.section(results, look),
        imbalance.section(results),
        as_published.section(results),
    )
    return [each for each in found if each]


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


def _tables(
    results: Sequence[Result],
    sections: Sequence[Section],
    compared: Sequence[comparison.Compared],
    folder: Path,
) -> tuple[list[list[tuple[int, tables.Table]]], list[str]]:
    """Write every table as CSV; numbered: measurements, each section, heatmaps and splits."""
    measured = [
        tables.clean(results),
        *tables.recall(results),
        *attacks.tables(results),
        *tables.robust(results),
        *tables.attack(results),
        inventory.models(results),
        *published.tables(results, compared),
    ]
    changes = comparison.tables(compared)
    counted = inventory.splits(results)
    parts = (measured, *(list(each.tables) for each in sections), changes, counted)
    named = {table.name: table.frame for table in itertools.chain(*parts)}
    for each in sections:
        named |= each.files
    frames = {safe_name(name): frame for name, frame in named.items()}
    for name, frame in frames.items():
        save_text(folder / f"{name}.csv", frame.to_csv(index=False))
    everything = pd.concat([result.frame for result in once(results)])
    everything = everything.astype({"seed": "Int64", "n": "Int64"})
    save_text(folder / "measurements.csv", everything.to_csv(index=False))
    numbers = itertools.count(1)
    numbered = [[(next(numbers), table) for table in part] for part in parts]
    return numbered, ["measurements.csv", *(f"{name}.csv" for name in frames)]


def require_free(out: Path, roots: Sequence[Path]) -> list[str]:
    """The files of the report that stands at `out`, which a new one takes the place of.

    Args:
        out: Folder of the page.
        roots: Folders of the runs.

    Raises:
        UserError: Other files stand there, or a run; or it lies inside one.
    """
    folders.require_apart(out, roots)
    if _of_before(out):
        return []
    return folders.listed("report", folders.require_ours(out, "report"))


def _of_before(out: Path) -> bool:
    """Whether a report stands there that was made before reports listed their files."""
    page, table = out / "index.html", out / "tables" / "measurements.csv"
    if (out / folders.MANIFESTS["report"]).exists() or not (page.is_file() and table.is_file()):
        return False
    with table.open("rb") as file:
        ours = file.readline().startswith(b"dataset,experiment,seed,split,condition,")
    return ours and b"python -m attnrobust report " in page.read_bytes()


def _list(out: Path, files: Sequence[str]) -> None:
    manifest = {"format": folders.named("report"), "files": sorted(files)}
    save_json(out / folders.MANIFESTS["report"], manifest)
