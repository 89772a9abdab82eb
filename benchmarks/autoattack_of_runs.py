"""AutoAttack beside the Adversarial Robustness Toolbox's, on trained runs and their test images.

Both at the published settings: APGD of 100 iterations and one restart on two losses, Square of
5,000 queries; the Toolbox has DeepFool of 100 iterations where the paper and we have FAB.

    pip install -r requirements-bench.txt
    python -m benchmarks.autoattack_of_runs RUN@EPSILON [RUN@EPSILON ...] [--images 200]
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np

from attnrobust import config
from attnrobust.attacks.autoattack import autoattack
from attnrobust.data import inputs
from attnrobust.disk.runs import Run
from attnrobust.stages.context import Context
from benchmarks.autoattack import ours, robust, theirs


def compared(run: Run, records: Path, epsilon: float, number: int) -> list[str]:
    """Cells of the run's row: clean, ours, the Toolbox's, fallen for one alone, seconds."""
    context = Context(run, records / run.experiment.data.folder)
    dataset = context.dataset()
    model = context.trained(dataset).model
    data = dataclasses.replace(run.experiment.data, limit=number)
    batches = inputs.evaluation_batches(dataset, "test", data=data, batch_size=number)
    batch = next(iter(batches.as_numpy_iterator()))
    images, labels = batch["image"], batch["label"]
    right = model(images).numpy().argmax(axis=1) == labels
    given = (model, images, labels, epsilon)
    start = time.perf_counter()
    mine = right & robust(model, ours(autoattack, *given), *given[1:])
    between = time.perf_counter()
    found = theirs(*given, classes=len(dataset.classes), restarts=1)
    yours = right & robust(model, found, *given[1:])
    seconds = [between - start, time.perf_counter() - between]
    return [
        str(len(labels)),
        str(right.sum()),
        str(mine.sum()),
        str(yours.sum()),
        str((yours & ~mine).sum()),
        str((mine & ~yours).sum()),
        *(f"{each:.0f}" for each in seconds),
    ]


def main() -> None:
    """Print a row for each run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN@EPSILON")
    parser.add_argument("--records", type=Path, default=Path("tfrecords/shards"))
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    print(
        "| run | ε | images | right | stand ours | stand the Toolbox's | fall for ours alone "
        "| for the Toolbox's alone | seconds, ours | the Toolbox's |"
    )
    print("|" + " --- |" * 10, flush=True)
    for each in options.runs:
        root, _, text = each.rpartition("@")
        epsilon = config.with_settings(
            Run.open(Path(root)).experiment, [f"attack.epsilons={text}"]
        ).attack.epsilons[0]
        cells = compared(Run.open(Path(root)), options.records, epsilon, options.images)
        print("| " + " | ".join([Path(root).parts[-2], text, *cells]) + " |", flush=True)


if __name__ == "__main__":
    np.random.seed(0)  # noqa: NPY002  (the Toolbox draws from the global one)
    main()
