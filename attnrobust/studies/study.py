"""A study: several experiments and seeds, one after the other, and one page on all of them."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import logging
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import experiments
from attnrobust import config
from attnrobust.data import records
from attnrobust.disk.runs import Run, find_runs
from attnrobust.errors import UsageError, UserError
from attnrobust.report import page
from attnrobust.stages.context import Context, records_of
from attnrobust.stages.pipeline import STAGES, in_order
from attnrobust.stages.ready import WITHOUT_RECORDS, ready

log = logging.getLogger("attnrobust")


def study(
    patterns: Sequence[str],
    out: Path,
    *,
    seeds: Sequence[int],
    stages: Sequence[str],
    settings: Sequence[str] = (),
    runs: Path = Path("runs"),
) -> None:
    """Run every experiment with every seed, then write the page on these runs.

    Each run is a process of its own, as if called by hand, so that memory is free after it. What
    is finished is kept: called again, it goes on where it stopped.

    Args:
        patterns: `<dataset>.<experiment>` as below `experiments/`; `*` stands for any letters, and
            `@FOLDER` behind it names records other than its own.
        out: Folder of the page.
        seeds: Of every experiment.
        stages: Of each run.
        settings: `key=value` for every experiment; `name` cannot be among them.
        runs: Where runs are kept.

    Raises:
        UserError: No such experiment or stage, a `name` in the settings, other files than a
            report's at `out`, a stage that could not begin; at the end, which runs failed.
    """
    if any(each.partition("=")[0] == "name" for each in settings):
        raise UserError("--set name=…: a study keeps each experiment under its own name")
    for stage in stages:
        config.lookup("stage", {**STAGES, "all": None}, stage)
    walked = chosen(patterns, experiments.known())
    contexts = commands(walked, seeds, stages, settings, runs)
    # Before a night of training, not after it.
    page.require_free(out, [root for root, _ in contexts])
    require_ready(walked, seeds, stages, settings, runs)
    failed: dict[Path, str] = {}
    for number, (root, words) in enumerate(contexts, 1):
        log.info("\n%d of %d: python %s", number, len(contexts), shlex.join(words))
        if code := subprocess.run([sys.executable, *words], check=False).returncode:
            if code in (130, -2):
                raise KeyboardInterrupt
            failed[root] = f"python {shlex.join(words)}"
            log.warning("warning: that run failed; the study goes on with the others")
    # What a failed run measured at another time is not of these settings, or not whole.
    made = [root for root, _ in contexts if root not in failed]
    if measured := [root for root in made if _is_measured(root)]:
        page.write(find_runs(measured), out)
    elif not failed:
        log.info("nothing has been measured yet, so there is no page; --stages … evaluate does it")
    if failed:
        left = "the page is of the others; " if measured else ""
        raise UserError(
            f"{len(failed)} of {len(contexts)} runs failed: {'; '.join(failed.values())}; {left}"
            "the same study goes on there"
        )


def _is_measured(root: Path) -> bool:
    return (root / "evaluate" / "measurements.csv").is_file()


def chosen(patterns: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Experiments that a pattern fits, each once, with the folder of records behind its `@`.

    An experiment that several patterns fit takes the records that one of them names.

    Raises:
        UserError: A pattern that fits none, an `@` without a folder, two folders for one
            experiment.
    """
    found: dict[str, str] = {}
    for word in patterns:
        pattern, at, folder = word.partition("@")
        fitting = fnmatch.filter(names, pattern)
        if not fitting:
            near = difflib.get_close_matches(pattern, names, n=3)
            raise UsageError(
                f"{pattern}: no such experiment; "
                + (f"did you mean {' or '.join(near)}?" if near else "")
                + ("" if near else "attnrobust list experiments names them all")
            )
        if at and not folder:
            raise UsageError(f"{word}: expected a folder of records after @")
        for name in fitting:
            before = found.setdefault(name, folder)
            if folder and before and folder != before:
                raise UserError(
                    f"{name} with records in {before} and in {folder}: expected one "
                    "folder, since both walks would be one run"
                )
            found[name] = before or folder
    return found


def commands(
    walked: dict[str, str],
    seeds: Sequence[int],
    stages: Sequence[str],
    settings: Sequence[str],
    runs: Path,
) -> list[tuple[Path, list[str]]]:
    """Run folder and Python's words of every walk: a seed's experiments, then the next seed's.

    Raises:
        UserError: A setting that an experiment cannot take.
    """
    changes = [word for each in settings for word in ("--set", each)]
    return [
        (
            _context(name, folder, seed, settings, runs).run.root,
            [
                "-m",
                "attnrobust",
                "run",
                name,
                *stages,
                "--seed",
                str(seed),
                "--runs",
                str(runs),
                *(["--records", folder] if folder else []),
                *changes,
            ],
        )
        for seed in seeds
        for name, folder in walked.items()
    ]


def require_ready(
    walked: dict[str, str],
    seeds: Sequence[int],
    stages: Sequence[str],
    settings: Sequence[str],
    runs: Path,
) -> None:
    """Ask every stage of every walk whether it could begin.

    Raises:
        UserError: The first that could not, with its experiment.
    """
    if set(in_order(stages)) - WITHOUT_RECORDS:
        for name, folder in walked.items():
            records.require(_context(name, folder, seeds[0], settings, runs).records)
        import tensorflow as tf

        # All there is shall be free for the walks' processes. (Too late where it is in use.)
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    trained: set[Path] = set()
    for seed in seeds:
        for name, folder in walked.items():
            context = _context(name, folder, seed, settings, runs)
            try:
                ready(context, in_order(stages), trained=trained)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
            if "train" in in_order(stages):
                trained.add(context.run.root)


def _context(name: str, folder: str, seed: int, settings: Sequence[str], runs: Path) -> Context:
    experiment = config.with_settings(experiments.load(name), [*settings, f"seed={seed}"])
    return Context(
        Run.of(experiment, runs), records_of(Path(folder) if folder else None, experiment.data)
    )
