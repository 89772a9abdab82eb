"""Commands on several runs: study, report, transfer, unfreeze, panel."""

from __future__ import annotations

import argparse
from pathlib import Path

from attnrobust.commands import row
from attnrobust.console import Parser, positive
from attnrobust.stages.context import RUNS


def study(command: Parser) -> None:
    """Options: experiments and seeds."""
    named = command.add_argument(
        "experiments",
        nargs="+",
        metavar="DATASET.NAME[@RECORDS]",
        help="experiments; * for any letters, records if not its own",
    )
    row.completed(named, row.experiments)
    row.out(command, "folder of the page")
    command.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="(0)")
    command.add_argument(
        "--stages",
        nargs="+",
        metavar="STAGE",
        default=["train", "predict", "attack", "evaluate"],
        help="of each run (train predict attack evaluate)",
    )
    command.add_argument("--runs", type=Path, default=RUNS, help=f"where runs are kept ({RUNS})")
    row.settings(command, "change a setting of all")


def do_study(options: argparse.Namespace) -> None:
    """Do it."""
    from attnrobust.disk import lock
    from attnrobust.studies import study

    with lock.alone(options.out):
        study.study(
            options.experiments,
            options.out,
            seeds=options.seeds,
            stages=options.stages,
            settings=options.settings,
            runs=options.runs,
        )


def report(command: Parser) -> None:
    """Options: runs and the page."""
    row.runs(command, "run folders (…/seed-<n>) or above")
    row.out(command, "folder of the page")
    command.add_argument("--title", help="of the page")
    command.add_argument(
        "--baseline",
        metavar="NAME",
        help="run that errors are relative to and others are set against (the first)",
    )
    command.add_argument(
        "--claims", type=Path, metavar="FILE", help="claims beside those of experiments/claims/"
    )


def do_report(options: argparse.Namespace) -> None:
    """Do it."""
    from attnrobust.disk.runs import find_runs
    from attnrobust.report import page

    page.write(
        find_runs(options.runs),
        options.out,
        title=options.title,
        baseline=options.baseline,
        claims=options.claims,
    )


def transfer(command: Parser) -> None:
    """Options: runs, and the matrix or a paper's tables."""
    row.runs(command, "trained run folders, or above")
    row.out(command, "folder of the matrix")
    row.records(command)
    command.add_argument(
        "--paper",
        metavar="NAME",
        help="its attacks as they are found, at each model's image size, its tables and figures",
    )
    row.settings(command, "change the attack's settings")


def do_transfer(options: argparse.Namespace) -> None:
    """Do it."""
    from attnrobust.disk import lock
    from attnrobust.disk.runs import find_runs
    from attnrobust.studies import blackbox, transfer

    with lock.alone(options.out):
        given = (find_runs(options.runs), options.records, options.out, options.settings)
        if options.paper:
            blackbox.blackbox(*given, options.paper)
        else:
            transfer.transfer(*given)


def unfreeze(command: Parser) -> None:
    """Options: a run and its groups."""
    command.add_argument("run", type=Path, help="trained run folder (…/seed-<n>)")
    row.out(command, "folder of runs and figure")
    row.records(command)
    command.add_argument(
        "--groups",
        type=positive,
        nargs="+",
        default=[],
        metavar="N",
        help="how many groups, each number a run (all there are)",
    )
    command.add_argument(
        "--standard",
        type=Path,
        metavar="RUN",
        help="run trained as usual on the same data, to set beside",
    )
    command.add_argument("--force", action="store_true", help="make all of it anew")
    row.settings(command, "change its settings")


def do_unfreeze(options: argparse.Namespace) -> None:
    """Do it."""
    from attnrobust.disk import lock
    from attnrobust.disk.runs import Run
    from attnrobust.studies import unfreezing

    standard = Run.open(options.standard) if options.standard else None
    with lock.alone(options.out):
        unfreezing.unfreeze(
            Run.open(options.run),
            options.records,
            options.out,
            options.settings,
            options.groups,
            standard=standard,
            force=options.force,
        )


def panel(command: Parser) -> None:
    """Options: runs and the figure."""
    from attnrobust.studies import panel

    panel.options(command)


def do_panel(options: argparse.Namespace) -> None:
    """Do it."""
    from attnrobust.studies import panel

    panel.work(options)
