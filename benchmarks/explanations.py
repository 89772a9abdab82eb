"""What explanations cost, against xplique, tf-keras-vis and the floor of their own gradients.

    python -m benchmarks.explanations [--quick] [--rounds 5] [--only occlusion]

Integrated gradients of 50 steps, SmoothGrad of 25 samples and occlusion by squares of 49 px every
25 px, of 16 images of 224 px through a ResNet-50. All take turns in one process, so that other work
on the machine slows all; ratios are taken within a round, and their median, smallest and largest
are printed. Ours are made in float32 and in bfloat16 (`explanation.precision`), whose maps' rank
correlation with those in float32 is printed: of a network without training, on noise. xplique and
tf-keras-vis compute in float32, as they come. TensorFlow's rewrite serves xplique's compiled steps
as well, where its user knows of it: so that what is won by it is not taken for a better method, it
also runs under `precision.computing`. On machines without bfloat16 these rows are left out.

The floor is what nobody can do without in float32: as many compiled gradients (for occlusion,
forward passes) as the method asks for, in batches of 16, at the time of the best one of the round.
On a busy machine the best one says little of the others: the same ratio is printed of CPU seconds,
which other work hardly changes.

tf-keras-vis has no integrated gradients and no occlusion. Of squares of 50 px, the default, xplique
leaves out those at the far edges (49 in place of 64); of 49 px both have the same 64. Both see
logits, as ours do. `--quick` is a smoke run: a ResNet-18 of a quarter of the width at 64 px, 4
images.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.utils.scores import CategoricalScore
from xplique import attributions

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.explanations import base, precision
from attnrobust.explanations.base import Batch
from attnrobust.explanations.methods import heatmaps
from attnrobust.explanations.occlusion import squares_of
from attnrobust.measures.maps import spearman
from attnrobust.models import build

STEPS, SAMPLES, PATCH, STRIDE, FILL = 50, 25, 49, 25, 0.5
SETTING = config.Explanation(
    integration_steps=STEPS,
    baseline="black",
    smooth_samples=SAMPLES,
    occlusion_patch=PATCH,
    occlusion_stride=STRIDE,
    occlusion_fill=FILL,
    occlusion_drop="logit",
)
Work = Callable[[], Any]


class Spent(NamedTuple):
    """Seconds of a piece of work: by the clock, and of the processors."""

    wall: float
    cpu: float


def ours(model: keras.Model, batch: Batch, name: str = "float32") -> dict[str, Work]:
    """Each method by this project, in one of the precisions."""
    setting = dataclasses.replace(SETTING, precision=name)

    def work(method: str) -> Work:
        return lambda: heatmaps(method, model, batch, setting)["heatmap"]

    return {name: work(name) for name in ("integrated_gradients", "smooth_grad", "occlusion")}


def xplique(model: keras.Model, batch: Batch) -> dict[str, Work]:
    """Each method by xplique, in batches of the same size."""
    size, scale = batch.images.shape[1], batch.images.shape[1] / 224
    targets = keras.utils.to_categorical(batch.targets, model.output_shape[-1])
    range_ = float(np.mean([np.ptp(image) for image in batch.images]))
    made = {
        "integrated_gradients": attributions.IntegratedGradients(
            model, batch_size=base.BATCH, steps=STEPS, baseline_value=0.0
        ),
        "smooth_grad": attributions.SmoothGrad(
            model, batch_size=base.BATCH, nb_samples=SAMPLES, noise=SETTING.smooth_noise * range_
        ),
        "occlusion": attributions.Occlusion(
            model,
            batch_size=base.BATCH,
            patch_size=min(size, round(PATCH * scale)),
            patch_stride=round(STRIDE * scale),
            occlusion_value=FILL,
        ),
    }

    def work(explainer: attributions.base.BlackBoxExplainer) -> Work:
        return lambda: np.asarray(explainer(batch.images, targets))

    return {name: work(explainer) for name, explainer in made.items()}


def tf_keras_vis(model: keras.Model, batch: Batch) -> dict[str, Work]:
    """Each method that tf-keras-vis has."""
    saliency, score = Saliency(model), CategoricalScore([int(each) for each in batch.targets])

    def work() -> object:
        return saliency(
            score, batch.images, smooth_samples=SAMPLES, smooth_noise=SETTING.smooth_noise
        )

    return {"smooth_grad": work}


def rewritten(methods: dict[str, Work]) -> dict[str, Work]:
    """The same with convolutions in bfloat16."""

    def work(given: Work) -> Work:
        def inside() -> object:
            with precision.computing("bfloat16"):
                return given()

        return inside

    return {name: work(given) for name, given in methods.items()}


def floors(model: keras.Model, batch: Batch, rounds: int) -> dict[str, Callable[[], Spent]]:
    """Seconds of the compiled calls that each method cannot do without, one call timed."""
    images = tf.constant(base.Replicas.padded(batch.images, base.BATCH))
    targets = tf.constant(base.Replicas.padded(batch.targets, base.BATCH).astype(np.int32))
    number, side = len(batch.images), batch.images.shape[1]
    squares = len(squares_of(side, side, SETTING))

    @tf.function(autograph=False)
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            score = base.of_target(model(x, training=False), targets)
        return tape.gradient(score, x)

    @tf.function(autograph=False)
    def forward(x: tf.Tensor) -> tf.Tensor:
        return base.of_target(model(x, training=False), targets)

    def floor(call: Callable[[tf.Tensor], tf.Tensor], passes: int) -> Callable[[], Spent]:
        calls = -(-number * passes // base.BATCH)

        def best() -> Spent:
            spent = [seconds(lambda: call(images).numpy()) for _ in range(rounds)]
            return Spent(*(calls * min(each) for each in zip(*spent, strict=True)))

        return best

    return {
        "integrated_gradients": floor(gradient, STEPS),
        "smooth_grad": floor(gradient, SAMPLES),
        "occlusion": floor(forward, squares + 1),
    }


def seconds(work: Work) -> Spent:
    """Of one call."""
    start = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - start[0], time.process_time() - start[1])


def said(values: list[float], digits: int = 2) -> str:
    """Median, smallest and largest."""
    found = (statistics.median(values), min(values), max(values))
    middle, least, most = (f"{each:.{digits}f}" for each in found)
    return f"{middle} ({least} to {most})"


def main() -> None:
    """Print seconds and ratios of every method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network at 64 px")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="one method")
    options = parser.parse_args()
    size, number = (64, 4) if options.quick else (224, 16)
    shape = config.Model("resnet50", weights="none")
    if options.quick:
        shape = config.Model("resnet18", weights="none", width=0.25)
    keras.utils.set_random_seed(0)
    model = build.build(shape, classes=7, image_size=size)
    rng = np.random.default_rng(0)
    images = rng.random((number, size, size, 3), dtype=np.float32)
    ids = np.array([f"i{place}" for place in range(number)])
    batch = Batch(images, rng.integers(7, size=number), ids, 0)

    rows = {"ours": ours(model, batch), "xplique": xplique(model, batch)}
    rows["tf-keras-vis"] = tf_keras_vis(model, batch)
    try:
        precision.require("bfloat16")
    except UserError as error:
        print(error)
    else:
        rows["ours, bfloat16"] = ours(model, batch, "bfloat16")
        rows["xplique, bfloat16"] = rewritten(rows["xplique"])
    for method, floor in floors(model, batch, 3).items():
        if options.only not in ("", method):
            continue
        works = {name: methods[method] for name, methods in rows.items() if method in methods}
        floor()  # compiles
        maps = {name: work() for name, work in works.items()}
        rounds = [
            {"floor": floor(), **{name: seconds(work) for name, work in works.items()}}
            for _ in range(options.rounds)
        ]
        print(f"{method}: {number} images of {size} px, {shape.backbone}, {len(rounds)} rounds")
        for name in ("floor", *works):
            print(f"  {name:17} {statistics.median(each[name].wall for each in rounds):8.2f} s")
        peers = [name for name in works if not name.startswith("ours")]
        pairs = [("ours", "floor"), *((name, "ours") for name in peers if "bfloat16" not in name)]
        if "ours, bfloat16" in works:
            pairs += [(name, "ours, bfloat16") for name in peers]
        for what, of in (("", "wall"), (", CPU seconds", "cpu")):
            for over, under in pairs:
                ratios = [getattr(each[over], of) / getattr(each[under], of) for each in rounds]
                print(f"  {over} / {under}  {said(ratios)}{what}")
        if "ours, bfloat16" in works:
            both = zip(maps["ours"], maps["ours, bfloat16"], strict=True)
            alike = said([spearman(*pair) for pair in both], 4)
            print(f"  rank correlation of bfloat16 with float32  {alike}", flush=True)


if __name__ == "__main__":
    main()
