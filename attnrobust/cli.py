"""The command line, `attnrobust COMMAND`."""

# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from attnrobust.commands import COMMANDS, completed
from attnrobust.console import Parser, run_command
from attnrobust.version import __version__

DESCRIPTION = """How robust a medical image classifier is, why, and how to make it better.

In order: prepare a data set's records, run an experiment's stages on them, open the page. A model
of your own: test it."""


def _parser() -> Parser:
    parser = Parser(
        prog="attnrobust",
        description=DESCRIPTION,
        epilog="attnrobust COMMAND --help says more, with an example",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"attnrobust {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, row in COMMANDS.items():
        words = f"attnrobust {name} {row.example}".rstrip()
        command = commands.add_parser(
            name, help=row.what, description=row.what, epilog=f"example: {words}"
        )
        row.options(command)
        if row.names:
            completed(command.add_argument("name"), row.names)
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The project's command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS and (hand_on := COMMANDS[words[0]].hand_on):
        return hand_on(COMMANDS[words[0]], words[1:])
    parser = _parser()
    if argv is None:
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(words)
    work = COMMANDS[options.command].work
    assert work, "every other command has handed its words on"
    return run_command(lambda: work(options), debug=options.debug)
