"""Tables of the pages, made from the tables in the code when the site is built.

A comment on a line of its own asks for one, so that a page cannot go stale:

    <!-- rows attacks.methods.ATTACKS norm kind -->    a dict table of rows, and fields of its rows
    <!-- experiments eyepacs -->                       the experiments of a data set
    <!-- reader eyepacs -->                            what the module of a data set says of itself
    <!-- settings attack -->                           a section of an experiment's settings
    <!-- files results/eyepacs-wu -->                  links to the files of a folder below docs/
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
if str(DOCS.parent) not in sys.path:
    sys.path.insert(0, str(DOCS.parent))

from attnrobust.listing import description, paragraph, written  # noqa: E402

PLACE = re.compile(r"^<!-- (\w+) ([^>]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """What mkdocs calls with each page before it is rendered."""
    return filled(markdown, DOCS / page.file.src_uri)


def filled(markdown: str, page: Path) -> str:
    """The text with each table in the place that asks for it.

    Args:
        markdown: Of the page.
        page: Its file, which links start from.

    Raises:
        ValueError: A table, column or row that the code does not have, or a row that says nothing.
    """

    def made(place: re.Match[str]) -> str:
        what, words = place[1], place[2].split()
        if what not in MAKERS:
            raise ValueError(f"{page}: no '{what}'; known: {', '.join(MAKERS)}")
        return MAKERS[what](page, *words)

    return PLACE.sub(made, markdown)


def rows(_: Path, table: str, *columns: str) -> str:
    """A table of rows: names, the first line on each, and the fields named."""
    module, _, name = table.rpartition(".")
    found = getattr(importlib.import_module(f"attnrobust.{module}"), name)
    said = {key: description(row) for key, row in found.items()}
    silent = [key for key, text in said.items() if not text]
    if silent:
        raise ValueError(f"{table}: no docstring tells what {', '.join(silent)} is")
    body = [
        [f"`{key}`", said[key], *(written(getattr(row, column)) for column in columns)]
        for key, row in found.items()
    ]
    heads = ["name", "what", *(column.replace("_", " ") for column in columns)]
    kinds = {type(row) for row in found.values() if dataclasses.is_dataclass(row)}
    told = {key: text for kind in kinds for key, text in attributes(kind).items()}
    legend = [f"- **{column.replace('_', ' ')}**: {told.get(column, '')}" for column in columns]
    return "\n".join([grid(heads, body), "", *legend])


def experiments(_: Path, dataset: str) -> str:
    """The experiments of a data set, with what tells them apart at a glance."""
    import experiments as all_of_them

    body = []
    for name in all_of_them.known():
        if name.split(".")[0] != dataset:
            continue
        made, said = all_of_them.load(name), paragraph(all_of_them.about(name))
        network = f"{made.model.backbone}, {made.model.head}"
        body.append([f"`{name}`", said, network, str(made.data.image_size), made.training.method])
    if not body:
        raise ValueError(f"no experiment of '{dataset}'")
    return grid(["experiment", "what", "network", "px", "training"], body)


def reader(_: Path, dataset: str) -> str:
    """What `tfrecords/<dataset>.py` says of itself, its listings as code."""
    text = inspect.getdoc(importlib.import_module(f"tfrecords.{dataset}")) or ""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and line.startswith("    ") and lines[-1] and not lines[-1].startswith("    "):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def settings(_: Path, section: str) -> str:
    """A section of the settings: names, defaults, what they mean."""
    from attnrobust import config

    kind = getattr(config, section.capitalize())
    told = attributes(kind)
    body = [
        [f"`{section}.{field.name}`", written(default(field)), told[field.name]]
        for field in dataclasses.fields(kind)
    ]
    return grid(["setting", "default", "what"], body)


def files(page: Path, folder: str) -> str:
    """Links to all files of a folder."""
    found = sorted(path for path in (DOCS / folder).iterdir() if path.is_file())
    return ", ".join(f"[{path.name}]({os.path.relpath(path, page.parent)})" for path in found)


def attributes(kind: type) -> dict[str, str]:
    """What the docstring of a data class says of its fields."""
    text = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): ((?:.+\n?)(?:^ {8}.*\n?)*)", text, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in entries}


def default(field: dataclasses.Field[Any]) -> Any:
    """Of a setting; where its row or the experiment gives it, in words."""
    if field.metadata.get("optional"):
        return "the row's own"
    return "must be given" if field.default is dataclasses.MISSING else field.default


def grid(heads: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, marked for the style sheet as one of rows."""
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", r"\|") for cell in r] for r in body)]
    drawn = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f'<div class="rows" markdown>\n\n{drawn}\n\n</div>'


MAKERS: dict[str, Callable[..., str]] = {
    "rows": rows,
    "experiments": experiments,
    "reader": reader,
    "settings": settings,
    "files": files,
}
