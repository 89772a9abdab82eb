"""A study: several experiments and seeds, one after the other, and one page on all of them."""

from __future__ import annotations

import fnmatch
import importlib
import logging
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import experiments
from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.report import page
from attnrobust.runs import Run, find_runs

log = logging.getLogger("attnrobust")


def study(
    patterns: Sequence[str], out: Path, *, seeds: Sequence[int], stages: Sequence[str],
    settings: Sequence[str] = (), runs: Path = Path("runs"),
) -> None:  # fmt: skip
    """Walk every experiment with every seed, then write the page on these runs.

    Each walk is a process of its own, as if called by hand, so that memory is free after it. What
    is finished is kept: called again, it goes on where it stopped.

    Args:
        patterns: `<dataset>.<experiment>` as below `experiments/`; `*` stands for any letters, and
            `@FOLDER` behind it names records other than its own.
        out: Folder of the page.
        seeds: Of every experiment.
        stages: What each walks.
        settings: `key=value` for every experiment; `name` cannot be among them.
        runs: Where runs are kept.

    Raises:
        UserError: No such experiment, a `name` in the settings, other files than a report's at
            `out`, or a walk that failed.
    """
    if any(each.partition("=")[0] == "name" for each in settings):
        raise UserError("--set name=…: a study keeps each experiment under its own name")
    walks = commands(chosen(patterns, experiments.known()), seeds, stages, settings, runs)
    # Before a night of training, not after it.
    page.require_free(out, [root for root, _ in walks])
    for number, (_, words) in enumerate(walks, 1):
        log.info("\n%d of %d: python %s", number, len(walks), shlex.join(words))
        if code := subprocess.run([sys.executable, *words], check=False).returncode:
            if code in (130, -2):
                raise KeyboardInterrupt
            raise UserError(f"python {shlex.join(words)} failed; the same study goes on there")
    page.write(find_runs([root for root, _ in walks]), out)


def chosen(patterns: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Experiments that a pattern fits, each once, with the folder of records behind its `@`.

    Raises:
        UserError: A pattern that fits none.
    """
    found: dict[str, str] = {}
    for word in patterns:
        pattern, _, folder = word.partition("@")
        fitting = fnmatch.filter(names, pattern)
        if not fitting:
            raise UserError(f"{pattern}: no such experiment; expected some of {', '.join(names)}")
        for name in fitting:
            found.setdefault(name, folder)
    return found


def commands(
    walked: dict[str, str], seeds: Sequence[int], stages: Sequence[str],
    settings: Sequence[str], runs: Path,
) -> list[tuple[Path, list[str]]]:  # fmt: skip
    """Run folder and Python's words of every walk: a seed's experiments, then the next seed's.

    Raises:
        UserError: A setting that an experiment cannot take.
    """
    changes = [word for each in settings for word in ("--set", each)]
    return [
        (
            Run.of(_experiment(name, [*settings, f"seed={seed}"]), runs).root,
            ["-m", f"experiments.{name}", *stages, "--seed", str(seed), "--runs", str(runs),
             *(["--records", folder] if folder else []), *changes],
        )
        for seed in seeds
        for name, folder in walked.items()
    ]  # fmt: skip


def _experiment(name: str, settings: Sequence[str]) -> config.Experiment:
    return config.with_settings(importlib.import_module(f"experiments.{name}").EXPERIMENT, settings)
