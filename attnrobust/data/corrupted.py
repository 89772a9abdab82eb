"""A copy of records in which every image is corrupted once, to train on or to test on.

Each image gets one of the corruptions at one of the levels (severities), both drawn uniformly from
the seed and its id; `corruptions.csv` lists them. Labels, masks, classes, tasks and splits stay,
JPEG and PNG stay what they are. The corruptions and levels are by default those of Wu, section 4,
where the training set (--splits train) was corrupted once and saved. With --oversample, as there,
images of the train split are repeated until every class has as many as the commonest; each copy has
an id and a corruption of its own.

    attnrobust corrupt [DATASET] [--records DIR] --out DIR [--corruptions light_leakage,jpeg]
        [--levels 1-4] [--splits train] [--oversample] [--seed N]
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import io
import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from attnrobust import config, corruptions
from attnrobust.console import Parser, positive, progress, run_command
from attnrobust.data import corrupting, images, oversampling, records, shards
from attnrobust.data.raw import SPLITS
from attnrobust.disk import files, folders, lock, places, runs
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

LIST = "corruptions.csv"

Choice = tuple[str, str, int]  # id, corruption, level


def write(
    source: Path,
    out: Path,
    *,
    names: Sequence[str] = corruptions.RANDOM,
    levels: Sequence[int] = corruptions.RANDOM_LEVELS,
    seed: int = 0,
    splits: Sequence[str] = SPLITS,
    oversample: bool = False,
    workers: int = 1,
) -> records.Dataset:
    """Write the corrupted copy; the result hangs on neither `workers` nor the order of examples.

    Args:
        source: Folder of the records.
        out: Folder to make; filled as `<out>.partial` and renamed at the end.
        names: Rows of CORRUPTIONS, of which each image gets one.
        levels: Severities, of which it gets one.
        seed: Of all chance.
        splits: Which are corrupted; the shards of the others are copied.
        oversample: Repeat images of the train split, every class as often as the commonest has any.
        workers: Threads.

    Raises:
        UserError: No such corruption, split or level; `out` is there already; no records in
            `source`, or damaged ones; or images to be segmented are to be oversampled.
    """
    out = files.with_a_name(out)
    _check(source, out, names, levels, splits)
    if oversample and "train" not in splits:
        raise UserError("--oversample repeats images of the train split: name it in --splits")
    names, levels = list(dict.fromkeys(names)), sorted(set(levels))
    splits = [split for split in SPLITS if split in splits]
    described = records.described_in(source)
    if oversample and described.get("task") == records.SEGMENTATION:
        raise UserError("--oversample repeats images by their class; here each pixel has its own")
    with lock.alone(out):
        return _write(
            source,
            out,
            described,
            names,
            levels,
            seed=seed,
            splits=splits,
            oversample=oversample,
            workers=workers,
        )


def _write(
    source: Path,
    out: Path,
    described: dict[str, Any],
    names: Sequence[str],
    levels: Sequence[int],
    *,
    seed: int,
    splits: Sequence[str],
    oversample: bool,
    workers: int,
) -> records.Dataset:
    unfinished = _start(source, out, described, splits)
    one = functools.partial(_corrupt, names=names, levels=levels, seed=seed)
    given = {split: list(described["splits"][split]["class_counts"].values()) for split in splits}
    if oversample:
        described["splits"]["train"] |= oversampling.balanced(described["splits"]["train"])
    total = sum(described["splits"][split]["count"] for split in splits)
    rows: list[list[Any]] = []
    with (
        ThreadPoolExecutor(workers) as pool,
        progress(desc="corrupting", total=total, unit="image") as bar,
    ):
        for split in splits:
            copies = oversampling.Copies(given[split], oversample=oversample and split == "train")
            for shard in described["splits"][split]["shards"]:
                file, before = unfinished / shard["file"], len(rows)
                examples = copies.of(source / shard["file"])
                for id_, name, level in _write_shard(examples, file, one, pool):
                    rows.append([id_, split, name, level])
                    bar.update()
                content = file.read_bytes()
                shard |= {
                    "count": len(rows) - before,
                    "bytes": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
    # What was found out of the photographs beside it says nothing of these.
    for name in ("files", "near_duplicates", "exact_copies", "clipped"):
        described.pop(name, None)
    described["corrupted"] = {
        "of": described.pop("hash"),
        "corruptions": names,
        "levels": levels,
        "seed": seed,
        "splits": splits,
        **({"oversampled": True} if oversample else {}),
    }
    _write_list(unfinished / LIST, rows)
    described["format"] = records.FORMAT
    described |= {"hash": records.digest(described)}
    lists = [name for name in folders.LISTS if (unfinished / name).is_file()]
    runs.save_json(unfinished / "dataset.json", described | {"files": lists})
    folders.replace(unfinished, out)
    log.info("%s: %s images corrupted in %s", described["name"], f"{len(rows):,}", out)
    return records.load(out)


def _check(
    source: Path, out: Path, names: Sequence[str], levels: Sequence[int], splits: Sequence[str]
) -> None:
    for name in names:
        config.lookup("corruption", corruptions.CORRUPTIONS, name)
    for split in splits:
        config.lookup("split", dict.fromkeys(SPLITS), split)
    if not names or not splits:
        raise UserError(f"--{'splits' if names else 'corruptions'}: expected at least one")
    if not levels or not set(levels) <= set(corruptions.SEVERITIES):
        raise UserError(f"--levels {', '.join(map(str, levels))}: expected some of 1 to 5")
    if out.resolve() == source.resolve():
        raise UserError(f"--out {out}: that is --records itself, which stays as it is")
    if out.exists() or out.is_symlink():
        raise UserError(f"--out {out}: there already; name a new folder")
    dataset = records.load(source)
    folders.require_apart(out, [source])
    records.verify(dataset)
    corrupting.warn_of_filter(dataset)


def _start(source: Path, out: Path, described: Mapping[str, Any], splits: Sequence[str]) -> Path:
    """A folder for what is not finished, with all that is copied as it is."""
    if "corrupted" in described:
        raise UserError(f"--records {source}: corrupted already; take what it was made from")
    unfinished = files.beside(out, "{}.partial")
    folders.begin(unfinished, "corrupted", go_on=False)
    if (source / "rejects.csv").is_file():
        shutil.copyfile(source / "rejects.csv", unfinished / "rejects.csv")
    for split in set(SPLITS) - set(splits):
        for shard in described["splits"][split]["shards"]:
            shutil.copyfile(source / shard["file"], unfinished / shard["file"])
    return unfinished


def _write_shard(
    examples: Iterator[oversampling.Numbered],
    file: Path,
    one: Callable[[oversampling.Numbered], tuple[bytes, Choice]],
    pool: Executor,
) -> Iterator[Choice]:
    """Write a shard; gives each image's choice once it is written."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(file)) as writer:
        for content, choice in pool.map(one, examples):
            writer.write(content)
            yield choice


def _corrupt(
    numbered: oversampling.Numbered, *, names: Sequence[str], levels: Sequence[int], seed: int
) -> tuple[bytes, Choice]:
    """A serialized example with its image corrupted, all else as it was but a copy's id."""
    import tensorflow as tf

    content, copy = numbered
    example = tf.train.Example.FromString(content)
    feature = example.features.feature
    stored, id_ = feature["image"].bytes_list.value, feature["id"].bytes_list.value[0].decode()
    if copy:
        id_ = f"{id_}#{copy}"
        feature["id"].bytes_list.value[0] = id_.encode()
    image, _ = images.load_image(stored[0], max_megapixels=math.inf)
    found, name, level = corrupting.random_corruption(
        image.astype(np.float32) / 255, id_, names, levels, seed=seed
    )
    suffix, settings = (".png", []) if images.is_lossless(stored[0]) else (".jpg", shards.JPEG)
    bgr = cv2.cvtColor(np.rint(found * 255).astype(np.uint8), cv2.COLOR_RGB2BGR)
    stored[0] = cv2.imencode(suffix, bgr, settings)[1].tobytes()
    return bytes(example.SerializeToString(deterministic=True)), (id_, name, level)


def _write_list(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "split", "corruption", "level"])
    writer.writerows(rows)
    runs.save_text(path, text.getvalue())


def _words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _levels(text: str) -> list[int]:
    """Whole numbers from '3', '1-4' or '1,3'."""
    found: list[int] = []
    for part in _words(text):
        ends = re.fullmatch(r"(\d)(?:-(\d))?", part)
        if not ends or int(ends[1]) > int(ends[2] or ends[1]):
            raise UserError(
                f"--levels {text}: expected whole numbers of 1 to 5, such as 1-4 or 2,3"
            )
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = Parser(
        prog="attnrobust corrupt",
        description="A copy of records in which every image is corrupted once.",
        epilog="example: attnrobust corrupt eyepacs --splits train --out DIR",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("dataset", nargs="?", default="", help="whose records, where --records holds several")
    said = "folder of a data set's records, or of several such folders"
    add("--records", type=Path, default=places.RECORDS, metavar="DIR", help=said)
    add("--out", type=Path, required=True, help="new folder for the corrupted ones")
    add("--corruptions", default=",".join(corruptions.RANDOM), help="each image gets one of them")
    add("--levels", default="1-4", help="of 1 to 5; each image gets one of them")
    add("--splits", default=",".join(SPLITS), help="which are corrupted; the others are copied")
    add(
        "--oversample",
        action="store_true",
        help="repeat training images until all classes are as common",
    )
    add("--seed", type=int, default=0, help="of all chance")
    add("--workers", type=positive, default=os.cpu_count() or 1, help="threads")
    add("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)

    def work() -> None:
        write(
            places.records_named(options.records, options.dataset),
            options.out,
            names=_words(options.corruptions),
            levels=_levels(options.levels),
            splits=_words(options.splits),
            seed=options.seed,
            oversample=options.oversample,
            workers=options.workers,
        )

    return run_command(
        work, debug=options.debug, stopped="nothing is kept, the same command begins anew"
    )


if __name__ == "__main__":
    raise SystemExit(main())
