"""PANEL: the command that draws sample images against models, methods, seeds or attacks.

What it needs is imported when it is called, so that `--help` stays quick.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from attnrobust.console import Parser, fraction, positive

COLUMNS = ("models", "methods", "conditions", "seeds")


def options(command: Parser) -> None:
    """Add the command's options."""
    command.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="explained run folders, or above"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="figure; .png and .pdf are written"
    )
    command.add_argument("--columns", choices=COLUMNS, default="models", help="(models)")
    command.add_argument(
        "--style", default="overlay", metavar="STYLE", help="or margeloiu, wu (overlay)"
    )
    command.add_argument("--method", default="", help="explanation (the first of the first run)")
    command.add_argument(
        "--as", dest="label", default="", metavar="LABEL", help="attack whose samples are shown"
    )
    command.add_argument(
        "--epsilon", type=fraction, default=0.0, help="images under the attack (0: without)"
    )
    command.add_argument("--images", type=positive, default=4, metavar="N", help="at most (4)")
    command.add_argument("--ids", nargs="+", default=[], metavar="ID", help="these images")
    command.add_argument(
        "--correct-only", action="store_true", help="images that all columns name rightly"
    )
    command.add_argument(
        "--shared-scale", action="store_true", help="one scale for all maps of a row"
    )


def work(given: argparse.Namespace) -> None:
    """Draw what the command line asks for."""
    from attnrobust.disk.runs import find_runs
    from attnrobust.studies.panel_columns import Asked, panel

    asked = Asked(
        columns=given.columns,
        style=given.style,
        method=given.method,
        label=given.label,
        epsilon=given.epsilon,
        images=given.images,
        ids=tuple(given.ids),
        correct_only=given.correct_only,
        shared_scale=given.shared_scale,
    )
    panel(find_runs(given.runs), given.out, asked)
