"""PREPARE's command line, the same for every data set: `attnrobust prepare <dataset>`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from attnrobust.console import Parser, positive, run_command
from attnrobust.data import images, preprocessing, records, shards, writing
from attnrobust.data.raw import Reject, Row
from attnrobust.errors import UserError

Reader = Callable[..., tuple[list[Row], list[Reject]]]
Drawing = Callable[[np.ndarray, Path], None]


def main(
    name: str,
    classes: Sequence[str],
    read: Reader,
    *,
    split_by: Sequence[str],
    tasks: Mapping[str, records.Task] | None = None,
    image_filter: str = "none",
    fit: str = "stretch",
    draw: Drawing | None = None,
    draw_fitted: bool = True,
    about: str | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """Read a raw folder and write its records.

    Args:
        name: Of the data set; the records go to `tfrecords/shards/<name>` unless --out is given.
        classes: Class names in label order.
        read: `read(folder, split_by=…)` gives rows and rejects.
        split_by: What a split may be made by; the first is the default.
        tasks: What else the labels may stand for.
        image_filter: Default of --filter.
        fit: Default of --fit.
        draw: `draw(image, file)` makes the figure that --figure asks for; without it there is no
            such option.
        draw_fitted: Whether it is given the image fitted as for the records, or the photograph.
        about: What --help says of it.
        argv: Command line without the program; None takes the process's own.

    Returns:
        Exit code.
    """
    default = shards.Preparation(filter=image_filter, fit=fit)
    command = parser(name, default, split_by, figure=draw is not None)
    command.description = about
    options = command.parse_args(argv)

    def work() -> None:
        if options.raw.is_dir() and not (draw and options.figure):
            writing.require_free(options.out, [options.raw])
        how = preparation(options)
        rows, rejects = read(options.raw, split_by=options.split_by)
        if draw and options.figure:
            _draw_first(rows, how, draw, options.figure, fitted=draw_fitted)
            return
        writing.write(
            options.out,
            name=name,
            classes=classes,
            rows=rows,
            rejects=rejects,
            how=how,
            tasks=tasks,
            sources=[options.raw],
        )

    return run_command(work, debug=options.debug)


def preparation(options: argparse.Namespace) -> shards.Preparation:
    """How rows become records, as the command line says.

    Raises:
        UserError: A value that cannot be, or values that do not go together.
    """
    return shards.Preparation(
        size=options.size,
        fit=options.fit,
        filter=options.filter,
        turn_inverted=options.turn_inverted,
        fractions=tuple(options.split),
        seed=options.seed,
        shard_size=options.shard_size,
        max_rejects=options.max_rejects,
        max_megapixels=options.max_megapixels,
        workers=options.workers,
        near_duplicates=options.near_duplicates,
        partial=options.partial,
    )


def _draw_first(
    rows: Sequence[Row], how: shards.Preparation, draw: Drawing, file: Path, *, fitted: bool
) -> None:
    """The figure of the first usable row's image."""
    if not rows:
        raise UserError("no usable row to draw")
    try:
        content = rows[0].path.read_bytes()
        image, _ = images.load_image(content, max_megapixels=how.max_megapixels)
        if how.size and fitted:
            image, _ = preprocessing.FITS[how.fit].make(image, how.size)
        draw(image, file)
    except (OSError, images.UnusableImageError) as error:
        raise UserError(f"{rows[0].path}: {error}") from None


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help with defaults, its description as it is written."""


def parser(
    name: str, default: shards.Preparation, split_by: Sequence[str], *, figure: bool = False
) -> Parser:
    """The options that all data sets share.

    Args:
        name: Of the data set.
        default: Values of options that are not given.
        split_by: What a split may be made by; the first is the default.
        figure: Whether there is a --figure.
    """
    command = Parser(prog=f"attnrobust prepare {name}", formatter_class=_Formatter)
    add = command.add_argument
    add(
        "--raw",
        type=Path,
        required=True,
        help="folder of the data set as downloaded; links in it are followed",
    )
    add("--out", type=Path, default=Path("tfrecords/shards") / name, help="folder of the records")
    add("--size", type=int, default=default.size, help="height and width; 0 keeps each its own")
    add("--fit", choices=preprocessing.FITS, default=default.fit, help="rectangle to square")
    add("--filter", choices=preprocessing.FILTERS, default=default.filter, help="put on the square")
    add(
        "--turn-inverted",
        action="store_true",
        help="turn eyes back that are upside down, as disc.csv tells; with --fit disc",
    )
    add(
        "--split",
        type=float,
        nargs=3,
        default=default.fractions,
        metavar="SHARE",
        help="shares of train, validation, test",
    )
    add("--split-by", choices=split_by, default=split_by[0], help="what stays in one split")
    add("--seed", type=int, default=default.seed, help="of the split")
    add("--shard-size", type=positive, default=default.shard_size, help="examples in one file")
    add(
        "--max-rejects",
        type=float,
        default=default.max_rejects,
        help="largest share of rows that may be unusable",
    )
    add(
        "--partial",
        action="store_true",
        help="part of the download is meant: rows without an image file do not count as rejects",
    )
    add(
        "--max-megapixels",
        type=float,
        default=default.max_megapixels,
        help="larger images are rejected",
    )
    add(
        "--near-duplicates",
        type=int,
        default=default.near_duplicates,
        metavar="BITS",
        help="list images whose perceptual hashes differ in no more of 256 bits",
    )
    add("--workers", type=positive, default=default.workers, help="processes")
    add("--debug", action="store_true", help="show tracebacks")
    if figure:
        add(
            "--figure",
            type=Path,
            metavar="FILE",
            help="draw the steps of the preprocessing on one image; write no records",
        )
    return command
