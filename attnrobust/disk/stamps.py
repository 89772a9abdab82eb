"""Stage stamps as values: what must be in them, what they were made with, how two differ."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnrobust import config, stack
from attnrobust.disk import folders, schemas
from attnrobust.disk.files import digest
from attnrobust.errors import UserError

SECTIONS = {
    "data": config.Data,
    "model": config.Model,
    "adopted": config.Adopted,
    "training": config.Training,
    "corruptions": config.Corruptions,
    "attack": config.Attack,
    "checks": config.Checks,
    "explanation": config.Explanation,
}
# Raised when a stage comes to give other numbers from the same settings and inputs (CHANGELOG.md
# says what changed); 1 where nothing stands here, and in stamps that hold none.
VERSIONS = {"attack": 2, "check": 2, "evaluate": 2}
# What of its files a finished stage cannot do without: a log or a history may go.
NEEDED = (
    ".npz",
    "weights.h5",
    "adopted.json",
    "measurements.csv",
    "checks.json",
    "randomisation.json",
    ".pb",
)
# What stages call their files: one that a stamp does not list, as of a stage that was cut off,
# would be taken for a result of the next.
RESULTS = re.compile(
    r"stage\.json|[^/]+\.npz|weights\.h5|adopted\.json|history\.jsonl|measurements\.csv|"
    r"comparison\.csv|checks\.json|randomisation\.json|(state|saved_model(\.partial)?)/.+|"
    r"(.+/)?events\.out\..+|\.\d+-[^/]+"
)
# Those of them that a stage writes before it holds anything to go on with; of `explain`, the images
# that it takes where there is no attack, before it knows whether it can explain them.
EMPTY = re.compile(r"samples\.npz|saved_model\.partial/.+|(.+/)?events\.out\..+|\.\d+-[^/]+")


def read(folder: Path) -> dict[str, Any] | None:
    """The stamp in a stage's folder; None where there is none.

    Its settings are completed by those that came into being after it was written: a setting that is
    new has a default that does what was done before there was that setting. So is `stack`.

    Raises:
        UserError: The file is damaged, or not a stamp.
    """
    place = folder / "stage.json"
    if not place.exists():
        return None
    values = schemas.load_json(place, schemas.Stamp, "run its stage again with --force")
    return {"stack": stack.FIRST, **values, "used": completed(values["used"])}


def begun(folder: Path) -> dict[str, Any] | None:
    """The stamp in a stage's folder; None also where it was cut off before it had a result.

    Raises:
        UserError: The file is damaged, or not a stamp.
    """
    stamp = read(folder)
    results = (
        name for name in _below(folder) if RESULTS.fullmatch(name) and not EMPTY.fullmatch(name)
    )
    return stamp if stamp and (stamp["finished"] or any(results)) else None


def version(place: str) -> int:
    """The version of the stage that writes to this folder, such as `attack/linf_pgd`."""
    return VERSIONS.get(place.partition("/")[0], 1)


def outdated(stamp: Mapping[str, Any], place: str) -> bool:
    """Whether an earlier version of the stage made what the stamp speaks of."""
    return bool(stamp.get("version", 1) != version(place))


def check_inputs(weights: str, attack: Path, surrogate: Mapping[str, str] | None) -> str:
    """Digest of what an attack's check depends on.

    Args:
        weights: Digest of the weights and records that were attacked.
        attack: The attack's stamp.
        surrogate: The other run; its weights are `weights`.
    """
    return digest(weights, attack, *([surrogate["weights"]] if surrogate else []))


def clock(before: Mapping[str, Any] | None, folder: Path) -> dict[str, Any]:
    """When a stage started, when this part of it did, and the seconds of the parts before.

    Args:
        before: Its stamp, if it was cut off; else None.
        folder: Where it writes. A part that was killed could not say how long it had taken: it
            counts as long as until it last wrote something.
    """
    now = {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "began": time.time(), "seconds": 0.0}
    if not before:
        return now
    spent = float(before.get("seconds", 0.0))
    written = [path.stat().st_mtime for path in folder.rglob("*") if path.is_file()]
    last = max(written, default=0.0) - float(before.get("began", now["began"]))
    return {
        **now,
        "started": before.get("started", now["started"]),
        "seconds": round(spent + max(0.0, last), 1),
    }


def completed(used: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those that are missing at their defaults."""
    return {key: _completed(key, part) for key, part in used.items()}


def _completed(section: str, values: Any) -> Any:
    if section not in SECTIONS or not isinstance(values, dict):
        return values
    fields = dataclasses.fields(SECTIONS[section])
    defaults = {
        field.name: field.default for field in fields if field.default is not dataclasses.MISSING
    }
    return {**json.loads(json.dumps(defaults)), **values}


def attack(stamp: Mapping[str, Any], place: Path) -> config.Attack:
    """The settings that an attack was made with, its radii in [0, 1] pixel scale.

    Raises:
        UserError: There are none, or not valid ones.
    """
    setting, scale = _section(stamp, place, "attack").attack, stamp.get("epsilon_scale", 1.0)
    if not isinstance(scale, int | float) or not scale > 0:
        raise UserError(
            f"{place}: epsilon_scale = {scale!r}: expected a number above 0; run its "
            "stage again with --force"
        )
    return setting.in_pixels(scale)


def explanation(stamp: Mapping[str, Any], place: Path) -> config.Explanation:
    """The settings that heatmaps were made with.

    Raises:
        UserError: There are none, or not valid ones.
    """
    return _section(stamp, place, "explanation").explanation


def _section(stamp: Mapping[str, Any], place: Path, name: str) -> config.Experiment:
    """An experiment of which that one section tells what was done."""
    frame = {"name": "stamp", "data": {"dataset": "stamp"}}
    try:
        return config.from_json(json.dumps({**frame, name: stamp["used"].get(name)}))
    except UserError as error:
        raise UserError(f"{place}: {error}; run its stage again with --force") from None


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What changed between two configurations, in words."""
    old, new = _flat(before), _flat(now)
    changes = [
        f"{key} {json.dumps(old.get(key))} (now {json.dumps(new.get(key))})"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    return ", ".join(changes) if changes else "other inputs (records or weights have changed)"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _below(folder: Path) -> list[str]:
    """All files of a stage's folder but its stamp; the folders of stages below it are theirs."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            if not (path / "stage.json").exists():
                found += [f"{path.name}/{name}" for name in _below(path)]
        elif path.name != "stage.json":
            found.append(path.name)
    return found


def files(folder: Path, beside: Sequence[str]) -> list[str]:
    """What a stage that has just finished left, without what it only needed to go on.

    Args:
        folder: The stage's.
        beside: What was there before.
    """
    return [
        name
        for name in _below(folder)
        if name not in beside and not name.startswith(("state/", "."))
    ]


def beside(before: Mapping[str, Any] | None, folder: Path) -> list[str]:
    """Files in a stage's folder that are not the stage's, as it begins or as its stamp says."""
    if before:
        return list(before.get("beside", []))
    return [name for name in _below(folder) if not RESULTS.fullmatch(name)]


def gone(stamp: Mapping[str, Any], folder: Path) -> list[str]:
    """Files that a finished stage left, cannot do without, and that are not there any more.

    Stamps of before files were listed tell of the weights alone.
    """
    if not stamp.get("finished"):
        return []
    listed = stamp.get("files", ["weights.h5"] if folder.name == "train" else [])
    names = [str(name) for name in listed] if isinstance(listed, list) else []
    return [name for name in names if name.endswith(NEEDED) and not (folder / name).is_file()]


def clear(folder: Path) -> None:
    """Remove a stage's own files; others, and the folders of stages below it, stay."""
    try:
        listed = json.loads((folder / "stage.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        listed = []
    # The stamp first: what is left when this is cut off must not look finished.
    (folder / "stage.json").unlink(missing_ok=True)
    mine = {str(name) for name in listed} if isinstance(listed, list) else set()
    folders.remove(
        folder, [name for name in _below(folder) if name in mine or RESULTS.fullmatch(name)]
    )
