"""REPORT: runs to one self-contained HTML page, its figures and tables as files beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from attnrobust.disk import folders, lock
from attnrobust.disk.files import clean
from attnrobust.disk.runs import Run, safe_name, save_json, save_text
from attnrobust.report import latex, sections, wording
from attnrobust.report.album import Album
from attnrobust.report.blocks import Asked, Block, Details, Table
from attnrobust.report.pictures import Picture
from attnrobust.report.reading import finished, read
from attnrobust.report.results import Result, once
from attnrobust.report.viewer import live

log = logging.getLogger("attnrobust")

# Bytes of photographs on the page before base64 adds a third: with the viewer's, a page mailed or
# opened from a server stays below 15 MB. The PNG files beside it are not limited.
PHOTO_BYTES = 2_000_000
WORKERS = 2


def write(
    run_list: Sequence[Run],
    out: Path,
    *,
    title: str | None = None,
    baseline: str | None = None,
    claims: Path | None = None,
) -> Path:
    """Write `index.html`, `figures/` and `tables/` below `out`.

    The same runs give the same bytes: the page holds no time of its own.

    Args:
        run_list: Runs, of one or several experiments and seeds; those without measurements are
            left out, and the page says so.
        out: Folder; made where missing.
        title: Heading of the page; made from the runs if None.
        baseline: Experiment that mean corruption errors are relative to, and that all others are
            set against; the first if None.
        claims: A file of claims beside those of `experiments/claims/`.

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
        asked = Asked(out, title, baseline, claims)
        return _write(read(kept), asked, before=before, left_out=left_out)


def _write(
    results: Sequence[Result], asked: Asked, *, before: Sequence[str], left_out: Sequence[str]
) -> Path:
    out = asked.out
    found = sections.read(results, asked)
    _list(out, before)  # Ours from the first file on.
    photos = max(1, sum(part.photos for part in found))
    shelf = Shelf(out / "tables")
    everything = pd.concat([result.frame for result in once(results)])
    shelf.write("measurements", everything.astype({"seed": "Int64", "n": "Int64"}))
    with ThreadPoolExecutor(WORKERS) as pool:
        album = Album(out / "figures", limit=PHOTO_BYTES // photos, pool=pool)
        drawn = [(part, _drawn(part.blocks, album, shelf)) for part in found]
        for part in found:
            for name, frame in part.files.items():
                shelf.write(name, frame)
            for place, text in part.texts.items():
                save_text(out / place, text)
        page = _template().render(
            title=asked.title or wording.title(results),
            summary=[sentence for part in found for sentence in part.summary],
            left_out=left_out,
            sections=drawn,
        )
    path = out / "index.html"
    save_text(path, page)
    files = [
        "index.html",
        *(f"figures/{name}" for name in (*album.names, *album.drawings)),
        *(f"tables/{name}" for name in shelf.names),
        *(place for part in found for place in part.texts),
    ]
    folders.remove(out, {*before} - {*files, folders.MANIFESTS["report"]})
    _list(out, files)
    log.info("report: %s (%.1f MB)", path, path.stat().st_size / 1e6)
    return path


class Shelf:
    """Writes tables as CSV; numbers those that the page shows and writes them as LaTeX, too.

    Attributes:
        names: Files so far, each once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, None] = {}
        self._shown = 0

    def add(self, table: Table) -> int:
        """Write a table of the page; its number."""
        self.write(table.name, table.frame)
        file = f"{safe_name(table.name)}.tex"
        save_text(self.folder / file, latex.booktabs(table))
        self.names[file] = None
        self._shown += 1
        return self._shown

    def write(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table; a later one of the same name takes its place."""
        file = f"{safe_name(name)}.csv"
        save_text(self.folder / file, frame.to_csv(index=False))
        self.names[file] = None


def _drawn(blocks: Iterable[Block], album: Album, shelf: Shelf) -> list[tuple[str, Any]]:
    """Blocks by the name of their kind, as the template takes them; pictures are written."""
    made: list[tuple[str, Any]] = []
    for block in blocks:
        if isinstance(block, str):
            made.append(("Words", block))
        elif isinstance(block, Picture):
            made.append(("Picture", album.add(block)))
        elif isinstance(block, Table):
            made.append(("Table", (shelf.add(block), block)))
        elif isinstance(block, Details):
            made.append(("Details", (block, _drawn(block.blocks, album, shelf))))
        else:
            made.append((type(block).__name__, block))
    return made


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.globals["looks"] = Markup(live.source("viewer.css"))
    environment.globals["sorting"] = Markup(live.source("tables.js"))
    return environment.get_template("page.html.j2")


def _breakable(text: str) -> Markup:
    """Escaped text that may break after an underscore, so that long names do not widen tables."""
    return escape(text).replace("_", Markup("_<wbr>"))


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
