"""PREPARE's command line, the same for every data set: `python -m tfrecords.<dataset>`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from attnrobust.commands import guarded, positive
from attnrobust.data import preprocessing, shards, writing
from attnrobust.data.raw import Reject, Row

Reader = Callable[..., tuple[list[Row], list[Reject]]]


def main(
    name: str,
    classes: Sequence[str],
    read: Reader,
    *,
    split_by: Sequence[str],
    argv: Sequence[str] | None = None,
) -> int:
    """Read a raw folder and write its records.

    Args:
        name: Of the data set; the records go to `tfrecords/shards/<name>` unless --out is given.
        classes: Class names in label order.
        read: `read(folder, split_by=…)` gives rows and rejects.
        split_by: What a split may be made by; the first is the default.
        argv: Command line without the program; None takes the process's own.

    Returns:
        Exit code.
    """
    default = shards.Preparation()
    parser = argparse.ArgumentParser(
        prog=f"python -m tfrecords.{name}", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--raw", type=Path, required=True, help="folder of the data set as downloaded")
    add("--out", type=Path, default=Path("tfrecords/shards") / name, help="folder of the records")
    add("--size", type=int, default=default.size, help="height and width; 0 keeps each its own")
    add("--fit", choices=preprocessing.FITS, default=default.fit, help="rectangle to square")
    add("--split", type=float, nargs=3, default=default.fractions, metavar="SHARE",
        help="shares of train, validation, test")  # fmt: skip
    add("--split-by", choices=split_by, default=split_by[0], help="what stays in one split")
    add("--seed", type=int, default=default.seed, help="of the split")
    add("--shard-size", type=positive, default=default.shard_size, help="examples in one file")
    add("--max-rejects", type=float, default=default.max_rejects,
        help="largest share of rows that may be unusable")  # fmt: skip
    add("--max-megapixels", type=float, default=default.max_megapixels,
        help="larger images are rejected")  # fmt: skip
    add("--workers", type=positive, default=default.workers, help="processes")
    add("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)

    def work() -> None:
        rows, rejects = read(options.raw, split_by=options.split_by)
        how = shards.Preparation(
            size=options.size, fit=options.fit, fractions=tuple(options.split), seed=options.seed,
            shard_size=options.shard_size, max_rejects=options.max_rejects,
            max_megapixels=options.max_megapixels, workers=options.workers,
        )  # fmt: skip
        writing.write(options.out, name=name, classes=classes, rows=rows, rejects=rejects, how=how)

    return guarded(work, debug=options.debug)
