"""COMMANDS: those of `attnrobust COMMAND`; each imports what it needs when it is called."""

from __future__ import annotations

import argparse

from attnrobust.commands import handed_on, row, studies
from attnrobust.commands.row import Command, completed
from attnrobust.console import Parser
from attnrobust.errors import UsageError

__all__ = ["COMMANDS", "Command", "completed"]


def _test(command: Parser) -> None:
    from attnrobust.own_model import command as own

    own.options(command)


def _do_test(options: argparse.Namespace) -> None:
    from attnrobust.own_model import command as own

    own.work(options)


def _demo(command: Parser) -> None:
    command.add_argument("--images", type=int, default=1200, help="images to draw (1200)")


def _do_demo(options: argparse.Namespace) -> None:
    from attnrobust import demo

    demo.demo(images=options.images)


def _list(command: Parser) -> None:
    from attnrobust import listing

    command.add_argument(
        "kind",
        nargs="?",
        default="experiments",
        metavar="KIND",
        choices=listing.KINDS,
        help=f"(experiments) or {', '.join(list(listing.KINDS)[1:])}",
    )


def _do_list(options: argparse.Namespace) -> None:
    from attnrobust import listing

    print("\n".join(listing.lines(options.kind)))


def _doctor(command: Parser) -> None:
    row.records(command)
    command.add_argument(
        "--models", action="store_true", help="build every model and say how large it is (30 s)"
    )
    command.add_argument(
        "--experiment",
        metavar="DATASET.NAME",
        help="measure a step of it and say how long it will take",
    )
    row.settings(command, "change one of its settings")


def _do_doctor(options: argparse.Namespace) -> None:
    from attnrobust import doctor

    if options.settings and not options.experiment:
        raise UsageError("--set: goes with --experiment alone")
    if options.experiment:
        doctor.forecast(options.experiment, options.settings, options.records)
    else:
        doctor.doctor(options.records, models=options.models)


COMMANDS: dict[str, Command] = {
    "demo": Command("all of it on drawn images, in a few minutes", "", _demo, _do_demo),
    "prepare": Command(
        "a data set as downloaded to records",
        "ham10000 --raw DIR",
        hand_on=handed_on.prepare,
        names=row.datasets,
    ),
    "run": Command(
        "stages of an experiment: train, predict, attack, check, explain, evaluate, report, export",
        "ham10000.resnet50_soft_attention all --seed 1",
        hand_on=handed_on.run,
        names=row.experiments,
    ),
    "test": Command(
        "a model that was trained elsewhere: attack, checks, heatmaps, one page",
        "model.keras --images photographs --preprocess minus_one_one",
        _test,
        _do_test,
    ),
    "train": Command(
        "a network on records of your own, no experiment written",
        "--records photographs --set model.backbone=mobilenet",
        hand_on=handed_on.train,
    ),
    "study": Command(
        "several experiments and seeds, and one page on all",
        "'ham10000.resnet50_*' --seeds 0 1 2 --out reports/attention",
        studies.study,
        studies.do_study,
    ),
    "report": Command(
        "one page from one or many runs",
        "runs/ham10000 --out reports/skin",
        studies.report,
        studies.do_report,
    ),
    "transfer": Command(
        "adversarials of each run, judged by all",
        "runs/ham10000 --out transfer",
        studies.transfer,
        studies.do_transfer,
    ),
    "unfreeze": Command(
        "fine-tune ever more layer groups of a robust model, without an attack",
        "runs/ham10000/resnet18_gap_adversarial/seed-0 --out unfrozen",
        studies.unfreeze,
        studies.do_unfreeze,
    ),
    "corrupt": Command(
        "a copy of records with every image corrupted once",
        "--records tfrecords/shards/eyepacs --splits train --out eyepacs_1",
        hand_on=handed_on.corrupt,
    ),
    "draw": Command(
        "a raw folder of drawn lesions, with masks",
        "--out drawn --images 800",
        hand_on=handed_on.draw,
    ),
    "panel": Command(
        "heatmaps of sample images side by side",
        "runs/ham10000/mobilenet_* --out panel.png",
        studies.panel,
        studies.do_panel,
    ),
    "list": Command(
        "experiments, data sets, attacks, … that there are", "attacks", _list, _do_list
    ),
    "doctor": Command("what is installed, devices, records", "", _doctor, _do_doctor),
}
