"""The images below a folder: words of a table are looked up here, and never joined to a path."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from attnrobust.data import images, places, raw, splits

UNSAFE = re.compile(r"[^A-Za-z0-9 ._@()-]")


@dataclass(frozen=True)
class Listing:
    """The images below a folder.

    Attributes:
        root: The folder.
        files: Each image by its path below it, with `/`, in order.
        others: How many other files there are, by suffix.
    """

    root: Path
    files: dict[str, Path]
    others: Counter[str]

    @cached_property
    def ids(self) -> dict[str, str]:
        """A safe id for each image: its name where no other has it, else its path with `@`.

        Names count as one where groups would (`1` and `001`): an image may be its own group.
        """
        names = {path: _safe(raw.bare_ids([path.rpartition("/")[2]])[0]) for path in self.files}
        keys = {path: splits.spelling(raw.whole_number(name)) for path, name in names.items()}
        counts = Counter(keys.values())
        found = {path: name for path, name in names.items() if counts[keys[path]] == 1}
        taken = set(found.values())
        for path in self.files:
            whole = _safe(path.replace("/", "@"))
            words = [_safe(raw.bare_ids([path])[0].replace("/", "@")), whole]
            number = 2
            while path not in found:
                word = words.pop(0) if words else f"{whole}@{number}"
                number += not words
                if word not in taken:
                    found[path] = word
                    taken.add(word)
        return {path: found[path] for path in self.files}

    @cached_property
    def _ends(self) -> dict[str, list[str]]:
        """Images by each end of their paths, without suffix: `b/c` and `c` for `a/b/c.jpg`."""
        ends: dict[str, list[str]] = {}
        for path in self.files:
            parts = raw.bare_ids([path])[0].split("/")
            for start in range(len(parts)):
                ends.setdefault("/".join(parts[start:]), []).append(path)
        return ends

    def find(self, word: str) -> tuple[str, str]:
        """The image that a word of a table names, or why there is none.

        The word may be a name or a path, with or without suffix, and begin above the folder, as a
        path of another machine does.

        Returns:
            Its path below the folder and no reason, or none and a reason.
        """
        parts = [part for part in word.replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts:
            return "", "names no image"
        if ".." in parts:
            return "", f"'{word}' leads out of the folder; expected a path below it"
        path = "/".join(parts)
        found = self._ends.get(raw.bare_ids([path])[0], [])
        for start in range(1, len(parts)):
            if not found:
                end = raw.bare_ids(["/".join(parts[start:])])[0]
                found = [name for name in self._ends.get(end, []) if raw.bare_ids([name])[0] == end]
        for narrower in (
            lambda name: f"/{name}".endswith(f"/{path}") or f"/{path}".endswith(f"/{name}"),
            lambda name: name == path,
        ):
            if len(found) > 1:
                found = list(filter(narrower, found)) or found
        if len(found) == 1:
            return found[0], ""
        if found:
            return "", f"'{word}' may be {' or '.join(found[:3])}"
        near = self._ends.get(raw.bare_ids(parts[-1:])[0])
        return "", "no image file of this name" + (f"; {near[0]} is there" if near else "")

    def kinds(self) -> str:
        """What there is beside images, for a message; empty for nothing."""
        said = [f"{count:,} {suffix or 'without suffix'}" for suffix, count in self.others.items()]
        return ", ".join(said[:3])


def listed(root: Path) -> Listing:
    """All images below a folder; links are followed, in no circle."""
    files: dict[str, Path] = {}
    others: Counter[str] = Counter()
    for path in _below(root, frozenset()):
        if images.is_image(path):
            files[path.relative_to(root).as_posix()] = path
        else:
            others[path.suffix.lower()] += 1
    return Listing(root, files, others)


def _below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    here = os.path.realpath(folder)
    if here in above:
        return
    for name in sorted(os.listdir(folder)):
        if places.left_over(name):
            continue
        if (folder / name).is_dir():
            yield from _below(folder / name, above | {here})
        else:
            yield folder / name


def _safe(text: str) -> str:
    plain = UNSAFE.sub("_", text)
    return plain if raw.SAFE_ID.fullmatch(plain) else f"_{plain}"
