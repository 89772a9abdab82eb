"""What a command is, and the options that several have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnrobust.console import Parser
from attnrobust.stages.context import RECORDS


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
    hand_on: Callable[[Command, Sequence[str]], int] | None = None
    names: Callable[[], Sequence[str]] | None = None


def completed(argument: argparse.Action, names: Callable[[], Sequence[str]]) -> None:
    """Let the shell complete it; argcomplete looks for this attribute."""
    argument.completer = lambda **_: names()  # type: ignore[attr-defined]


def runs(command: Parser, what: str) -> None:
    """Run folders, or folders above them."""
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN", help=what)


def out(command: Parser, what: str) -> None:
    """Where results go."""
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help=what)


def records(command: Parser) -> None:
    """Where records are."""
    command.add_argument(
        "--records",
        type=Path,
        default=RECORDS,
        metavar="DIR",
        help=f"folder of a data set's records, or of several such folders ({RECORDS})",
    )


def settings(command: Parser, what: str) -> None:
    """`--set key=value`."""
    command.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help=what
    )


def experiments() -> Sequence[str]:
    """Names of all, for the shell to complete."""
    from experiments import known

    return known()


def datasets() -> Sequence[str]:
    """Names of all that are read, for the shell to complete."""
    from tfrecords import known

    return known()
