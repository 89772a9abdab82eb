"""DAG against a plain eager loop of the same algorithm, in float64 on one U-Net, and its floor.

    python -m benchmarks.dag [--segmenter unet]

With `--segmenter` it is one of the project's own, a quarter as wide, in float32, at 64 px.

The loop attacks a batch at once, step by step, with a tape in Python and no compiled code; it makes
every step for every image, as public implementations do, until no image has an active pixel. The
floor is as many compiled gradients of a batch as the longest of its images needs. Ours lets images
go that are done, and so can lie below it. All three are timed in turn, and both attacks must end at
the same images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import methods
from attnrobust.attacks.segmentation import dag
from attnrobust.models.replicas import Replicas
from attnrobust.models.segmenters import SEGMENTERS

SIZE, BATCH, CLASSES, STEPS, ROUNDS = 48, 8, 4, 40, 3
GAMMA = 4 / 255


def unet(width: int = 8, depth: int = 3) -> keras.Model:
    """A small U-Net with random weights, in float64, each class about as common."""
    keras.utils.set_random_seed(0)
    keras.backend.set_floatx("float64")
    image = x = keras.layers.Input((SIZE, SIZE, 3))
    skips = []
    for level in range(depth):
        x = _convolved(x, width * 2**level)
        skips.append(x)
        x = keras.layers.MaxPooling2D()(x)
    x = _convolved(x, width * 2**depth)
    for level in reversed(range(depth)):
        x = keras.layers.UpSampling2D(interpolation="bilinear")(x)
        x = _convolved(keras.layers.Concatenate()([x, skips[level]]), width * 2**level)
    model = keras.Model(image, keras.layers.Conv2D(CLASSES, 1)(x))
    model.layers[-1].bias.assign(-model(images(1)).numpy().mean(axis=(0, 1, 2)))
    return model


def _convolved(x: tf.Tensor, filters: int) -> tf.Tensor:
    for _ in range(2):
        x = keras.layers.Conv2D(
            filters, 3, padding="same", activation="softplus", kernel_initializer="he_normal"
        )(x)
    return x


def segmenter(name: str, width: float = 0.25, size: int = 64) -> keras.Model:
    """A row of SEGMENTERS with random weights, in float32, and logits behind it."""
    keras.utils.set_random_seed(0)
    network = SEGMENTERS[name].build(keras.layers.Input((size, size, 3)), width, None)
    return keras.Model(network.input, keras.layers.Conv2D(CLASSES, 1)(network.output))


def images(seed: int, size: int = SIZE) -> np.ndarray:
    """Smooth random images, float64."""
    few = np.random.default_rng(seed).random((BATCH, 8, 8, 3))
    return np.clip(tf.image.resize(few, (size, size), method="bicubic").numpy(), 0, 1).astype(float)


def eager(model: keras.Model, x0: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """The plain loop, toward background everywhere: images and gradients of the batch."""
    x, number = tf.constant(x0), 0
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = model(x, training=False)
            active = (labels != 0) & (tf.argmax(logits, axis=-1) == labels)
            own = tf.gather(logits, labels, batch_dims=3)
            value = tf.reduce_sum(tf.where(active, logits[..., 0] - own, 0))
        gradient, number = tape.gradient(value, x), number + 1
        if not tf.reduce_any(active):
            break
        size = tf.reduce_max(tf.abs(gradient), axis=(1, 2, 3), keepdims=True)
        x = tf.clip_by_value(x + GAMMA * tf.math.divide_no_nan(gradient, size), 0, 1)
    return x.numpy(), number


def timed(call: Callable[[], object]) -> np.ndarray:
    """Seconds of one call by the clock and of the CPU, which other work does not count for."""
    start = time.perf_counter(), time.process_time()
    call()
    return np.array([time.perf_counter(), time.process_time()]) - start


def main() -> None:
    """Print slices of each in a second, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segmenter", choices=list(SEGMENTERS))
    name = parser.parse_args().segmenter
    model = segmenter(name) if name else unet()
    replicas = Replicas(model)
    x0 = images(2, model.input_shape[1]).astype(model.input.dtype.as_numpy_dtype)
    labels = replicas.forward(x0).numpy().argmax(axis=-1)
    setting = methods.settled(
        config.Attack("dag_background", epsilons=(1.0,), steps=STEPS, abs_stepsize=GAMMA)
    )
    attack = dag.dag_background(replicas, setting, 0)
    ids = [str(place) for place in range(BATCH)]

    def ours() -> tuple[np.ndarray, np.ndarray]:
        made, passes = attack(tf.constant(x0), tf.constant(labels), ids, 1.0, 0)
        return np.asarray(made), passes

    pull = replicas.map(dag._pull(replicas))
    aims = np.zeros_like(labels)
    ours(), pull(x0, labels, aims)
    made, passes = ours()
    theirs, number = eager(model, x0, labels)
    print(f"largest difference of a pixel {np.abs(made - theirs).max():.2g}")
    print(f"gradients of an image {passes.min() - 1} to {passes.max() - 1}; loop {number}")
    for turn in range(ROUNDS):
        loop = timed(lambda: eager(model, x0, labels))
        own = timed(ours)
        floor = timed(lambda: [pull(x0, labels, aims) for _ in range(number)])
        for place, what in enumerate(("s", "CPU s")):
            print(
                f"round {turn + 1}: eager {BATCH / loop[place]:.2f} slices/{what}, "
                f"ours {BATCH / own[place]:.2f} ({loop[place] / own[place]:.2f} x), "
                f"floor {BATCH / floor[place]:.2f} ({own[place] / floor[place]:.2f} of it)"
            )


if __name__ == "__main__":
    main()
