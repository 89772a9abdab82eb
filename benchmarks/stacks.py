"""Both sets of versions side by side: a gradient, an attack sweep and a training step.

    python -m benchmarks.stacks --other .venv-newest/bin/python [--rounds 5]

Each interpreter has a process of its own, and they take turns, so that other work on the machine
hits both. Told are the CPU seconds of the process, all its threads, and the median of the pairs'
ratios with their range: other / this, so below 1 the other is faster. Weights and images are noise,
the same for both: times do not hang on them, and how far the results lie apart is told.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from attnrobust import config, stack

SWEPT = (0.001, 0.002, 0.004)
Works = dict[str, Callable[[], np.ndarray]]


def works(options: argparse.Namespace) -> Works:
    """What is measured, by name; each gives numbers that both sets should agree on."""
    stack.quiet()
    import tensorflow as tf

    from attnrobust.attacks import engine
    from attnrobust.attacks.methods import ATTACKS
    from attnrobust.models.replicas import Replicas
    from benchmarks import adversarial_step

    rng = np.random.default_rng(0)
    images = rng.random((options.batch, options.size, options.size, 3), dtype=np.float32)
    labels = rng.integers(7, size=options.batch)
    ids = [str(number) for number in range(options.batch)]
    model = adversarial_step.made(options, "standard")
    weights = [_drawn(rng, each.shape) for each in model.get_weights()]
    model.set_weights(weights)
    replicas = Replicas(model)
    gradient = engine.loss_gradient(replicas)
    setting = config.Attack(
        steps=options.steps, rel_stepsize=0.25, early_stop=False, first_passes=()
    )
    attack = ATTACKS["linf_pgd"].make(replicas, setting, 0)
    x, y = tf.constant(images), tf.constant(labels)
    step = adversarial_step.stepper(model, (images, labels))

    def train() -> np.ndarray:
        step()
        return np.concatenate([each.numpy().ravel() for each in model.trainable_weights])

    def slopes() -> np.ndarray:
        return np.asarray(gradient(x, y)[1])

    def sweep() -> np.ndarray:
        return np.concatenate([np.asarray(attack(x, y, ids, each, 0)[0]) for each in SWEPT])

    return {
        "gradient": lambda: _from(model, weights, slopes),
        "attack sweep": lambda: _from(model, weights, sweep),
        "training step": lambda: _from(model, weights, train),
    }


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Weights under which signals neither vanish nor explode; variances and scales are positive."""
    if len(shape) < 2:
        return rng.uniform(0.5, 1, shape).astype(np.float32)
    return rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)


def _from(model: Any, weights: list[np.ndarray], work: Callable[[], np.ndarray]) -> np.ndarray:
    """What the work gives from these weights."""
    model.set_weights(weights)
    return work()


def serve(options: argparse.Namespace) -> None:
    """Do what each line names, answer with its CPU seconds; the first results go to files."""
    made = works(options)
    for name, work in made.items():
        np.save(options.serve / f"{name}.npy", work())  # compiles
    print(" ".join(f"{name} {version}" for name, version in stack.at_work().items()), flush=True)
    for line in sys.stdin:
        start = time.process_time()
        made[line.strip()]()
        print(time.process_time() - start, flush=True)


class Peer:
    """An interpreter at work; `seconds(name)` is what one turn takes it."""

    def __init__(self, python: str, folder: Path, words: list[str]) -> None:
        folder.mkdir()
        self.folder = folder
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.stacks", *words, f"--serve={folder}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.given, self.said = self.process.stdin, self.process.stdout
        self.name = self.said.readline().strip()

    def seconds(self, name: str) -> float:
        """CPU seconds of one turn."""
        print(name, file=self.given, flush=True)
        return float(self.said.readline())

    def result(self, name: str) -> np.ndarray:
        """What the first turn gave."""
        return np.asarray(np.load(self.folder / f"{name}.npy"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", help="the other interpreter")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    words = [f"--{name}={getattr(options, name)}" for name in ("backbone", "width", "size")]
    words += [f"--{name}={getattr(options, name)}" for name in ("batch", "steps")]
    with tempfile.TemporaryDirectory() as folder:
        this = Peer(sys.executable, Path(folder, "this"), words)
        other = Peer(options.other, Path(folder, "other"), words)
        print(f"| CPU seconds | {this.name} | {other.name} | ratio | range | results apart by |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name in ("gradient", "attack sweep", "training step"):
            pairs = [(other.seconds(name), this.seconds(name)) for _ in range(options.rounds)]
            ratios = [theirs / ours for theirs, ours in pairs]
            theirs, ours = (statistics.median(each) for each in zip(*pairs, strict=True))
            apart = np.abs(this.result(name) - other.result(name)).max()
            print(
                f"| {name} | {ours:.2f} | {theirs:.2f} | {statistics.median(ratios):.2f} | "
                f"{min(ratios):.2f}-{max(ratios):.2f} | {apart:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
