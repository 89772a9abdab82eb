"""Where a data set's files lie: other case, nested unzips, and what computers leave behind.

A link counts as what it leads to, wherever that lies; one that leads nowhere or in a circle is no
file, and its row is rejected as such. Folders below the named ones are not entered through links.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from attnrobust.errors import UserError

LEFTOVERS = (
    *("__macosx", "icon\r"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
    *("@eadir", "#recycle", "lost+found"),
)
DEPTH = 4


def left_over(name: str) -> bool:
    """Whether a name is no part of a data set: `._x`, `.DS_Store`, `__MACOSX`, `Thumbs.db`, …."""
    return name.startswith(".") or name.lower() in LEFTOVERS


def files(folder: Path) -> list[str]:
    """Sorted names of a folder's files, leftovers left out."""
    return [name for name, there in _entries(folder) if there]


def broken_links(folder: Path) -> list[str]:
    """Sorted names of a folder's links that lead nowhere or in a circle, leftovers left out."""
    return [name for name, there in _entries(folder) if not there]


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Sorted names of files, and whether they are there or a link to nothing."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if left_over(entry.name):
                continue
            link = entry.is_symlink()
            # Of a circle of links, an entry raises what os.path takes for no file.
            there = os.path.isfile(entry) if link else entry.is_file()
            if there or (link and not os.path.isdir(entry)):
                found.append((entry.name, there))
    return sorted(found)


def table(folder: Path, names: Sequence[str], columns: Sequence[str]) -> Path:
    """The first of these files that is there, in whatever case.

    Raises:
        UserError: None is; the message names the first and what else is there.
    """
    if not folder.is_dir():
        raise UserError(f"--raw {folder}: no such folder")
    found = find(folder, names)
    if found:
        return found
    wanted = {Path(name).name.lower() for name in names}
    below = [place / file for place in _walk(folder) for file in files(place)]
    nested = [path for path in below if path.name.lower() in wanted]
    if nested:
        hint = f"; there is {nested[0]}: name --raw {nested[0].parent}"
    else:
        kinds = (".csv", ".tab", ".tsv", ".txt", ".xlsx", "")
        others = [path for path in below if path.suffix.lower() in kinds]
        there = ", ".join(str(path.relative_to(folder)) for path in others[:5])
        hint = f"; tables found: {there}" if there else "; no table found below it"
    also = f" (nor {', '.join(names[1:])})" if names[1:] else ""
    raise UserError(
        f"{folder / names[0]}: not there{also}; expected a CSV with {', '.join(columns)}{hint}"
    )


def find(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of these files that is there, in whatever case; None where none is."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    for name in names:
        place = folder / Path(name).parent
        alike = (
            [file for file in files(place) if file.lower() == Path(name).name.lower()]
            if place.is_dir()
            else []
        )
        if alike:
            return place / alike[0]
    return None


def folders(folder: Path, names: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """These folders (`a/b`; empty: the folder itself) as they are: in other case, or nested.

    A folder without images that holds one of its own name, as 'extract all' makes it, is taken
    for that one. Folders that are not there stand as they are named, for the message.
    """
    found: list[Path] = []
    for name in names:
        places = [folder]
        for part in filter(None, name.split("/")):
            places = [child for place in places for child in _inside(place, part)]
        for outer in places or [folder / name]:
            place = outer if outer == folder else _innermost(outer, suffixes)
            if not any(_same(place, other) for other in found):
                found.append(place)
    return found


def elsewhere(folder: Path, suffixes: Sequence[str]) -> str:
    """Where below a folder images lie, for a message; empty where there are none."""
    counts = {
        place: sum(name.lower().endswith(tuple(suffixes)) for name in files(place))
        for place in _walk(folder)
    }
    full = [f"{count:,} in {place}" for place, count in counts.items() if count]
    return f"; there are {' and '.join(full[:3])}" if full else ""


def _innermost(place: Path, suffixes: Sequence[str]) -> Path:
    """Of folders of one name in each other, the first with images."""
    inner = [] if not place.is_dir() or _holds(place, suffixes) else _children(place, place.name)
    inner = [each for each in inner if not each.samefile(place)]  # a link to itself
    return _innermost(inner[0], suffixes) if inner else place


def _inside(place: Path, part: str) -> list[Path]:
    found = _children(place, part)
    if found or not place.is_dir():
        return found
    return [path for twin in _children(place, place.name) for path in _children(twin, part)]


def _children(place: Path, name: str) -> list[Path]:
    """Folders of a name in whatever case, the one that is written so first."""
    if not place.is_dir():
        return []
    with os.scandir(place) as entries:
        alike = [
            Path(entry.path)
            for entry in entries
            if entry.name.lower() == name.lower() and os.path.isdir(entry)
        ]
    return sorted(alike, key=lambda each: (each.name != name, each.name))


def _holds(place: Path, suffixes: Sequence[str]) -> bool:
    with os.scandir(place) as entries:
        return any(
            entry.name.lower().endswith(tuple(suffixes)) and not left_over(entry.name)
            for entry in entries
        )


def _same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and other.exists() and one.samefile(other))


def _walk(folder: Path) -> Iterator[Path]:
    for place, inner, _ in os.walk(folder):
        here = Path(place)
        inner[:] = sorted(name for name in inner if not left_over(name))
        if len(here.relative_to(folder).parts) >= DEPTH:
            inner.clear()
        yield here
