"""The main job on drawn images: records, two models, attack, heatmaps, one page."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from attnrobust.disk.runs import Run
from attnrobust.stages.context import RECORDS, REPORTS, RUNS, Context
from attnrobust.stages.pipeline import run_stages

log = logging.getLogger("attnrobust")

RAW = Path("tfrecords/raw/demo")
EXPERIMENTS = ("demo.resnet18_gap", "demo.resnet18_soft_attention")
# Every model learns before the first is checked, so that each has another one's adversarials.
STAGES = (("train",), ("predict", "attack", "check", "evaluate", "explain"))


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
    log.info("1/3  drawing %d images and writing records", images)
    synthetic.write_dataset(RAW, images=images, size=size)
    records = RECORDS / "demo"
    ham10000.write(RAW, records, name="demo", size=size)
    contexts = [Context(Run.of(experiment, RUNS), records) for experiment in chosen]
    for stages in STAGES:
        for number, context in enumerate(contexts):
            log.info("2/3  model %d of %d: %s", number + 1, len(chosen), context.experiment.name)
            run_stages(context, stages)
    log.info("3/3  report")
    path = page.write(
        [context.run for context in contexts],
        REPORTS / "demo",
        title="attnrobust demo: drawn lesions",
    )
    log.info("demo done in %.0f s: open %s", time.monotonic() - start, path.resolve())
    return path
