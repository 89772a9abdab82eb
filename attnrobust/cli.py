"""`python -m attnrobust {demo,study,report,transfer,unfreeze,doctor}`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from attnrobust.console import Parser, guarded, positive
from attnrobust.disk import lock
from attnrobust.studies import panel

RECORDS = Path("tfrecords/shards")


def _demo(command: Parser) -> None:
    command.add_argument("--images", type=int, default=1200, help="images to draw")


def _study(command: Parser) -> None:
    command.add_argument(
        "experiments",
        nargs="+",
        metavar="DATASET.NAME[@RECORDS]",
        help="experiments; * for any letters, records if not its own",
    )
    command.add_argument("--out", type=Path, required=True, help="folder of the page")
    command.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N")
    command.add_argument(
        "--stages",
        nargs="+",
        metavar="STAGE",
        default=["train", "predict", "attack", "evaluate"],
        help="what each walks (train predict attack evaluate)",
    )
    command.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    _settings(command, "change a setting of all")


def _report(command: Parser) -> None:
    command.add_argument("runs", type=Path, nargs="+", help="run folders (…/seed-<n>) or above")
    command.add_argument("--out", type=Path, required=True, help="folder of the page")
    command.add_argument("--title", help="of the page")
    command.add_argument(
        "--baseline", metavar="NAME", help="run that corruption errors are relative to (the first)"
    )


def _transfer(command: Parser) -> None:
    command.add_argument("runs", type=Path, nargs="+", help="trained run folders, or above")
    command.add_argument("--out", type=Path, required=True, help="folder of the matrix")
    command.add_argument("--records", type=Path, default=RECORDS, help="where records are kept")
    _settings(command, "change the attack's settings")


def _unfreeze(command: Parser) -> None:
    command.add_argument("run", type=Path, help="trained run folder (…/seed-<n>)")
    command.add_argument("--out", type=Path, required=True, help="folder of runs and figure")
    command.add_argument("--records", type=Path, default=RECORDS, help="where records are kept")
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
    _settings(command, "change its settings")


def _doctor(command: Parser) -> None:
    command.add_argument("--records", type=Path, default=RECORDS, help="where records are kept")
    command.add_argument(
        "--experiment",
        metavar="DATASET.NAME",
        help="measure a step of it and say how long it will take",
    )
    _settings(command, "change one of its settings")


def _settings(command: Parser, what: str) -> None:
    command.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help=what
    )


def _do_demo(options: argparse.Namespace) -> None:
    from attnrobust import demo

    demo.demo(images=options.images)


def _do_study(options: argparse.Namespace) -> None:
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


def _do_report(options: argparse.Namespace) -> None:
    from attnrobust.disk.runs import find_runs
    from attnrobust.report import page

    page.write(find_runs(options.runs), options.out, title=options.title, baseline=options.baseline)


def _do_transfer(options: argparse.Namespace) -> None:
    from attnrobust.disk.runs import find_runs
    from attnrobust.studies import transfer

    with lock.alone(options.out):
        transfer.transfer(find_runs(options.runs), options.records, options.out, options.settings)


def _do_unfreeze(options: argparse.Namespace) -> None:
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


def _do_doctor(options: argparse.Namespace) -> None:
    from attnrobust import doctor

    if options.experiment:
        doctor.forecast(options.experiment, options.settings, options.records)
    else:
        doctor.doctor(options.records)


# Of each command: what it is for, its options, its work. What it needs is imported only then.
COMMANDS: dict[str, tuple[str, Callable[[Parser], None], Callable[[argparse.Namespace], None]]] = {
    "demo": ("the whole walk on drawn images, in a few minutes", _demo, _do_demo),
    "study": ("several experiments and seeds, and one page on all", _study, _do_study),
    "report": ("one page from one or many runs", _report, _do_report),
    "transfer": ("adversarials of each run, judged by all", _transfer, _do_transfer),
    "unfreeze": (
        "fine-tune ever more layer groups of a robust model, without an attack",
        _unfreeze,
        _do_unfreeze,
    ),
    "panel": ("heatmaps of sample images side by side", panel.options, panel.work),
    "doctor": ("what is installed, devices, records, models", _doctor, _do_doctor),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The project's command line; returns the exit code."""
    parser = Parser(prog="python -m attnrobust", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (what, arguments, _) in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        arguments(command)
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    return guarded(lambda: COMMANDS[options.command][2](options), debug=options.debug)
