"""What is ours on disk: nothing is removed or written over that this project did not write.

A folder of results is ours where it holds the manifest of its kind with `"format": "attnrobust
<kind> <version>"`, and only what that lists is ever removed there.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attnrobust.disk.files import beside, clean, load_json, save_json
from attnrobust.disk.schemas import SHARD
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

# The manifest of each kind of folder.
MANIFESTS = {
    "records": "dataset.json",
    "report": "report.json",
    "transfer": "settings.json",
    "unfreeze": "settings.json",
    "copy": "copy.json",
}
# Keys that only our manifests had before these named their format.
FORMER = {
    "records": {"name", "classes", "splits", "hash"},
    "transfer": {"attack", "seed", "version", "models"},
    "unfreeze": {"weights", "settings", "attack", "version"},
}
# Lists beside records; which of them there are, the manifest says.
LISTS = ("rejects.csv", "corruptions.csv", "duplicates.csv", "disc.csv")
# What an unfinished folder of records may hold: shards, what describes them, temporary files.
PARTS = re.compile(
    rf"(parts/)?(\.[\w-]+-)?({SHARD}(\.json)?|plan\.json|pixels\.json|dataset\.json|"
    rf"{'|'.join(map(re.escape, LISTS))})|\.\d+-[^/]+"
)
PLAN = "parts/plan.json"


def named(kind: str, version: int = 1) -> str:
    """The format that a manifest names."""
    return f"attnrobust {kind} {version}"


def manifest(folder: Path, kind: str) -> dict[str, Any] | None:
    """The manifest of a folder of ours; None where it is not ours, or not of this kind."""
    try:
        found = json.loads((folder / MANIFESTS[kind]).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if str(found.get("format")).startswith(f"attnrobust {kind} "):
        return found
    former = kind in FORMER and found.keys() >= FORMER[kind]
    return found if former and (kind != "records" or _shards(found)) else None


def listed(kind: str, found: Mapping[str, Any]) -> list[str]:
    """The files that a manifest says are ours, itself included, relative to its folder."""
    files = found.get("files", [])
    mine = [name for name in files if isinstance(name, str)] if isinstance(files, list) else []
    if kind != "records":
        return [MANIFESTS[kind], *mine]
    # Before the lists were named there were these two, the second with corrupted records.
    former = ["rejects.csv", *(["corruptions.csv"] if "corrupted" in found else [])]
    lists = [name for name in LISTS if name in mine] if "files" in found else former
    return [MANIFESTS[kind], *lists, *_shards(found)]


def _shards(found: Mapping[str, Any]) -> list[str]:
    """Files of all splits; none where these are not as we write them."""
    try:
        shards = [shard for split in found["splits"].values() for shard in split["shards"]]
        files = [shard["file"] for shard in shards if shard["sha256"]]
    except (KeyError, TypeError, AttributeError):
        return []
    return files if all(re.fullmatch(SHARD, str(file)) for file in files) else []


def require_apart(out: Path, inputs: Iterable[Path]) -> None:
    """Outputs never lie inside inputs, nor inputs inside outputs, whatever links lead there.

    Raises:
        UserError: They do.
    """
    mine = Path(os.path.realpath(out))
    for given in inputs:
        theirs = Path(os.path.realpath(given))
        if mine == theirs or mine in theirs.parents or theirs in mine.parents:
            how = "is" if mine == theirs else "holds" if mine in theirs.parents else "lies inside"
            raise UserError(
                f"--out {out}: {how} {given}, which is read and stays as it is; "
                "expected a folder apart from it"
            )


def require_ours(out: Path, kind: str, *, inputs: Iterable[Path] = ()) -> dict[str, Any]:
    """The manifest of a folder to write to; empty where the folder is new or empty.

    Args:
        out: The folder.
        kind: Key of MANIFESTS.
        inputs: Files and folders that are read.

    Raises:
        UserError: It holds anything else, an input, or lies inside one.
    """
    require_apart(out, inputs)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return {}
    found = manifest(out, kind)
    if found is None:
        raise UserError(
            f"{out}: holds other files than {_called(kind)} (no {MANIFESTS[kind]} of "
            f'ours, with "format": "{named(kind)}"); name a new or empty '
            "folder"
        )
    return found


def _called(kind: str) -> str:
    return kind if kind == "records" else f"a {kind} of attnrobust"


def claim(
    out: Path, kind: str, used: Mapping[str, Any], *, inputs: Iterable[Path], force: bool = False
) -> None:
    """Take a folder of results for these settings (JSON values), by its manifest.

    Args:
        out: The folder.
        kind: Key of MANIFESTS.
        used: What the results depend on.
        inputs: Files and folders that are read.
        force: Whatever settings stand there, if the folder is ours.

    Raises:
        UserError: It is not ours, or holds results of other settings.
    """
    asked = json.loads(json.dumps({"format": named(kind), **used}))
    found = require_ours(out, kind, inputs=inputs)
    if found and {**found, "format": named(kind)} != asked and not force:
        raise UserError(f"{out}: results of other runs or settings stand there; name another --out")
    clean(out)
    save_json(out / MANIFESTS[kind], asked)


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove these files of a folder, then what folders that leaves empty; all else stays."""
    emptied = {folder}
    for name in names:
        path = folder / str(name)
        # A manifest that was tampered with leads nowhere else.
        if path.resolve().parent.is_relative_to(folder.resolve()) and ".." not in path.parts:
            if path.is_file() or path.is_symlink():
                path.unlink()
            emptied |= {each for each in path.parents if folder in each.parents}
    for each in sorted(emptied, key=lambda each: -len(each.parts)):
        if each.is_dir() and not each.is_symlink() and not any(each.iterdir()):
            each.rmdir()


def others(folder: Path, names: Iterable[str]) -> list[str]:
    """Files below a folder that are none of these."""
    files = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted({path.relative_to(folder).as_posix() for path in files} - {*names})


def begin(partial: Path, key: str, *, go_on: bool = True) -> bool:
    """Open a folder for unfinished records, emptied of those of another plan.

    Args:
        partial: The folder; what is ours in it has a name that records have.
        key: Of the plan.
        go_on: Whether what is there of the same plan is kept.

    Returns:
        Whether it was.

    Raises:
        UserError: It holds anything else.
    """
    found = _plan(partial)
    names = others(partial, ()) if partial.exists() else []
    foreign = [name for name in names if not PARTS.fullmatch(name)]
    if names and (foreign or (found is None and manifest(partial, "records") is None)):
        raise UserError(
            f"{partial}: in the way, it holds {(foreign or names)[0]}; expected "
            "nothing there, or what a prepare that was cut off left; move it "
            "away"
        )
    if go_on and found == key:
        remove(partial, [name for name in names if name.rpartition("/")[2].startswith(".")])
        return True
    # The plan last: until then it is known as ours.
    remove(partial, sorted(names, key=lambda name: name == PLAN))
    save_json(partial / PLAN, {"format": named("unfinished records"), "key": key})
    return False


def _plan(partial: Path) -> str | None:
    """The key of what is unfinished there; before it named its format it stood alone."""
    place = partial / PLAN
    try:
        found = load_json(place)
    except (UserError, OSError):
        return None
    if isinstance(found, dict) and found.get("format") == named("unfinished records"):
        return str(found.get("key"))
    return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{16}", found) else None


def replace(partial: Path, out: Path) -> None:
    """Put finished records in the place of older ones, of which nothing else is removed."""
    shutil.rmtree(partial / "parts")
    old = replaced(out)
    discard(old)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    discard(old)


def discard(old: Path) -> None:
    """Remove records that were replaced.

    Raises:
        UserError: Other files stand among them.
    """
    if found := manifest(old, "records"):
        remove(old, sorted(listed("records", found), key=lambda name: name == "dataset.json"))
    if old.exists() and any(old.iterdir()):
        raise UserError(f"{old}: holds other files than records that were replaced; move them away")
    if old.exists():
        old.rmdir()


def replaced(out: Path) -> Path:
    """Where older records wait until new ones have their place: no name that a user gives."""
    return beside(out, ".{}.replaced")
