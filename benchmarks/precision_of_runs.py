"""What bfloat16 changes in the heatmaps of trained runs, beside what chance changes in float32.

    python -m benchmarks.precision_of_runs RUN [RUN ...] [--images 16]

Rank correlations of maps of the same images, mean and least: `explanation.precision=bfloat16` with
float32; and of two maps in float32, SmoothGrad with other noise, integrated gradients with twice
the steps. Images are the clean samples that the run's first attack kept.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from attnrobust import config
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import Run
from attnrobust.explanations.base import Batch
from attnrobust.explanations.methods import heatmaps
from attnrobust.measures.maps import spearman
from attnrobust.stages.context import Context

METHODS = ("gradient", "smooth_grad", "integrated_gradients", "occlusion", "grad_cam")
SETTING = config.Explanation(baseline_draws=1)


def compared(run: Run, records: Path, number: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """Method, what is otherwise, rank correlations (S,)."""
    model = Context(run, records / run.experiment.data.folder).trained().model
    label, attack = next(iter(run.attacks().items()))
    clean = run.attacked(label) / runs.attack_file(attack.name, 0.0)
    shown = schemas.load_npz(clean, schemas.SHOWN)
    images, ids = shown["sample_image"][:number], shown["sample_id"][:number]
    targets = np.argmax(model.predict(images, verbose=0), axis=-1)

    def maps(method: str, seed: int = 0, **settings: Any) -> np.ndarray:
        setting = dataclasses.replace(SETTING, **settings)
        return heatmaps(method, model, Batch(images, targets, ids, seed), setting)["heatmap"]

    for method in METHODS:
        whole = maps(method)
        others = {"bfloat16": maps(method, precision="bfloat16")}
        if method == "smooth_grad":
            others["other noise"] = maps(method, seed=1)
        if method == "integrated_gradients":
            others["100 steps"] = maps(method, integration_steps=2 * SETTING.integration_steps)
        for what, found in others.items():
            yield (
                method,
                what,
                np.array([spearman(*pair) for pair in zip(whole, found, strict=True)]),
            )


def main() -> None:
    """Print a row for each run, method and change."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--records", type=Path, default=Path("tfrecords/shards"))
    parser.add_argument("--images", type=int, default=16)
    options = parser.parse_args()
    print("| run | method | change | mean | least | images |\n|" + " --- |" * 6, flush=True)
    for root in options.runs:
        for method, what, found in compared(Run.open(root), options.records, options.images):
            cells = (str(root), method, what, f"{found.mean():.4f}", f"{found.min():.4f}")
            print(f"| {' | '.join(cells)} | {len(found)} |", flush=True)


if __name__ == "__main__":
    main()
