"""List the experiments, or run one: `python -m experiments <dataset>.<name> stage… [options]`."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Sequence

import experiments
from attnrobust import run
from attnrobust.config import Experiment
from attnrobust.console import run_command

log = logging.getLogger("attnrobust")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of all experiments; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        return run_command(_list, debug=False)
    name, *rest = words
    found: list[Experiment] = []
    # A name that there is not ends in one line.
    if failed := run_command(lambda: found.append(experiments.load(name)), debug="--debug" in rest):
        return failed
    return run.main(found[0], rest, about=experiments.about(name))


def _list() -> None:
    log.info("%s\nWith --help behind a name: what it claims, its stages and options.", __doc__)
    for dataset, names in itertools.groupby(experiments.known(), lambda name: name.split(".")[0]):
        log.info("\n%s", dataset)
        for name in names:
            log.info("  %s\n      %s", name, experiments.about(name).splitlines()[0])


if __name__ == "__main__":
    raise SystemExit(main())
