"""Rows to a data set's records; one shard is one task of one process.

Everything is written to `<out>.partial` and renamed at the end, so that older records stay until
new ones are whole, and a killed run goes on after the last finished shard.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

from attnrobust import keyed
from attnrobust.data import discs, duplicates, raw, records, shards, splits
from attnrobust.data.raw import SPLITS, Reject, Row
from attnrobust.data.workers import workers
from attnrobust.disk import files, folders, lock, runs, schemas
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

# Share of clipped values that is said aloud, and what clips less.
CLIPPED = 0.05
CLIPS_LESS = {
    "gaussian_high_pass": "; less is with --filter gaussian_high_pass_by_size, whose "
    "sigma is a share of --size"
}

REJECTS = ("line", "id", "reason")


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

    Raises:
        UserError: More than `max_rejects` of the rows unusable, or none left; disk full; other
            files at `out`, or `out` inside what is read or the other way round.
    """
    # A link stays one, and `.` has no name to be put in the place of.
    out = out.resolve() if out.is_symlink() else files.with_a_name(out)
    with lock.alone(out):
        require_free(out, [*sources, *_folders(rows)])
        return _write(
            out, name=name, classes=classes, rows=rows, rejects=rejects, how=how, tasks=tasks or {}
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
) -> records.Dataset:
    total = len(rows) + len(rejects)
    partial = files.beside(out, "{}.partial")
    with workers(how.workers) as pool:
        masks = [row.mask for row in rows if row.mask]
        hashes = _hash_all([*(row.path for row in rows), *masks], pool)
        rows, double, copies = splits.merge_duplicates(rows, hashes[: len(rows)])
        rejects = [*rejects, *double]
        _stop_if_too_many(rejects, total, how, partial)
        plan = _plan(rows, classes, how)
        contents = {
            file: [[row.id, str(row.path), row.label, row.group, str(row.mask)] for row in part]
            for file, part in plan.items()
        }
        image = [how.size, how.fit, how.filter, how.max_megapixels, duplicates.SIDE]
        key = runs.digest([records.FORMER, name, *classes, *image], contents, hashes)
        if folders.begin(partial, key):
            log.info("going on in %s", partial)
        parts = _write_shards(partial, plan, classes, how, pool)
    for part in parts.values():
        rejects += [Reject(**reject) for reject in part["rejects"]]
    _stop_if_too_many(rejects, total, how, partial)
    described = _describe(name, classes, tasks or {}, parts, how) | {"same_content": copies}
    described |= {"hash": records.digest(described), "rejects": len(rejects)}
    if not sum(described["splits"][split]["count"] for split in SPLITS):
        raise UserError(f"{name}: no usable image among {total:,} rows")
    _write_rejects(partial / "rejects.csv", rejects)
    near = duplicates.report(partial / duplicates.FILE, parts.values(), how.near_duplicates)
    described["near_duplicates"] = near
    if how.fit == "disc":
        discs.report(partial / discs.FILE, parts.values())
    if how.filter != "none":
        count = sum(part["count"] for part in parts.values())
        described["clipped"] = round(sum(part["clipped"] for part in parts.values()) / count, 4)
    described["files"] = [name for name in folders.LISTS if (partial / name).is_file()]
    runs.save_json(partial / "dataset.json", described)
    folders.replace(partial, out)
    if _ours(listed := _rejects_beside(out)):
        listed.unlink()
    _say(described, rejects, out)
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
    files = [file for row in rows for file in (row.path, row.mask) if file]
    return sorted({file.parent for file in files})


def _hash_all(paths: Sequence[Path], pool: Executor | None) -> list[str]:
    one = raw.content_hash
    results = pool.map(one, paths, chunksize=64) if pool else map(one, paths)
    return list(tqdm(results, "checking files", total=len(paths), unit="file", disable=None))


def _plan(
    rows: Sequence[Row], classes: Sequence[str], how: shards.Preparation
) -> dict[str, list[Row]]:
    """Which rows go to which file; rows in hash order, so that shards are mixed."""
    unknown = {row.label for row in rows} - set(classes)
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


def _write_shards(
    partial: Path,
    plan: Mapping[str, list[Row]],
    classes: Sequence[str],
    how: shards.Preparation,
    pool: Executor | None,
) -> dict[str, Any]:
    """Write what is missing of the plan; returns each shard's summary."""
    done = {file: partial / "parts" / f"{file}.json" for file in plan}
    todo = [file for file in plan if not done[file].is_file()]
    ready = sum(len(plan[file]) for file in plan if file not in todo)
    total = sum(map(len, plan.values()))
    with tqdm(
        desc="writing records", total=total, initial=ready, unit="image", disable=None
    ) as bar:
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
    return {
        file: schemas.load_json(done[file], schemas.Written, f"remove {partial}") for file in plan
    }


def _describe(
    name: str,
    classes: Sequence[str],
    tasks: Mapping[str, records.Task],
    parts: Mapping[str, Any],
    how: shards.Preparation,
) -> dict[str, Any]:
    by_split: dict[str, Any] = {}
    converted: Counter = Counter()
    for split in SPLITS:
        mine = [part for file, part in parts.items() if file.startswith(f"{split}-")]
        counts: Counter = Counter()
        for part in mine:
            counts.update(part["class_counts"])
            converted.update(part["converted"])
        by_split[split] = {
            "count": sum(counts.values()),
            "class_counts": {label: counts[label] for label in classes},
            "shards": [
                {key: part[key] for key in ("file", "count", "bytes", "sha256")} for part in mine
            ],
        }
    return {
        "format": records.FORMAT,
        "name": name,
        "task": "classification",
        "classes": list(classes),
        "tasks": {task: dataclasses.asdict(row) for task, row in tasks.items()},
        "size": how.size,
        "fit": how.fit,
        "filter": how.filter,
        "split_seed": how.seed,
        "fractions": how.fractions,
        "converted": converted,
        "splits": by_split,
    }


def _stop_if_too_many(
    rejects: Sequence[Reject], total: int, how: shards.Preparation, partial: Path
) -> None:
    """Stop where too much is unusable: of what is there, and, without --partial, of all."""
    missing = sum(reject.missing for reject in rejects)
    damaged, there, allowed = len(rejects) - missing, total - missing, how.max_rejects
    absent = not how.partial and len(rejects) > allowed * total and missing > allowed * total
    if damaged <= allowed * there and (how.partial or len(rejects) <= allowed * total):
        if missing:
            log.info("%s of %s rows have no image file", f"{missing:,}", f"{total:,}")
        return
    path = _rejects_beside(partial.with_name(partial.name.removesuffix(".partial")))
    if path.exists() and not _ours(path):
        raise UserError(f"{path}: in the way of the list of rejects, and not one; move it away")
    _write_rejects(path, rejects)
    if absent:
        first = min((one for one in rejects if one.missing), key=lambda reject: reject.line)
        raise UserError(
            f"{missing:,} of {total:,} rows have no image file"
            + (f", and {damaged:,} others cannot be used" if damaged else "")
            + f", more than --max-rejects {allowed:g} allows; --partial if that is meant, as of a "
            f"partial download; the first is line {first.line} ({_shown(first.id)}): "
            f"{_shown(first.reason)}; all are in {path}"
        )
    worst = [reject for reject in rejects if not reject.missing] or rejects
    first = min(worst, key=lambda reject: reject.line)
    count, of = (damaged, there) if damaged > allowed * there else (len(rejects), total)
    kind = " with an image file" if missing and of == there else ""
    raise UserError(
        f"{count:,} of {of:,} rows{kind} cannot be used, more than --max-rejects {allowed:g} "
        f"allows; the first is line {first.line} ({_shown(first.id)}): {_shown(first.reason)}; "
        f"all are in {path}"
    )


def _shown(text: str) -> str:
    """Text for a message of one line."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(REJECTS)
    for reject in sorted(rejects, key=lambda reject: reject.line):
        # The csv module quotes the line end that it writes, not the others (a bare CR).
        breaks = len(f"{reject.id}.{reject.reason}.".splitlines()) > 1
        (quoting if breaks else writer).writerow([reject.line, reject.id, reject.reason])
    runs.save_text(path, text.getvalue())


def _rejects_beside(out: Path) -> Path:
    """The list of what stopped a preparation, since there are no records that it could be in."""
    return files.beside(out, "{}.rejects.csv")


def _ours(listed: Path) -> bool:
    """Whether a file is such a list."""
    if not listed.is_file():
        return False
    with listed.open("rb") as file:
        return file.readline().rstrip() == ",".join(REJECTS).encode()


def _say(described: Mapping[str, Any], rejects: Sequence[Reject], out: Path) -> None:
    counts = {split: described["splits"][split]["count"] for split in SPLITS}
    log.info(
        "%s: %s images (%s) in %s",
        described["name"],
        f"{sum(counts.values()):,}",
        ", ".join(f"{split} {count:,}" for split, count in counts.items()),
        out,
    )
    for what, count in described["converted"].items():
        log.info("%d images with %s, stored upright as 8-bit RGB", count, what)
    if described["same_content"]:
        log.info(
            "%d rows share their image with another; kept in one split", described["same_content"]
        )
    if described.get("clipped", 0) > CLIPPED:
        log.warning(
            "warning: the filter %s left %.1f %% of the values pure black or white; what "
            "was there is lost%s",
            described["filter"],
            100 * described["clipped"],
            CLIPS_LESS.get(described["filter"], ""),
        )
    duplicates.say(described["near_duplicates"], out / duplicates.FILE)
    if rejects:
        log.warning("%d rows rejected, with reasons in %s", len(rejects), out / "rejects.csv")
