"""RECORDS: rows to TFRecord shards + dataset.json + rejects.csv, and back.

One shard is one task of one process. Everything is written to `<out>.partial` and renamed at the
end, so that older records stay until new ones are whole, and a killed run goes on after the last
finished shard.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import logging
import multiprocessing
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from attnrobust import config, runs
from attnrobust.data import preprocessing, raw
from attnrobust.data.raw import SPLITS, Reject, Row
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

FORMAT = 1
PNG = b"\x89PNG"
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]


@dataclass(frozen=True)
class Preparation:
    """How rows become records.

    Attributes:
        size: Height and width in pixels; 0 keeps each image's own.
        fit: Row of preprocessing.FITS: how a rectangle becomes a square.
        fractions: Share of train, validation and test.
        seed: Of the split.
        shard_size: Examples in one file.
        max_rejects: Largest share of rows that may be rejected.
        max_megapixels: Larger images are rejected.
        workers: Processes; 1 works in this process.
    """

    size: int = 299
    fit: str = "stretch"
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    seed: int = 0
    shard_size: int = 512
    max_rejects: float = 0.01
    max_megapixels: float = 50.0
    workers: int = os.cpu_count() or 1

    def __post_init__(self) -> None:
        if self.size < 8 and self.size != 0:
            raise UserError(f"--size {self.size}: expected at least 8, or 0 to keep each its own")


@dataclass(frozen=True)
class Dataset:
    """Records on disk, as `dataset.json` describes them.

    Attributes:
        root: Folder of the shards.
        name: Of the data set.
        classes: Class names in label order.
        size: Height and width of the stored images (0: each its own).
        splits: For each split `count`, `class_counts` and `shards` (file, count, bytes, sha256).
        hash: Digest of everything above but the place.
    """

    root: Path
    name: str
    classes: tuple[str, ...]
    size: int
    splits: Mapping[str, Any]
    hash: str

    def files(self, split: str) -> list[str]:
        """Paths of a split's shards, in order."""
        return [str(self.root / shard["file"]) for shard in self.splits[split]["shards"]]

    def count(self, split: str) -> int:
        """Number of a split's examples."""
        return int(self.splits[split]["count"])


def load(root: Path) -> Dataset:
    """The records in a folder.

    Raises:
        UserError: No records there, another format, or a shard that is missing or half-written.
    """
    path = root / "dataset.json"
    if not path.is_file():
        raise UserError(
            f"{root}: no records there (dataset.json is missing); make them with "
            f"python -m tfrecords.{root.name} --raw DIR --out {root}"
        )
    described = runs.load_json(path)
    if described.get("format") != FORMAT:
        raise UserError(f"{path}: format {described.get('format')}, expected {FORMAT}; make anew")
    for split in SPLITS:
        for shard in described["splits"][split]["shards"]:
            file = root / shard["file"]
            size = file.stat().st_size if file.is_file() else None
            if size != shard["bytes"]:
                found = "missing" if size is None else f"{size:,} bytes"
                raise UserError(
                    f"{file}: {found}, expected {shard['bytes']:,} bytes; make the records anew"
                )
    return Dataset(
        root=root,
        name=described["name"],
        classes=tuple(described["classes"]),
        size=described["size"],
        splits=described["splits"],
        hash=described["hash"],
    )


def verify(dataset: Dataset) -> None:
    """Read every shard and compare it with its checksum.

    Raises:
        UserError: The first shard whose content has changed.
    """
    for split in SPLITS:
        for shard in dataset.splits[split]["shards"]:
            file = dataset.root / shard["file"]
            if hashlib.sha256(file.read_bytes()).hexdigest() != shard["sha256"]:
                raise UserError(f"{file}: damaged (checksum differs); make the records anew")


def write(
    out: Path,
    *,
    name: str,
    classes: Sequence[str],
    rows: Sequence[Row],
    rejects: Sequence[Reject],
    how: Preparation,
) -> Dataset:
    """Write a data set's records.

    Args:
        out: Folder to make; older records there are replaced once the new ones are whole.
        name: Of the data set.
        classes: Class names in label order; every row's label is one of them.
        rows: What the reader found usable.
        rejects: What it did not.
        how: Size, split, limits.

    Raises:
        UserError: More than `max_rejects` of the rows unusable, or none left; disk full; other
            files at `out`.
    """
    total = len(rows) + len(rejects)
    config.lookup("fit", preprocessing.FITS, how.fit)
    _check_place(out)
    partial = out.with_name(out.name + ".partial")
    with _workers(how.workers) as pool:
        masks = [row.mask for row in rows if row.mask]
        hashes = _hash_all([*(row.path for row in rows), *masks], pool)
        rows, double, copies = raw.merge_duplicates(rows, hashes[: len(rows)])
        rejects = [*rejects, *double]
        _stop_if_too_many(rejects, total, how.max_rejects, partial)
        plan = _plan(rows, classes, how)
        key = runs.digest(FORMAT, name, list(classes), how.size, how.fit, how.max_megapixels, [
            [file, [[row.id, str(row.path), row.label, row.group, str(row.mask)] for row in part]]
            for file, part in plan.items()
        ], hashes)  # fmt: skip
        _open_partial(partial, key)
        parts = _write_shards(partial, plan, classes, how, pool)
    for part in parts.values():
        rejects += [Reject(**reject) for reject in part["rejects"]]
    _stop_if_too_many(rejects, total, how.max_rejects, partial)
    described = _describe(name, classes, parts, how, copies)
    if not sum(described["splits"][split]["count"] for split in SPLITS):
        raise UserError(f"{name}: no usable image among {total:,} rows")
    _write_rejects(partial / "rejects.csv", rejects)
    runs.save_json(partial / "dataset.json", described)
    shutil.rmtree(partial / "parts")
    _replace(partial, out)
    _say(described, rejects, out)
    return load(out)


def _check_place(out: Path) -> None:
    """Never replace a folder that holds no records, such as the raw data's own."""
    old = _old(out)
    if (old / "dataset.json").is_file() and not out.exists():
        old.rename(out)  # a former run was killed just between the two renames of _replace
    if out.exists() and not (out / "dataset.json").is_file() and any(out.iterdir()):
        raise UserError(f"{out}: holds other files than records; name a new or empty folder")


@contextlib.contextmanager
def _workers(count: int) -> Iterator[Executor | None]:
    """A pool of fresh processes; None for one, which needs no pool.

    Raises:
        UserError: A process was killed.
    """
    if count <= 1:
        yield None
        return
    # Forking a process that has started TensorFlow's threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)
    # Ctrl-C reaches the workers too: held back until they have started and know what to do.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(count):
            pool.submit(os.getpid)  # a task each, or they would be started one by one
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield pool
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed (out of memory?); finished shards are kept, the same "
            "command goes on; try fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """In a worker: end on Ctrl-C without a traceback, and when the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _hash_all(paths: Sequence[Path], pool: Executor | None) -> list[str]:
    results = pool.map(raw.content_hash, paths, chunksize=64) if pool else map(
        raw.content_hash, paths
    )  # fmt: skip
    return list(tqdm(results, "checking files", total=len(paths), unit="file", disable=None))


def _plan(rows: Sequence[Row], classes: Sequence[str], how: Preparation) -> dict[str, list[Row]]:
    """Which rows go to which file; rows in hash order, so that shards are mixed."""
    unknown = {row.label for row in rows} - set(classes)
    if unknown:
        raise ValueError(f"labels that are no class: {sorted(unknown)}")
    split_of = raw.split_by_group(
        rows, fractions=dict(zip(SPLITS, how.fractions, strict=True)), seed=how.seed
    )
    mixed = sorted(rows, key=lambda row: hashlib.sha256(f"{how.seed}:{row.id}".encode()).digest())
    plan = {}
    for split in SPLITS:
        members = [row for row in mixed if split_of[row.group] == split]
        count = max(1, -(-len(members) // how.shard_size)) if members else 0
        for index in range(count):
            plan[f"{split}-{index:05d}-of-{count:05d}.tfrecord"] = members[index::count]
    return plan


def _open_partial(partial: Path, key: str) -> None:
    """Keep finished shards of the same plan, and clear those of another."""
    stamp = partial / "parts" / "plan.json"
    if stamp.is_file() and runs.load_json(stamp) == key:
        log.info("going on in %s", partial)
        for left_over in partial.rglob(".*"):
            left_over.unlink()
        return
    if partial.exists():
        shutil.rmtree(partial)
    runs.save_json(stamp, key)


def _write_shards(
    partial: Path,
    plan: Mapping[str, list[Row]],
    classes: Sequence[str],
    how: Preparation,
    pool: Executor | None,
) -> dict[str, Any]:
    """Write what is missing of the plan; returns each shard's summary."""
    done = {file: partial / "parts" / f"{file}.json" for file in plan}
    todo = [file for file in plan if not done[file].is_file()]
    ready = sum(len(plan[file]) for file in plan if file not in todo)
    total = sum(map(len, plan.values()))
    with tqdm(desc="writing records", total=total, initial=ready, unit="image",
              disable=None) as bar:  # fmt: skip
        if pool is None:
            for file in todo:
                write_shard(partial, file, plan[file], list(classes), how)
                bar.update(len(plan[file]))
        else:
            futures: dict[Future, str] = {
                pool.submit(write_shard, partial, file, plan[file], list(classes), how): file
                for file in todo
            }
            for future in as_completed(futures):
                future.result()
                bar.update(len(plan[futures[future]]))
    return {file: runs.load_json(done[file]) for file in plan}


def write_shard(
    partial: Path, file: str, rows: Sequence[Row], classes: Sequence[str], how: Preparation
) -> None:
    """Write one shard and, after it, its summary `parts/<file>.json`."""
    import tensorflow as tf

    rejects, counts, notes = [], Counter(), Counter()  # type: ignore[var-annotated]
    with runs.atomic(partial / file) as temporary:
        try:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for row in rows:
                    try:
                        content, converted = prepare_image(row, how)
                        mask = prepare_mask(row, how) if row.mask else b""
                    except raw.UnusableImageError as error:
                        rejects.append({"line": row.line, "id": row.id, "reason": str(error)})
                        continue
                    writer.write(_serialize(row, content, mask, classes.index(row.label)))
                    counts[row.label] += 1
                    notes.update(converted)
        except tf.errors.OpError as error:
            raise OSError(28 if runs.disk_is_full(error) else 5, str(error)) from None
        sha256 = hashlib.sha256(temporary.read_bytes()).hexdigest()
        size = temporary.stat().st_size
    summary = {
        "file": file, "count": sum(counts.values()), "bytes": size, "sha256": sha256,
        "class_counts": counts, "rejects": rejects, "converted": notes,
    }  # fmt: skip
    runs.save_json(partial / "parts" / f"{file}.json", summary)


def prepare_image(row: Row, how: Preparation) -> tuple[bytes, list[str]]:
    """A row's image as JPEG or PNG bytes; a JPEG that needs no change is kept byte by byte.

    A PNG is written anew, without loss: Pillow reads damaged ones that TensorFlow would refuse.

    Raises:
        UnusableImageError: With the reason.
    """
    content = _read(row.path)
    image, notes = raw.load_image(content, max_megapixels=how.max_megapixels)
    right_size = not how.size or image.shape[:2] == (how.size, how.size)
    suffix, parameters = ".jpg", JPEG
    if not right_size:
        image = preprocessing.FITS[how.fit](image, how.size)
    elif content.startswith(PNG):
        suffix, parameters = ".png", []
    elif not notes:
        return content, notes
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, bgr, parameters)[1].tobytes(), notes


def prepare_mask(row: Row, how: Preparation) -> bytes:
    """A row's mask as PNG bytes (0 or 255), fitted like its image.

    Raises:
        UnusableImageError: With the reason.
    """
    if row.mask is None:
        raise ValueError(f"{row.id} has no mask")
    try:
        mask, _ = raw.load_image(_read(row.mask), max_megapixels=how.max_megapixels)
    except raw.UnusableImageError as error:
        raise raw.UnusableImageError(f"mask: {error}") from None
    if how.size:
        mask = preprocessing.FITS[how.fit](mask, how.size)
    binary = np.where(mask[..., 0] >= 128, 255, 0).astype(np.uint8)
    return cv2.imencode(".png", binary)[1].tobytes()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise raw.UnusableImageError(f"cannot be read ({error.strerror})") from None


def _serialize(row: Row, content: bytes, mask: bytes, label: int) -> bytes:
    import tensorflow as tf

    def text(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    feature = {
        "id": text(row.id.encode()),
        "group": text(row.group.encode()),
        "image": text(content),
        "mask": text(mask),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return bytes(example.SerializeToString(deterministic=True))


def _describe(
    name: str, classes: Sequence[str], parts: Mapping[str, Any], how: Preparation, copies: int
) -> dict[str, Any]:
    splits: dict[str, Any] = {}
    converted: Counter = Counter()
    for split in SPLITS:
        mine = [part for file, part in parts.items() if file.startswith(f"{split}-")]
        counts: Counter = Counter()
        for part in mine:
            counts.update(part["class_counts"])
            converted.update(part["converted"])
        splits[split] = {
            "count": sum(counts.values()),
            "class_counts": {label: counts[label] for label in classes},
            "shards": [{key: part[key] for key in ("file", "count", "bytes", "sha256")}
                       for part in mine],
        }  # fmt: skip
    described = {
        "format": FORMAT, "name": name, "task": "classification", "classes": list(classes),
        "size": how.size, "fit": how.fit, "split_seed": how.seed, "fractions": how.fractions,
        "converted": converted, "same_content": copies, "splits": splits,
    }  # fmt: skip
    return {**described, "hash": runs.digest(described)}


def _stop_if_too_many(rejects: Sequence[Reject], total: int, allowed: float, partial: Path) -> None:
    if len(rejects) <= allowed * total:
        return
    path = partial.with_name(partial.name.removesuffix(".partial") + ".rejects.csv")
    _write_rejects(path, rejects)
    first = min(rejects, key=lambda reject: reject.line)
    raise UserError(
        f"{len(rejects):,} of {total:,} rows cannot be used, more than --max-rejects {allowed:g} "
        f"allows; the first is line {first.line} ({first.id}): {first.reason}; all are in {path}"
    )


def _write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["line", "id", "reason"])
    for reject in sorted(rejects, key=lambda reject: reject.line):
        writer.writerow([reject.line, reject.id, reject.reason])
    runs.save_text(path, text.getvalue())


def _replace(partial: Path, out: Path) -> None:
    """Put the new records in the place of the old ones."""
    old = _old(out)
    if old.exists():
        shutil.rmtree(old)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    out.with_name(out.name + ".rejects.csv").unlink(missing_ok=True)


def _old(out: Path) -> Path:
    return out.with_name(out.name + ".old")


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
        log.info("%d rows share their image with another; kept in one split",
                 described["same_content"])  # fmt: skip
    if rejects:
        log.warning("%d rows rejected, with reasons in %s", len(rejects), out / "rejects.csv")
