"""What a step of adversarial training costs, against a clean step and against its floor.

    python -m benchmarks.adversarial_step [--steps 5] [--size 64] [--width 0.25] [--batch 32]

The floor is what nobody can do without: one gradient with respect to the images for each inner
step, called as a compiled function on its own, and one clean training step. Clean step, gradient
and adversarial step take turns, so that other work on the machine slows all three; ratios are
taken within a round, and their median and quartiles are printed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.models import build
from attnrobust.task import graph
from attnrobust.training import fit, methods


def made(options: argparse.Namespace, method: str) -> keras.Model:
    """The network, ready to be trained by this method."""
    setting = config.Training(
        method=method,
        batch_size=options.batch,
        inner_steps=options.steps,
        inner_rel_stepsize=max(0.25, 1 / options.steps),
    )
    keras.utils.set_random_seed(0)
    shape = config.Model(backbone=options.backbone, head="gap", weights="none", width=options.width)
    network = build.build(shape, classes=7, image_size=options.size)
    model = methods.METHODS[method].make(network, setting)
    fit.compile_model(model, setting)
    return model


def stepper(model: keras.Model, data: tuple) -> Callable[[], None]:
    """One training step of Keras' own train function, its result waited for."""
    batches = iter(tf.data.Dataset.from_tensors(data).repeat().prefetch(1))
    function = model.make_train_function()

    def step() -> None:
        float(function(batches)["loss"])

    return step


def seconds(work: Callable[[], None]) -> float:
    """Of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print both ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.random((options.batch, options.size, options.size, 3), dtype=np.float32)
    labels = rng.integers(7, size=options.batch)
    epsilon = config.Training().inner_epsilon
    start = rng.uniform(-epsilon, epsilon, images.shape).astype(np.float32)

    clean = made(options, "standard")
    robust = stepper(made(options, "adversarial"), ((images, start), labels))
    plain = stepper(clean, (images, labels))
    each, classes = tf.constant(images), tf.constant(labels)

    @tf.function(autograph=False)
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = tf.reduce_sum(graph.log_odds_against(clean(x, training=False), classes))
        return tape.gradient(value, x)

    works = [plain, lambda: gradient(each).numpy(), robust]
    for work in works:
        work()  # compiles
    rounds = [[seconds(work) for work in works] for _ in range(options.rounds)]
    names = ("clean step", "gradient", "adversarial step")
    for name, times in zip(names, zip(*rounds, strict=True), strict=True):
        print(f"{name:17} {1000 * statistics.median(times):8.1f} ms")
    for name, ratios in (
        ("adversarial / clean", [r / c for c, _, r in rounds]),
        ("adversarial / floor", [r / (options.steps * g + c) for c, g, r in rounds]),
    ):
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name}  {middle:.2f}  (quartiles {low:.2f} to {high:.2f}, {len(ratios)} rounds)")


if __name__ == "__main__":
    main()
