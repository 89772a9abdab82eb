"""How fast attacks are beside their peers: ratios of one run, medians of interleaved pairs.

    make bench                                          (or, in the venv that it makes:)
    python -m benchmarks.attack_sweep --out result.md [--run FOLDER --records FOLDER] [--quick]

Part one: PGD from the same start with the same weights, images, epsilon and steps, float32, one
epsilon, every image attacked; each peer in turn with ours, so that other work on the machine hits
both. Part two (with --run, a trained run folder): a whole sweep of rising epsilons against stock
Foolbox from the same starts, and what each saving is worth, measured by leaving it out.

Ratio = peer's time / ours, so above 1 ours is faster. Success is judged for all by one float32
forward pass on what each returned.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import itertools
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from attnrobust import config, keyed, stack
from attnrobust.disk import runs
from attnrobust.disk.places import RECORDS
from attnrobust.stages import pipeline

stack.quiet()

import eagerpy as ep  # noqa: E402
import foolbox  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow import keras  # noqa: E402

from attnrobust.attacks import engine  # noqa: E402
from attnrobust.attacks.methods import ATTACKS  # noqa: E402
from attnrobust.attacks.pool import Item, Pooled  # noqa: E402
from attnrobust.attacks.sweep import Sweep  # noqa: E402
from attnrobust.data import inputs, records  # noqa: E402
from attnrobust.models import build  # noqa: E402
from attnrobust.models.replicas import Replicas  # noqa: E402

EPSILON = 0.0005
GRID = (0.00005, 0.0001, 0.0002, 0.0004, 0.0008, 0.00125, 0.0025, 0.005)
Runner = Callable[[], np.ndarray]


class StockPGD(foolbox.attacks.LinfPGD):
    """Stock Foolbox but for a given start."""

    start: np.ndarray

    def get_random_start(self, x0: ep.Tensor, epsilon: float) -> ep.Tensor:
        """The start given, at this epsilon."""
        return x0 + epsilon * ep.astensor(tf.constant(self.start))


def stock_runner(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    start: np.ndarray,
    setting: config.Attack,
    epsilon: float,
) -> np.ndarray:
    """Stock Foolbox on the eager Keras model."""
    attack = StockPGD(steps=setting.steps, rel_stepsize=setting.rel_stepsize)
    attack.start = start
    wrapped = foolbox.models.TensorFlowModel(model, bounds=(0, 1), device="/CPU:0")
    made = attack(wrapped, tf.constant(images), tf.constant(labels), epsilons=epsilon)
    return np.asarray(made[1])


def pooled(
    attack: Pooled,
    images: np.ndarray,
    labels: np.ndarray,
    ids: list[str],
    *,
    size: int,
    replicas: Replicas,
) -> np.ndarray:
    """First passes, the float32 judge between them, then the attack on what stands."""
    made = images.copy()
    standing = np.arange(len(images))
    for one in (*attack.first, attack):
        rows = [Item(int(i), images[i], int(labels[i]), ids[i]) for i in standing]
        for done in one.stream(rows, size, EPSILON, 0):
            made[done.item.position] = done.adversarial
        wrong = judged(replicas, made[standing], size) != labels[standing]
        standing = standing[~wrong]
    return made


def judged(replicas: Replicas, images: np.ndarray, size: int) -> np.ndarray:
    """Predictions, in batches of a fixed size."""
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    logits = [replicas.forward(replicas.padded(part, size))[: len(part)] for part in parts]
    return np.concatenate([np.argmax(part, axis=1) for part in logits]) if parts else np.empty(0)


def peers(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    start: np.ndarray,
    setting: config.Attack,
    size: int,
) -> dict[str, Runner]:
    """Every peer that is installed, as a call that gives its adversarials."""
    batches = [slice(i, i + size) for i in range(0, len(images), size)]
    length = setting.rel_stepsize * EPSILON

    def foolbox_pgd() -> np.ndarray:
        return np.concatenate(
            [
                stock_runner(
                    model, images[b], labels[b], start=start[b], setting=setting, epsilon=EPSILON
                )
                for b in batches
            ]
        )

    found: dict[str, Runner] = {"Foolbox 3.3.4, eager Keras model": foolbox_pgd}
    # The others draw starts of their own, so they, and ours beside them, begin at the image.
    try:
        from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

        def cleverhans() -> np.ndarray:
            return np.concatenate(
                [
                    np.asarray(
                        projected_gradient_descent(
                            model,
                            tf.constant(images[b]),
                            EPSILON,
                            length,
                            setting.steps,
                            np.inf,
                            clip_min=0.0,
                            clip_max=1.0,
                            y=tf.constant(labels[b]),
                            rand_init=False,
                            sanity_checks=False,
                        )
                    )
                    for b in batches
                ]
            )

        found["cleverhans 4.0, compiled gradient"] = cleverhans
    except ImportError as error:
        print(f"cleverhans is left out: {error}")
    try:
        from art.attacks.evasion import ProjectedGradientDescentTensorFlowV2
        from art.estimators.classification import TensorFlowV2Classifier

        classifier = TensorFlowV2Classifier(
            model=model,
            nb_classes=model.output_shape[-1],
            input_shape=images.shape[1:],
            clip_values=(0, 1),
            loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        attack = ProjectedGradientDescentTensorFlowV2(
            classifier,
            eps=EPSILON,
            eps_step=length,
            max_iter=setting.steps,
            batch_size=size,
            verbose=False,
        )
        found["ART 1.20, TensorFlowV2"] = lambda: np.asarray(attack.generate(images, y=labels))
    except ImportError as error:
        print(f"ART is left out: {error}")
    return found


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result."""
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def one_epsilon(options: argparse.Namespace) -> list[list[str]]:
    """Rows of part one."""
    keras.utils.set_random_seed(0)
    chosen = config.Model(backbone=options.backbone, weights=options.weights)
    model = build.build(chosen, classes=7, image_size=options.size)
    rng = np.random.default_rng(0)
    images = rng.random((options.images, options.size, options.size, 3), dtype=np.float32)
    # Noise images lie close together; without their mean logits the classes mix, and some fall.
    kernel, bias = model.layers[-1].get_weights()
    logits = [model.predict_on_batch(image[None]) for image in images[:16]]
    model.layers[-1].set_weights([kernel, bias - np.mean(logits, axis=(0, 1))])
    replicas = Replicas(model)
    labels = judged(replicas, images, options.batch)
    ids = [str(number) for number in range(len(images))]
    setting = config.Attack(
        epsilons=(EPSILON,),
        steps=options.steps,
        rel_stepsize=0.2,
        mode="independent",
        early_stop=False,
        first_passes=(),
    )
    start = keyed.random_starts(
        ids, images.shape[1:], attack="linf_pgd", seed=0, epsilon=EPSILON, restart=0
    )
    batches = [slice(i, i + options.batch) for i in range(0, len(images), options.batch)]
    make = ATTACKS["linf_pgd"].make

    def exact(*, random_start: bool) -> Runner:
        loop = make(replicas, dataclasses.replace(setting, random_start=random_start), 0)
        return lambda: np.concatenate(
            [
                np.asarray(
                    loop(tf.constant(images[b]), tf.constant(labels[b]), ids[b], EPSILON, 0)[0]
                )
                for b in batches
            ]
        )

    def swift(*passes: str) -> Runner:
        asked = dataclasses.replace(setting, early_stop=True, first_passes=passes)
        attack = make(replicas, asked, 0)
        return lambda: pooled(attack, images, labels, ids, size=options.batch, replicas=replicas)

    others = peers(model, images, labels, start=start, setting=setting, size=options.batch)
    stock = next(iter(others.values()))
    gradient = engine.loss_gradient(replicas)
    first = tf.constant(images[: options.batch]), tf.constant(labels[: options.batch])
    gradient(*first)
    best = min(timed(lambda: gradient(*first)[1].numpy())[0] for _ in range(7))  # noqa: PLW0108
    floor = options.steps * len(batches) * best
    rows = beside_torch(options, setting, exact(random_start=True))
    for name, peer, mine in (
        *((name, peer, exact(random_start=peer is stock)) for name, peer in others.items()),
        ("Foolbox; ours stops early", stock, swift()),
        ("Foolbox; ours stops early, bfloat16 first", stock, swift("bfloat16")),
    ):
        rows.append(
            [
                name,
                *_pairs(
                    peer, mine, options.rounds, replicas=replicas, labels=labels, size=options.batch
                ),
            ]
        )
    whole = exact(random_start=True)
    whole()
    seconds = min(timed(whole)[0] for _ in range(options.rounds))
    rows.append(
        [
            f"floor: {options.steps} gradients of {best:.3f} s a batch",
            f"{floor:.2f}",
            f"{seconds:.2f}",
            f"{floor / seconds:.2f}",
            "best of each",
            "",
        ]
    )
    return rows


def _pairs(
    peer: Runner, mine: Runner, rounds: int, *, replicas: Replicas, labels: np.ndarray, size: int
) -> list[str]:
    """Median seconds of both, median ratio and its range, and who succeeded where."""
    theirs, ours = peer(), mine()  # warm: whatever is compiled is compiled here
    fell = [judged(replicas, made, size) != labels for made in (theirs, ours)]
    pairs = [(timed(peer)[0], timed(mine)[0]) for _ in range(rounds)]
    success = (
        f"{fell[0].sum()} / {fell[1].sum()} of {len(labels)}; missed {(fell[0] & ~fell[1]).sum()}"
    )
    return _ratios(pairs, success)


def beside_torch(
    options: argparse.Namespace, setting: config.Attack, mine: Runner
) -> list[list[str]]:
    """Foolbox on PyTorch in a process of its own, which times itself, in turn with ours."""
    if options.backbone != "resnet50" or importlib.util.find_spec("torch") is None:
        print("PyTorch is left out: it is not installed, or the backbone is not resnet50")
        return []
    words = [
        sys.executable,
        "-m",
        "benchmarks.torch_peer",
        f"--images={options.images}",
        f"--size={options.size}",
        f"--batch={options.batch}",
        f"--steps={setting.steps}",
        f"--rel-stepsize={setting.rel_stepsize}",
        f"--epsilon={EPSILON}",
        "--classes=7",
    ]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin
        assert peer.stdout

        def seconds() -> float:
            print(file=peer.stdin, flush=True)
            return float(peer.stdout.readline())

        peer.stdout.readline()
        seconds(), mine()  # warm
        pairs = [(seconds(), timed(mine)[0]) for _ in range(options.rounds)]
        peer.stdin.close()
    name = "Foolbox 3.3.4 on PyTorch, same architecture"
    return [[name, *_ratios(pairs, "other weights: time alone")]]


def _ratios(pairs: list[tuple[float, float]], success: str) -> list[str]:
    """Median seconds of both, median ratio and its range, and what else is to say."""
    ratios = [a / b for a, b in pairs]
    return [
        f"{statistics.median(a for a, _ in pairs):.2f}",
        f"{statistics.median(b for _, b in pairs):.2f}",
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f}-{max(ratios):.2f}",
        success,
    ]


VARIANTS: dict[str, tuple[str, ...]] = {
    "as it is by default": (),
    "without carrying": ("attack.mode=independent",),
    "without one-step pass": ("attack.first_passes=",),
    "without early stop and pass": ("attack.early_stop=false",),
    "compiled alone": ("attack.early_stop=false", "attack.mode=independent"),
    "with a bfloat16 pass": ("attack.first_passes=one_step,bfloat16",),
}


def whole_sweep(options: argparse.Namespace) -> list[list[str]]:
    """Rows of part two."""
    saved = config.from_json((options.run / "config.json").read_text(encoding="utf-8"))
    grid = options.epsilons or ",".join(map(repr, GRID[:: 4 if options.quick else 1]))
    limit = [f"data.limit={options.limit}"] if options.limit else []
    experiment = config.with_settings(
        saved,
        [
            f"attack.epsilons={grid}",
            f"attack.steps={options.steps}",
            "attack.rel_stepsize=0.2",
            "attack.name=linf_pgd",
            "attack.restarts=1",
            f"attack.batch_size={options.batch}",
            "attack.abs_stepsize=none",
            "attack.loss=cross_entropy",
            "attack.target=",
            "attack.random_start=true",
            "attack.mode=carry",
            "attack.early_stop=true",
            "attack.first_passes=one_step",
            "attack.samples=1",
            *limit,
        ],
    )
    dataset = records.load(options.records).as_task(experiment.data.task)
    run = runs.Run.of(experiment, options.run.parents[2])
    replicas = pipeline.Context(run, options.records, False).trained(dataset)
    epsilons, batch = experiment.attack.epsilons, experiment.attack.batch_size

    def stock() -> np.ndarray:
        """Predictions (E, N) of stock Foolbox at every epsilon."""
        found: list[list[np.ndarray]] = [[] for _ in epsilons]
        for each in inputs.evaluation_batches(
            dataset, "test", data=experiment.data, batch_size=batch
        ).as_numpy_iterator():
            ids = [id_.decode() for id_ in each["id"]]
            for row, epsilon in zip(found, epsilons, strict=True):
                start = keyed.random_starts(
                    ids,
                    each["image"].shape[1:],
                    attack=experiment.attack.name,
                    seed=experiment.seed,
                    epsilon=epsilon,
                    restart=0,
                )
                made = stock_runner(
                    replicas.model,
                    each["image"],
                    each["label"],
                    start=start,
                    setting=experiment.attack,
                    epsilon=epsilon,
                )
                row.append(judged(replicas, made, batch))
        return np.stack([np.concatenate(row) for row in found])

    def ours(*settings: str) -> np.ndarray:
        """Predictions (E, N) of the sweep, from files."""
        chosen = config.with_settings(experiment, settings)
        with tempfile.TemporaryDirectory() as folder:
            Sweep(chosen, dataset, replicas).run(Path(folder))
            files = [Path(folder) / runs.attack_file("linf_pgd", epsilon) for epsilon in epsilons]
            return np.stack([runs.load_npz(file)["logits"].argmax(axis=1) for file in files])

    labels = inputs.labels(dataset, "test", experiment.data.limit)
    variants = dict(itertools.islice(VARIANTS.items(), 1 if options.default_only else None))
    rows: list[list[str]] = []
    times: dict[str, list[float]] = {}
    results: dict[str, np.ndarray] = {}
    # Each variant has models and graphs of its own to compile: that is part of a sweep's cost.
    for _, (name, call) in itertools.product(
        range(options.rounds),
        (
            ("stock Foolbox", stock),
            *(
                (name, lambda settings=settings: ours(*settings))
                for name, settings in variants.items()
            ),
        ),
    ):
        seconds, predicted = timed(call)
        times.setdefault(name, []).append(seconds)
        results[name] = np.asarray(predicted)
    fell = results["stock Foolbox"] != labels
    for name in variants:
        mine = results[name] != labels
        ratios = [a / b for a, b in zip(times["stock Foolbox"], times[name], strict=True)]
        accuracy = " ".join(f"{value:.3f}" for value in 1 - mine.mean(axis=1))
        rows.append(
            [
                name,
                f"{statistics.median(times['stock Foolbox']):.1f}",
                f"{statistics.median(times[name]):.1f}",
                f"{statistics.median(ratios):.2f}",
                f"{min(ratios):.2f}-{max(ratios):.2f}",
                f"missed {(fell & ~mine).sum()}; {accuracy}",
            ]
        )
    return rows


def table(title: str, rows: list[list[str]]) -> str:
    """Markdown."""
    head = ["", "peer, s", "ours, s", "ratio", "range", "success (peer / ours)"]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join([f"### {title}", "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("benchmarks/result.md"), help="Markdown file to write")
    add("--run", type=Path, help="trained run, such as runs/ham10000/mobilenet_gap/seed-0")
    add("--records", type=Path, help="its records; default tfrecords/shards/<dataset>")
    add("--only", choices=["pgd", "sweep"], help="one of the parts")
    add("--backbone", default="resnet50", help="of part one")
    add("--weights", default="none", help="of part one: none, imagenet or a file")
    add("--size", type=int, default=224, help="pixels in part one")
    add("--images", type=int, default=32, help="in part one")
    add("--batch", type=int, default=16)
    add("--steps", type=int, default=10)
    add("--rounds", type=int, default=5)
    add("--limit", type=int, help="test images in part two")
    add("--epsilons", help="of part two; by default eight from 0.00005 to 0.005")
    add("--default-only", action="store_true", help="part two without leaving savings out")
    add("--quick", action="store_true", help="small numbers, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.backbone, options.size, options.images = "mobilenet", 64, 8
        options.batch, options.steps, options.rounds, options.limit = 4, 3, 1, 8
    parts = [
        f"{platform.processor() or platform.machine()}, TensorFlow {tf.__version__}, "
        f"{options.rounds} rounds, PGD-{options.steps}, batch {options.batch}\n"
    ]
    if options.only != "sweep":
        title = f"{options.backbone}, {options.size} px, {options.images} images, one epsilon"
        parts.append(table(title, one_epsilon(options)))
    if options.run and options.only != "pgd":
        options.run = options.run.resolve()
        options.records = options.records or RECORDS / options.run.parents[1].name
        parts.append(
            table(f"{options.run.parent.name}: sweep of rising epsilons", whole_sweep(options))
        )
    text = "\n".join(parts)
    runs.save_text(options.out, text)
    print(text)


if __name__ == "__main__":
    main()
