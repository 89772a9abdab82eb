"""Rows to a data set's records; one shard is one task of one process.

Everything is written to `<out>.partial` and renamed at the end, so that older records stay until
new ones are whole, and a killed run goes on after the last finished shard.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path
from typing import Any

from attnrobust import keyed
from attnrobust.console import progress
from attnrobust.data import (
    duplicates,
    manifest,
    preprocessing,
    raw,
    records,
    rejected,
    shards,
    splits,
)
from attnrobust.data.raw import SPLITS, Reject, Row
from attnrobust.data.workers import workers
from attnrobust.disk import files, folders, lock, runs, schemas
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")


def write(
    out: Path,
    *,
    name: str,
    classes: Sequence[str],
    rows: Sequence[Row],
    rejects: Sequence[Reject],
    how: shards.Preparation,
    tasks: Mapping[str, records.Task] | None = None,
    sources: Sequence[Path] = (),
    facts: Mapping[str, Any] | None = None,
) -> records.Dataset:
    """Write a data set's records.

    Args:
        out: Folder to make; older records there are replaced once the new ones are whole.
        name: Of the data set.
        classes: Class names in label order; every row's label is one of them.
        rows: What the reader found usable.
        rejects: What it did not.
        how: Size, split, limits.
        tasks: What else the labels may stand for.
        sources: Folders that are read; those of the images need not be named.
        facts: What else is to be known of the data set, by name, for `dataset.json`.

    Raises:
        UserError: More than `max_rejects` of the rows unusable, or none left; disk full; other
            files at `out`, or `out` inside what is read or the other way round.
    """
    # A link stays one, and `.` has no name to be put in the place of.
    out = out.resolve() if out.is_symlink() else files.with_a_name(out)
    with lock.alone(out):
        require_free(out, [*sources, *_folders(rows)])
        return _write(
            out,
            name=name,
            classes=classes,
            rows=rows,
            rejects=rejects,
            how=how,
            tasks=tasks or {},
            facts=facts or {},
        )


def _write(
    out: Path,
    *,
    name: str,
    classes: Sequence[str],
    rows: Sequence[Row],
    rejects: Sequence[Reject],
    how: shards.Preparation,
    tasks: Mapping[str, records.Task],
    facts: Mapping[str, Any],
) -> records.Dataset:
    total = len(rows) + len(rejects)
    partial = files.beside(out, "{}.partial")
    with workers(how.workers) as pool:
        masks = [file for row in rows for file in (row.mask, row.map) if file]
        hashes = _hash_all([*(row.path for row in rows), *masks], pool)
        contents = dict(zip([row.path for row in rows], hashes, strict=False))
        rows, double, copies = splits.merge_duplicates(rows, hashes[: len(rows)])
        rejects = [*rejects, *double]
        rejected.stop_if_too_many(rejects, total, how, partial)
        planned = {file: shards.listed(part) for file, part in _plan(rows, classes, how).items()}
        image = [how.size, how.fit, how.filter, how.turn_inverted, how.max_megapixels]
        key = runs.digest(
            [records.FORMER, name, *classes, *image, duplicates.SIDE], planned, hashes
        )
        if folders.begin(partial, key):
            log.info("going on in %s", partial)
        parts, exact = _write_groups(partial, rows, classes, how, pool=pool, contents=contents)
    for part in parts.values():
        rejects += [Reject(**reject) for reject in part["rejects"]]
    rejected.stop_if_too_many(rejects, total, how, partial)
    described = manifest.describe(name, classes, tasks, parts, how) | {"same_content": copies}
    if any(row.map for row in rows):
        described["task"] = records.SEGMENTATION
    described |= facts
    described |= {"hash": records.digest(described), "rejects": len(rejects)}
    if not sum(described["splits"][split]["count"] for split in SPLITS):
        raise UserError(f"{name}: no usable image among {total:,} rows")
    rejected.write(partial / rejected.FILE, rejects)
    near = duplicates.report(partial / duplicates.FILE, parts.values(), how.near_duplicates)
    described |= {"near_duplicates": near, "exact_copies": exact}
    if report := preprocessing.FITS[how.fit].report:
        report(partial, parts.values(), turn=how.turn_inverted)
    if how.filter != "none":
        count = sum(part["count"] for part in parts.values())
        described["clipped"] = round(sum(part["clipped"] for part in parts.values()) / count, 4)
    described["files"] = [name for name in folders.LISTS if (partial / name).is_file()]
    runs.save_json(partial / "dataset.json", described)
    folders.replace(partial, out)
    if rejected.ours(listed := rejected.beside(out)):
        listed.unlink()
    manifest.say(described, rejects, out)
    return records.load(out)


def require_free(out: Path, inputs: Sequence[Path]) -> None:
    """Never replace a folder that holds anything but records, such as the raw data's own.

    Raises:
        UserError: It does, or lies inside what is read.
    """
    old = folders.replaced(out)
    if not out.exists() and folders.manifest(old, "records"):
        old.rename(out)  # a former run was killed just between the two renames
    found = folders.require_ours(out, "records")
    folders.require_apart(out, inputs)
    foreign = folders.others(out, folders.listed("records", found)) if found else []
    if foreign:
        raise UserError(
            f"{out}: holds {foreign[0]} beside the records, which would be lost with "
            "them; move it away, or name a new or empty folder"
        )


def _folders(rows: Sequence[Row]) -> list[Path]:
    """Where the images and masks lie."""
    files = [file for row in rows for file in (row.path, row.mask, row.map) if file]
    return sorted({file.parent for file in files})


def _hash_all(paths: Sequence[Path], pool: Executor | None) -> list[str]:
    one = raw.content_hash
    results = pool.map(one, paths, chunksize=64) if pool else map(one, paths)
    return list(progress(results, "checking files", total=len(paths), unit="file"))


def _plan(
    rows: Sequence[Row], classes: Sequence[str], how: shards.Preparation
) -> dict[str, list[Row]]:
    """Which rows go to which file; rows in hash order, so that shards are mixed."""
    unknown = {row.label for row in rows if not row.map} - set(classes)
    if unknown:
        raise ValueError(f"labels that are no class: {sorted(unknown)}")
    split_of = splits.split_by_group(
        rows, fractions=dict(zip(SPLITS, how.fractions, strict=True)), seed=how.seed
    )
    mixed = sorted(rows, key=lambda row: keyed.rank(how.seed, row.id))
    plan = {}
    for split in SPLITS:
        members = [row for row in mixed if split_of[row.group] == split]
        count = max(1, -(-len(members) // how.shard_size)) if members else 0
        for index in range(count):
            plan[f"{split}-{index:05d}-of-{count:05d}.tfrecord"] = members[index::count]
    return plan


def _write_groups(
    partial: Path,
    rows: Sequence[Row],
    classes: Sequence[str],
    how: shards.Preparation,
    *,
    pool: Executor | None,
    contents: Mapping[Path, str],
) -> tuple[dict[str, Any], int]:
    """Write all shards; returns their summaries, and how many images are exact copies.

    Only decoded pictures tell which are exact copies. Where some turn out to stand in several
    groups, these become one, and what changes by that is written again.
    """
    known = partial / "parts" / "pixels.json"
    pixels: dict[str, str] = schemas.load_json(known, dict[str, str]) if known.is_file() else {}
    while True:
        joined = splits.join_copies(rows, pixels)
        parts = _write_shards(partial, _plan(joined, classes, how), classes, how, pool)
        found = {id_: mark for part in parts.values() for id_, mark in part["pixels"].items()}
        if splits.join_copies(rows, found) == joined:
            return parts, splits.count_copies(rows, contents, found)
        pixels = found
        runs.save_json(known, pixels)


def _write_shards(
    partial: Path,
    plan: Mapping[str, list[Row]],
    classes: Sequence[str],
    how: shards.Preparation,
    pool: Executor | None,
) -> dict[str, Any]:
    """Write what is missing of the plan; returns each shard's summary."""
    done = {file: partial / "parts" / f"{file}.json" for file in plan}
    for path in partial.glob("*.tfrecord"):
        summary = partial / "parts" / f"{path.name}.json"
        rows = runs.digest(shards.listed(plan.get(path.name, [])))
        if not summary.is_file() or _load(summary, partial)["rows"] != rows:
            summary.unlink(missing_ok=True)
            path.unlink()
    todo = [file for file in plan if not done[file].is_file()]
    ready = sum(len(plan[file]) for file in plan if file not in todo)
    total = sum(map(len, plan.values()))
    with progress(desc="writing records", total=total, initial=ready, unit="image") as bar:
        if pool is None:
            for file in todo:
                shards.write_shard(partial, file, plan[file], list(classes), how)
                bar.update(len(plan[file]))
        else:
            futures: dict[Future, str] = {
                pool.submit(shards.write_shard, partial, file, plan[file], list(classes), how): file
                for file in todo
            }
            for future in as_completed(futures):
                future.result()
                bar.update(len(plan[futures[future]]))
    return {file: _load(done[file], partial) for file in plan}


def _load(summary: Path, partial: Path) -> dict[str, Any]:
    found: dict[str, Any] = schemas.load_json(summary, schemas.Written, f"remove {partial}")
    return found
