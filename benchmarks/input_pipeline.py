"""Does training wait for its images? `python -m benchmarks.input_pipeline --records DIR`.

Prints images/s of the training input pipeline alone, and then what a training step costs with it
against the same step on one batch that is already there. A step waits for input as long as `next`
on the batches takes while the network is at work; its share is of the whole step, the median over
the steps after the first, which compiles.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.console import positive
from attnrobust.data import inputs, records
from attnrobust.data.augmentation import AUGMENTATIONS
from attnrobust.models import build
from attnrobust.training import fit, methods


def endless(dataset: records.Dataset, data: config.Data, training: config.Training) -> Iterator:
    """Training batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from inputs.training_batches(
            dataset, data=data, training=training, seed=0, epoch=epoch
        )
        epoch += 1


def made(options: argparse.Namespace, training: config.Training, classes: int) -> keras.Model:
    """The network, ready to be trained."""
    shape = config.Model(backbone=options.backbone, head="gap", weights="none")
    network = build.build(shape, classes=classes, image_size=options.size)
    model = methods.METHODS[training.method].make(network, training)
    fit.compile_model(model, training)
    return model


def timed(batches: Iterator, model: keras.Model, steps: int) -> list[tuple[float, float]]:
    """Seconds of waiting and of the whole, for each step."""
    train = tf.function(model.train_step)
    found = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        batch: Any = next(batches)
        ready = time.perf_counter()
        float(train(batch)["loss"])
        found.append((ready - start, time.perf_counter() - start))
    return found[1:]


def main() -> None:
    """Print the rate and the share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=positive, default=128, help="px")
    parser.add_argument("--batch", type=positive, default=32)
    parser.add_argument("--steps", type=positive, default=15)
    parser.add_argument(
        "--augmentation",
        nargs="*",
        default=["flip", "rotate", "zoom", "shift"],
        choices=AUGMENTATIONS,
    )
    options = parser.parse_args()
    dataset = records.load(options.records)
    data = config.Data(dataset=dataset.name, image_size=options.size)
    training = config.Training(batch_size=options.batch, augmentation=tuple(options.augmentation))
    batches = endless(dataset, data, training)
    next(batches)
    start = time.perf_counter()
    for _ in range(options.steps):
        next(batches)
    alone = options.steps * options.batch / (time.perf_counter() - start)
    model = made(options, training, len(dataset.classes))
    step = timed(batches, model, options.steps)
    print(f"{options.backbone}, {options.size} px, batches of {options.batch}")
    print(f"input pipeline alone   {alone:8.1f} images/s")
    print(f"training step          {1000 * statistics.median(t for _, t in step):8.1f} ms")
    share = statistics.median(wait / whole for wait, whole in step)
    print(f"of it waiting          {share:8.1%}  (goal: below 5 %)")
    longest = max(wait for wait, _ in step)
    print(f"longest wait           {1000 * longest:8.1f} ms  (where an epoch begins)")


if __name__ == "__main__":
    main()
