"""Your own images: a folder a class, a table beside images, or MedMNIST's .npz.

What is there is recognised and said, with the class order:
    benign/…, malignant/…           a folder a class; train/, val/, test/ above them are splits
    labels.csv                      columns of file and label (also image_id, filename, path, dx,
                                    level, diagnosis, target, …), if there are such of group
                                    (patient, lesion_id), split and mask; or a column of 0 and 1
                                    for each class, as ISIC 2019 has it; commas or tabs
    metadata.csv, metadata.jsonl    Hugging Face's ImageFolder, in the folder or in each split's
    pathmnist.npz                   MedMNIST's arrays

    attnrobust prepare own --raw DIR_OR_FILE [--csv FILE] [--name NAME] [--out DIR]
    attnrobust prepare own --raw DIR --test-only

The second command puts all images into the test split, unless the data names splits: records to
test a model on that was trained elsewhere.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from attnrobust.console import Parser, run_command
from attnrobust.data import own, prepare, shards, writing
from attnrobust.disk import runs

log = logging.getLogger("attnrobust")

NAME = "own"
COLUMNS = {
    "file": "of the image's name or path",
    "label": "of the class; several with commas: one for each class, of 0 and 1",
    "group": "of the patient or lesion, which no split tears apart",
    "split": "of the split",
    "mask": "of the mask",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = prepare.parser(NAME, shards.Preparation(), ("group", "image"))
    parser.description = __doc__
    options = _with_options(parser).parse_args(argv)
    if options.name != NAME and options.out == parser.get_default("out"):
        options.out = options.out.with_name(runs.safe_name(options.name))

    def work() -> None:
        how = prepare.preparation(options)
        writing.require_free(options.out, [options.raw])
        found = own.read(
            options.raw,
            csv=options.csv,
            classes=options.classes,
            split_by=options.split_by,
            name=options.name,
            **{f"{kind}_column": getattr(options, f"{kind}_column") for kind in COLUMNS},
        )
        for line in found.lines():
            log.info("%s", line)
        test_only, everything = options.test_only, options.everything
        own.write(found, options.out, how=how, test_only=test_only, everything=everything)

    return run_command(work, debug=options.debug)


def _with_options(parser: Parser) -> argparse.ArgumentParser:
    add = parser.add_argument
    add("--name", default=NAME, help="of the data set; its records go to tfrecords/shards/NAME")
    add("--csv", type=Path, metavar="FILE", help="table of images and classes (the one there is)")
    add(
        "--classes",
        nargs="+",
        default=(),
        metavar="CLASS",
        help="all classes in label order, that of a model of elsewhere (as found)",
    )
    for kind, what in COLUMNS.items():
        add(f"--{kind}-column", metavar="COLUMN", help=f"column {what} (found by its name)")
    add("--test-only", action="store_true", help="all into the test split, or as the data splits")
    add("--everything", action="store_true", help="with --test-only: whatever the data splits")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
