"""COMMANDS: those of `attnrobust COMMAND`; each imports what it needs when it is called."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnrobust.console import Parser, positive, run_command
from attnrobust.errors import UsageError, UserError
from attnrobust.stages.context import RECORDS, RUNS


def _nothing(_: Parser) -> None:
    pass


@dataclass(frozen=True)
class Command:
    """A command of `attnrobust`.

    Attributes:
        what: It does, in a line.
        example: Words that show it.
        options: Adds its options.
        work: Does it.
        hand_on: Takes its words instead, for a command line of its own; returns the exit code.
        names: What the first of these words may be, for the shell to complete.
    """

    what: str
    example: str
    options: Callable[[Parser], None] = _nothing
    work: Callable[[argparse.Namespace], None] | None = None
    hand_on: Callable[[Sequence[str]], int] | None = None
    names: Callable[[], Sequence[str]] | None = None


def _prepare(words: Sequence[str]) -> int:
    import tfrecords

    name, rest = _named(words, "prepare", "DATASET", "data set", tfrecords.known())
    module = importlib.import_module(f"tfrecords.{name}")

    def work() -> None:
        raise UserError(f"{module.__file__}: no main(argv) in it, which calls prepare.main")

    return module.main(rest) if hasattr(module, "main") else run_command(work, debug=False)


def _run(words: Sequence[str]) -> int:
    import experiments
    from attnrobust import run

    name, rest = _named(words, "run", "DATASET.NAME", "experiment", experiments.known())
    return run.main(
        experiments.load(name), rest, about=experiments.about(name), prog=f"attnrobust run {name}"
    )


def _train(words: Sequence[str]) -> int:
    import experiments
    from attnrobust import run

    name = "own.model"
    return run.main(
        experiments.load(name),
        ["train", *words],
        about=f"{experiments.about(name)}\n\nexample: attnrobust train {COMMANDS['train'].example}",
        prog="attnrobust train",
    )


def _test(command: Parser) -> None:
    from attnrobust.own_model import command as own

    own.options(command)


def _do_test(options: argparse.Namespace) -> None:
    from attnrobust.own_model import command as own

    own.work(options)


def _draw(words: Sequence[str]) -> int:
    from tfrecords import synthetic

    return synthetic.main(words)


def _corrupt(words: Sequence[str]) -> int:
    from attnrobust.data import corrupted

    return corrupted.main(words)


def _named(
    words: Sequence[str], command: str, called: str, kind: str, known: Sequence[str]
) -> tuple[str, Sequence[str]]:
    """The first word, which is one of the known names, and all others."""
    row = COMMANDS[command]
    example = f"example: attnrobust {command} {row.example}"
    parser = Parser(prog=f"attnrobust {command}", description=row.what, epilog=example)
    parser.add_argument("name", metavar=called, help=f"one of: {', '.join(known)}")
    parser.add_argument(
        "rest",
        nargs="*",
        metavar="…",
        help=f"its own words: see attnrobust {command} {called} --help",
    )
    chosen = parser.parse_args(list(words[:1])).name
    if chosen not in known:
        from attnrobust import config

        try:
            config.lookup(kind, dict.fromkeys(known, True), chosen)
        except UserError as error:
            parser.error(str(error))
    return chosen, words[1:]


def _experiments() -> Sequence[str]:
    import experiments

    return experiments.known()


def _datasets() -> Sequence[str]:
    import tfrecords

    return tfrecords.known()


def completed(argument: argparse.Action, names: Callable[[], Sequence[str]]) -> None:
    """Let the shell complete it; argcomplete looks for this attribute."""
    argument.completer = lambda **_: names()  # type: ignore[attr-defined]


def _demo(command: Parser) -> None:
    command.add_argument("--images", type=int, default=1200, help="images to draw (1200)")


def _do_demo(options: argparse.Namespace) -> None:
    from attnrobust import demo

    demo.demo(images=options.images)


def _study(command: Parser) -> None:
    named = command.add_argument(
        "experiments",
        nargs="+",
        metavar="DATASET.NAME[@RECORDS]",
        help="experiments; * for any letters, records if not its own",
    )
    completed(named, _experiments)
    _out(command, "folder of the page")
    command.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="(0)")
    command.add_argument(
        "--stages",
        nargs="+",
        metavar="STAGE",
        default=["train", "predict", "attack", "evaluate"],
        help="of each run (train predict attack evaluate)",
    )
    command.add_argument("--runs", type=Path, default=RUNS, help=f"where runs are kept ({RUNS})")
    _settings(command, "change a setting of all")


def _do_study(options: argparse.Namespace) -> None:
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


def _report(command: Parser) -> None:
    _runs(command, "run folders (…/seed-<n>) or above")
    _out(command, "folder of the page")
    command.add_argument("--title", help="of the page")
    command.add_argument(
        "--baseline", metavar="NAME", help="run that corruption errors are relative to (the first)"
    )


def _do_report(options: argparse.Namespace) -> None:
    from attnrobust.disk.runs import find_runs
    from attnrobust.report import page

    page.write(find_runs(options.runs), options.out, title=options.title, baseline=options.baseline)


def _transfer(command: Parser) -> None:
    _runs(command, "trained run folders, or above")
    _out(command, "folder of the matrix")
    _records(command)
    _settings(command, "change the attack's settings")


def _do_transfer(options: argparse.Namespace) -> None:
    from attnrobust.disk import lock
    from attnrobust.disk.runs import find_runs
    from attnrobust.studies import transfer

    with lock.alone(options.out):
        transfer.transfer(find_runs(options.runs), options.records, options.out, options.settings)


def _unfreeze(command: Parser) -> None:
    command.add_argument("run", type=Path, help="trained run folder (…/seed-<n>)")
    _out(command, "folder of runs and figure")
    _records(command)
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


def _do_unfreeze(options: argparse.Namespace) -> None:
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


def _panel(command: Parser) -> None:
    from attnrobust.studies import panel

    panel.options(command)


def _do_panel(options: argparse.Namespace) -> None:
    from attnrobust.studies import panel

    panel.work(options)


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
    _records(command)
    command.add_argument(
        "--models", action="store_true", help="build every model and say how large it is (30 s)"
    )
    command.add_argument(
        "--experiment",
        metavar="DATASET.NAME",
        help="measure a step of it and say how long it will take",
    )
    _settings(command, "change one of its settings")


def _do_doctor(options: argparse.Namespace) -> None:
    from attnrobust import doctor

    if options.settings and not options.experiment:
        raise UsageError("--set: goes with --experiment alone")
    if options.experiment:
        doctor.forecast(options.experiment, options.settings, options.records)
    else:
        doctor.doctor(options.records, models=options.models)


def _runs(command: Parser, what: str) -> None:
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN", help=what)


def _out(command: Parser, what: str) -> None:
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help=what)


def _records(command: Parser) -> None:
    command.add_argument(
        "--records",
        type=Path,
        default=RECORDS,
        metavar="DIR",
        help=f"folder of a data set's records, or of several such folders ({RECORDS})",
    )


def _settings(command: Parser, what: str) -> None:
    command.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help=what
    )


COMMANDS: dict[str, Command] = {
    "demo": Command("all of it on drawn images, in a few minutes", "", _demo, _do_demo),
    "prepare": Command(
        "a data set as downloaded to records",
        "ham10000 --raw DIR",
        hand_on=_prepare,
        names=_datasets,
    ),
    "run": Command(
        "stages of an experiment: train, predict, attack, check, evaluate, explain, report, export",
        "ham10000.resnet50_soft_attention all --seed 1",
        hand_on=_run,
        names=_experiments,
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
        hand_on=_train,
    ),
    "study": Command(
        "several experiments and seeds, and one page on all",
        "'ham10000.resnet50_*' --seeds 0 1 2 --out reports/attention",
        _study,
        _do_study,
    ),
    "report": Command(
        "one page from one or many runs", "runs/ham10000 --out reports/skin", _report, _do_report
    ),
    "transfer": Command(
        "adversarials of each run, judged by all",
        "runs/ham10000 --out transfer",
        _transfer,
        _do_transfer,
    ),
    "unfreeze": Command(
        "fine-tune ever more layer groups of a robust model, without an attack",
        "runs/ham10000/resnet18_gap_adversarial/seed-0 --out unfrozen",
        _unfreeze,
        _do_unfreeze,
    ),
    "corrupt": Command(
        "a copy of records with every image corrupted once",
        "--records tfrecords/shards/eyepacs --splits train --out eyepacs_1",
        hand_on=_corrupt,
    ),
    "draw": Command(
        "a raw folder of drawn lesions, with masks", "--out drawn --images 800", hand_on=_draw
    ),
    "panel": Command(
        "heatmaps of sample images side by side",
        "runs/ham10000/mobilenet_* --out panel.png",
        _panel,
        _do_panel,
    ),
    "list": Command(
        "experiments, data sets, attacks, … that there are", "attacks", _list, _do_list
    ),
    "doctor": Command("what is installed, devices, records", "", _doctor, _do_doctor),
}
