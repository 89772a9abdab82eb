"""The command `attnrobust test`; what it needs is imported when it is called."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from attnrobust.console import Parser
from attnrobust.errors import UserError
from attnrobust.stages.context import RECORDS, REPORTS, RUNS

if TYPE_CHECKING:
    from attnrobust.data.own import Found

log = logging.getLogger("attnrobust")

# Stages of one run, and the page on it.
STAGES = ("adopt", "predict", "attack", "check", "explain", "evaluate", "report")


def options(command: Parser) -> None:
    """Add the command's options."""
    _model(command)
    _images(command)
    add = command.add_argument
    add("--epsilons", metavar="E,E", help="radii in [0, 1] pixels (0.5/255,1/255,2/255,4/255)")
    add("--attack", metavar="NAME", help="row of: attnrobust list attacks (linf_pgd)")
    add("--as", dest="label", default="", metavar="LABEL", help="what it is called in the run")
    add(
        "--stages",
        nargs="+",
        choices=STAGES,
        default=STAGES,
        metavar="STAGE",
        help=f"of: {', '.join(STAGES)} (all)",
    )
    add(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting, such as attack.restarts=5; may be given often",
    )
    add("--name", default="", help="of the run (the model's file)")
    add("--out", type=Path, metavar="DIR", help=f"folder of the page (below {REPORTS})")
    add("--records", type=Path, default=RECORDS, help=f"where records are kept ({RECORDS})")
    add("--runs", type=Path, default=RUNS, help=f"where runs are kept ({RUNS})")
    add("--force", action="store_true", help="make the stages anew")


def _model(command: Parser) -> None:
    add = command.add_argument_group("the model").add_argument
    add("model", metavar="MODEL", help=".keras, .h5, SavedModel folder, or package.module:function")
    add(
        "--preprocess",
        default="",
        metavar="HOW",
        help="what it was trained to see: unit, minus_one_one, caffe, torch, 0_255, inside, or "
        "mean/deviation such as 0.5/0.25; without it a diagnosis tells which fits",
    )
    add("--bgr", action="store_true", help="it takes blue, green, red")
    add("--ends", default="", metavar="IN", help="logits, softmax or sigmoid (its last layer)")
    add("--output", default="", metavar="NAME", help="of several outputs")
    add(
        "--classes",
        default="",
        metavar="A,B,C",
        help="in the order of its outputs (the folders' alphabetical order)",
    )
    add(
        "--custom",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="a layer of your own in it; may be given often",
    )
    add("--allow-code", action="store_true", help="code in its file (Lambda layers) may run")
    add("--size", type=int, metavar="N", help="height and width of its images (its own)")


def _images(command: Parser) -> None:
    add = command.add_argument_group("the images").add_argument
    add(
        "--images",
        type=Path,
        required=True,
        metavar="PLACE",
        help="a folder with a folder for each class or with a table; a MedMNIST .npz",
    )
    add("--csv", type=Path, metavar="FILE", help="table of files and labels (found beside them)")
    for column, what in (
        ("file", "its column of files"),
        ("label", "of labels"),
        ("group", "of patients or lesions"),
        ("split", "of splits"),
    ):
        add(f"--{column}-column", metavar="NAME", help=what)
    add(
        "--everything",
        action="store_true",
        help="all images are test images, whatever split the data puts them in",
    )
    add(
        "--max-rejects",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="of the images may be unusable (0.01)",
    )
    add("--dataset", default="", metavar="NAME", help="what they are called (their folder's name)")
    add(
        "--store-size", type=int, default=0, metavar="N", help="pixels to store them at (their own)"
    )


def work(given: argparse.Namespace) -> None:
    """Test the model, and write the page."""
    from attnrobust.data import own
    from attnrobust.own_model import testing
    from attnrobust.report import page

    classes = tuple(name.strip() for name in given.classes.split(",") if name.strip())
    found = own.read(
        given.images,
        csv=given.csv,
        classes=classes,
        file_column=given.file_column,
        label_column=given.label_column,
        group_column=given.group_column,
        split_column=given.split_column,
        name=given.dataset or None,
    )
    for line in found.lines():
        log.info("%s", line)
    _require_apart(given, found)
    asked = testing.Asked(
        adopted=testing.adopted_of(
            given.model,
            preprocess=given.preprocess,
            bgr=given.bgr,
            ends=given.ends,
            output=given.output,
            classes=classes,
            custom=tuple(given.custom),
            allow_code=given.allow_code,
        ),
        found=found,
        name=given.name,
        dataset=given.dataset,
        image_size=given.size,
        stored_size=given.store_size,
        everything=given.everything,
        max_rejects=given.max_rejects,
        settings=_settings(given),
        records=given.records,
        runs=given.runs,
        force=given.force,
        label=given.label,
        again=again(given),
    )
    run = testing.run(asked, [name for name in STAGES[:-1] if name in given.stages])
    if "report" in given.stages:
        page.write(
            [run], given.out or REPORTS / f"{run.root.parents[1].name}-{run.root.parent.name}"
        )


def _require_apart(given: argparse.Namespace, found: Found) -> None:
    """Raise a UserError where what is written would lie among the images.

    As it would where the command is started in their folder: the next time it would be read, too.
    """
    folders = [place.resolve() for place in found.source if place.is_dir()]
    places = {"--records": given.records, "--runs": given.runs, "--out": given.out or REPORTS}
    inside = [
        option
        for option, place in places.items()
        if any(place.resolve().is_relative_to(folder) for folder in folders)
    ]
    if inside:
        raise UserError(
            f"--images {given.images}: what is written would lie among the images; start from "
            f"another folder, or name folders outside of it with {' and '.join(inside)}"
        )


def _settings(given: argparse.Namespace) -> list[str]:
    attack = [f"attack.name={given.attack}"] if given.attack else []
    radii = [f"attack.epsilons={given.epsilons}"] if given.epsilons else []
    return [*attack, *radii, *given.settings]


def again(given: argparse.Namespace) -> list[str]:
    """The words after `attnrobust test` that call the same model, images and settings up again."""
    words = [given.model]
    # What the page adds itself, where it is asked for.
    left_out = {"model", "command", "stages", "label", "runs", "force", "debug", "out", "settings"}
    for name, value in vars(given).items():
        if name in left_out or value in (None, "", False, 0, []):
            continue
        option = "--" + name.replace("_", "-")
        values = value if isinstance(value, list) else [value]
        words += [option] if value is True else [w for v in values for w in (option, str(v))]
    return words + [word for setting in given.settings for word in ("--set", setting)]
