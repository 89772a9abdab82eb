"""An experiment's command line: `python -m experiments <dataset>.<name> stage…`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from attnrobust import config
from attnrobust.config.smoke import SMOKE, smoke
from attnrobust.console import Parser, run_command
from attnrobust.disk.runs import Run
from attnrobust.explanations import UNATTACKED
from attnrobust.stages.context import RECORDS, RUNS, Context, records_of
from attnrobust.stages.pipeline import STAGES, in_order, run_stages
from attnrobust.studies import search


def main(
    experiment: config.Experiment,
    argv: Sequence[str] | None = None,
    *,
    about: str | None = None,
    prog: str | None = None,
) -> int:
    """An experiment's command line; returns the exit code.

    Args:
        experiment: What is run.
        argv: Words after its name; None takes the process's own.
        about: What --help says of it.
        prog: How it was called.
    """
    where = f"{experiment.data.dataset}.{experiment.name}"
    parser = _parser(prog or f"python -m experiments {where}", about)
    options = parser.parse_args(argv)
    stages = _stages(parser, options)

    def work() -> None:
        context = _context(experiment, options, where)
        if "search" in options.stage:
            search.search(
                context,
                options.grid,
                options.folds,
                train=lambda cell: run_stages(cell, ["train"]),
                words=search.without(parser.prog, options),
            )
            return
        run_stages(context, stages)

    return run_command(work, debug=options.debug)


def _parser(prog: str, about: str | None) -> Parser:
    """All that can be said after an experiment's name."""
    # A model that was trained elsewhere has a command of its own: attnrobust test.
    stages = {name: stage for name, stage in STAGES.items() if name != "adopt"}
    parser = Parser(
        prog=prog,
        description=about,
        formatter_class=argparse.RawTextHelpFormatter,
        epilog="\n".join(
            f"{name:<10}{stage.__doc__}"
            for name, stage in {**stages, "search": search.search}.items()
        ),
    )
    add = parser.add_argument
    add(
        "stage",
        nargs="+",
        choices=[*stages, "all", "search"],
        help="what to do, one or several; 'all' walks them in this order; 'search' goes alone",
    )
    add(
        "--records",
        type=Path,
        metavar="DIR",
        help=f"folder of a data set's records, or of several such folders ({RECORDS})",
    )
    add("--runs", type=Path, default=RUNS, help="where runs are kept (runs)")
    add("--seed", type=int, help="of weights, order and attacks")
    add(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting, such as training.epochs=2; may be given often",
    )
    add(
        "--as",
        dest="label",
        metavar="LABEL",
        type=_label,
        help="what the attack is called in the run (its name); several may be kept",
    )
    add("--smoke", action="store_true", help="the same walk with tiny numbers, own run folder")
    add("--force", action="store_true", help="make the stage anew")
    add(
        "--strategy",
        choices=["mirrored", "multi_worker"],
        default="mirrored",
        help="over all devices of this machine, or for train over all workers in TF_CONFIG",
    )
    add("--debug", action="store_true", help="show tracebacks")
    search.add_options(parser)
    return parser


def _stages(parser: Parser, options: argparse.Namespace) -> list[str]:
    """The stages in order; what does not go together ends here, with code 2."""
    search.refuse_mixture(parser, options)
    stages = in_order(options.stage)
    if options.label and not {"attack", "check", "explain"} & set(stages):
        parser.error(f"--as is for attack, check and explain; {stages[0]} takes every attack")
    if options.strategy == "multi_worker" and (stages != ["train"] or options.force):
        # A worker cannot know whether another has removed what it sees.
        parser.error(
            "--strategy multi_worker is for 'train' alone, without --force; the later "
            "stages run on one machine"
        )
    return stages


def _context(experiment: config.Experiment, options: argparse.Namespace, where: str) -> Context:
    """The run that the command line asks for."""
    seed = [] if options.seed is None else [f"seed={options.seed}"]
    base = smoke(experiment) if options.smoke else experiment
    # Once more, for the settings of another attack that is asked for.
    tiny = SMOKE if options.smoke else ()
    chosen = config.with_settings(base, [*tiny, *options.settings, *seed])
    return Context(
        Run.of(chosen, options.runs),
        records_of(options.records, chosen.data),
        options.force,
        machines=options.strategy,
        name=options.label or "",
        again=[where, *search.given(options, "records")],
    )


def _label(text: str) -> str:
    """An argparse type: the name of an attack in its run."""
    safe = text and all(c.isalnum() or c in "_-." for c in text) and text[0] != "."
    if not safe or text.endswith((".json", ".npz", ".csv")) or text == UNATTACKED:
        raise argparse.ArgumentTypeError(
            f"{text}: expected letters, digits, _ - . (it names a folder), not {UNATTACKED}"
        )
    return text
