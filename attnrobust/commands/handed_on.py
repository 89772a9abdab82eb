"""Commands that hand their words on to a command line of their own."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from attnrobust.commands.row import Command
from attnrobust.console import Parser, run_command
from attnrobust.errors import UserError


def prepare(row: Command, words: Sequence[str]) -> int:
    """A data set reader; returns the exit code."""
    import tfrecords

    name, rest = named(
        row, words, "prepare", called="DATASET", kind="data set", known=tfrecords.known()
    )
    module = importlib.import_module(f"tfrecords.{name}")

    def work() -> None:
        raise UserError(f"{module.__file__}: no main(argv) in it, which calls prepare.main")

    return module.main(rest) if hasattr(module, "main") else run_command(work, debug=False)


def run(row: Command, words: Sequence[str]) -> int:
    """An experiment; returns the exit code."""
    import experiments
    from attnrobust import run

    name, rest = named(
        row, words, "run", called="DATASET.NAME", kind="experiment", known=experiments.known()
    )
    return run.main(
        experiments.load(name), rest, about=experiments.about(name), prog=f"attnrobust run {name}"
    )


def train(row: Command, words: Sequence[str]) -> int:
    """The experiment on records of one's own; returns the exit code."""
    import experiments
    from attnrobust import run

    name = "own.model"
    return run.main(
        experiments.load(name),
        ["train", *words],
        about=f"{experiments.about(name)}\n\nexample: attnrobust train {row.example}",
        prog="attnrobust train",
    )


def draw(_: Command, words: Sequence[str]) -> int:
    """Drawn lesions; returns the exit code."""
    from tfrecords import synthetic

    return synthetic.main(words)


def corrupt(_: Command, words: Sequence[str]) -> int:
    """Corrupted copies; returns the exit code."""
    from attnrobust.data import corrupted

    return corrupted.main(words)


def named(
    row: Command,
    words: Sequence[str],
    command: str,
    *,
    called: str,
    kind: str,
    known: Sequence[str],
) -> tuple[str, Sequence[str]]:
    """The first word, which is one of the known names, and all others."""
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
