"""The main job on drawn images: records, two models, attack, heatmaps, one page."""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from attnrobust import stack
from attnrobust.console import say
from attnrobust.disk.runs import Run
from attnrobust.stages.context import RECORDS, REPORTS, RUNS, Context
from attnrobust.stages.pipeline import run_stages

log = logging.getLogger("attnrobust")

RAW = Path("tfrecords/raw/demo")
EXPERIMENTS = ("demo.resnet18_gap", "demo.resnet18_soft_attention")
# Every model learns before the first is checked, so that each has another one's adversarials.
STAGES = (("train",), ("predict", "attack", "check", "explain", "evaluate"))


def demo(*, images: int) -> Path:
    """Draw, prepare, train with and without soft attention, attack, explain, report.

    Everything that a former demo left is taken over; the run directories are those of
    `experiments/demo`.

    Args:
        images: Number of images to draw.

    Returns:
        The page's path, which is also printed.
    """
    import experiments
    from attnrobust.report import page
    from tfrecords import ham10000, synthetic

    start = time.monotonic()
    chosen = [experiments.load(name) for name in EXPERIMENTS]
    size = chosen[0].data.image_size
    with _beside_each_other(len(chosen)) as pool:
        log.info("1/3  drawing %d images and writing records", images)
        synthetic.write_dataset(RAW, images=images, size=size)
        records = RECORDS / "demo"
        ham10000.write(RAW, records, name="demo", size=size)
        contexts = [Context(Run.of(experiment, RUNS), records) for experiment in chosen]
        _all(contexts, pool)
    log.info("3/3  report")
    path = page.write(
        [context.run for context in contexts],
        REPORTS / "demo",
        title="attnrobust demo: drawn lesions",
    )
    log.info("demo done in %.0f s: open %s", time.monotonic() - start, path.resolve())
    return path


@contextlib.contextmanager
def _beside_each_other(number: int) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that load TensorFlow while records are written; None where there is to be one.

    One such small network leaves a third of two cores idle. A process is started afresh, since
    TensorFlow does not survive a fork.
    """
    if _processes() == 1:
        yield None
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(number, spawn, _begin, (sys.orig_argv,))
    for _ in range(number):
        pool.submit(_load)
    try:
        yield pool
    finally:
        # The page need not wait for their end.
        pool.shutdown(wait=False, cancel_futures=True)


def _all(contexts: Sequence[Context], pool: ProcessPoolExecutor | None) -> None:
    """All stages, one model after another or side by side."""
    for stages in STAGES:
        if pool is None:
            for context in contexts:
                _one(context, stages)
        else:
            for done in [pool.submit(_beside, context, stages) for context in contexts]:
                done.result()


def _processes() -> int:
    """One where there is one core, or a GPU: the first process takes all of its memory."""
    gpus = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("kfd")]
    return 1 if gpus or os.cpu_count() == 1 else 2


def _begin(words: list[str]) -> None:
    """In a process of its own: no bars, which would write over each other; lines stay whole.

    Args:
        words: The command whose work is done here, for the provenance.
    """
    sys.orig_argv = words
    os.environ["TQDM_DISABLE"] = "1"
    stack.quiet()


def _load() -> None:
    importlib.import_module("tensorflow")


def _beside(context: Context, stages: Sequence[str]) -> None:
    say(f"{context.experiment.name}: ")
    run_stages(context, stages)


def _one(context: Context, stages: Sequence[str]) -> None:
    log.info("2/3  %s: %s", context.experiment.name, ", ".join(stages))
    run_stages(context, stages)
