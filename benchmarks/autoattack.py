"""AutoAttack beside the Adversarial Robustness Toolbox's, and beside PGD with restarts.

On small networks trained for seconds on scikit-learn's handwritten digits (real images, 8 x 8):
how many of 200 test images stand, and seconds; the same with saturated logits; and PGD of 100
steps and 10 restarts on the cross-entropy and on the margin, the judge for two classes, where the
Toolbox's stops.

    pip install -r requirements.txt adversarial-robustness-toolbox==1.20.1 multiprocess==0.70.19
    PYTHONPATH=. python -W ignore benchmarks/autoattack.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks.autoattack import MEMBERS, autoattack
from attnrobust.models.replicas import Replicas

tf.get_logger().setLevel("ERROR")
IMAGES = 200
BATCH = 100
EPSILONS = {10: (0.08, 0.12), 2: (0.05, 0.08), 4: (0.12, 0.16), 3: (0.12,)}


def digits(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 8, 8, 3) and labels to train with, and 200 of each to test with.

    Ten classes: the digits; two: even and odd; else the first digits alone.
    """
    bunch = load_digits()
    images = np.repeat(bunch.images[..., None] / 16, 3, axis=-1).astype(np.float32)
    labels = bunch.target % 2 if classes == 2 else bunch.target
    kept = labels < classes
    order = np.random.default_rng(0).permutation(int(kept.sum()))
    images, labels = images[kept][order], labels[kept][order].astype(np.int64)
    return images[IMAGES:], labels[IMAGES:], images[:IMAGES], labels[:IMAGES]


def trained(images: np.ndarray, labels: np.ndarray, classes: int) -> keras.Model:
    """A small convolutional network, trained on images with some noise."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((8, 8, 3)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(classes),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    noise = np.random.default_rng(1).normal(0, 0.1, images.shape)
    model.fit(np.clip(images + noise, 0, 1), labels, batch_size=64, epochs=15, verbose=0)
    return model


def robust(
    model: keras.Model,
    adversarials: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
) -> np.ndarray:
    """Which images stand (N,), ball and box checked."""
    assert np.abs(adversarials - images).max() <= epsilon + 1e-6
    assert adversarials.min() >= 0
    assert adversarials.max() <= 1
    return np.asarray(model(adversarials).numpy().argmax(axis=1) == labels)


def ours(
    make: Callable, model: keras.Model, images: np.ndarray, labels: np.ndarray, epsilon: float
) -> np.ndarray:
    """Adversarials of one of our attacks, settings as in the paper."""
    attack = make(Replicas(model), config.Attack(steps=100, queries=5000), 0)
    parts = []
    for start in range(0, len(images), BATCH):
        rows = slice(start, start + BATCH)
        ids = [str(row) for row in range(start, start + BATCH)]
        parts.append(
            attack(tf.constant(images[rows]), tf.constant(labels[rows]), ids, epsilon, 0)[0]
        )
    return np.concatenate(parts)


def theirs(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    *,
    classes: int,
    restarts: int,
) -> np.ndarray:
    """Adversarials of the Toolbox's AutoAttack: its own four attacks and settings, but restarts."""
    from art.attacks.evasion import (
        AutoAttack,
        AutoProjectedGradientDescent,
        DeepFool,
        SquareAttack,
    )
    from art.estimators.classification import TensorFlowV2Classifier

    # The same numbers, sooner: eager, its thousands of queries cost mostly Python.
    compiled = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    classifier = TensorFlowV2Classifier(
        lambda x, training=False: compiled(x),
        nb_classes=classes,
        input_shape=images.shape[1:],
        clip_values=(0, 1),
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    apgd = [
        AutoProjectedGradientDescent(
            classifier,
            norm=np.inf,
            eps=epsilon,
            eps_step=epsilon,
            max_iter=100,
            nb_random_init=restarts,
            batch_size=BATCH,
            loss_type=loss,
            verbose=False,
        )
        for loss in ("cross_entropy", "difference_logits_ratio")
    ]
    fool = DeepFool(
        classifier, max_iter=100, epsilon=1e-3, nb_grads=10, batch_size=BATCH, verbose=False
    )
    square = SquareAttack(
        classifier,
        norm=np.inf,
        max_iter=5000,
        eps=epsilon,
        p_init=0.8,
        nb_restarts=restarts,
        batch_size=BATCH,
        verbose=False,
    )
    attack = AutoAttack(
        classifier, eps=epsilon, eps_step=epsilon, batch_size=BATCH, attacks=[*apgd, fool, square]
    )
    return np.asarray(attack.generate(images, labels))


def pgd(model: keras.Model, images: np.ndarray, labels: np.ndarray, epsilon: float) -> np.ndarray:
    """Which images stand plain PGD: 100 steps, 10 restarts, cross-entropy and then margin.

    Every iterate counts, not the last alone.
    """
    x0, y = tf.constant(images), tf.constant(labels)
    stands = model(x0).numpy().argmax(axis=1) == labels

    @tf.function
    def step(x: tf.Tensor, margin: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = model(x, training=False)
            hidden = tf.one_hot(y, logits.shape[-1], on_value=1e9)
            gap = tf.reduce_max(logits - hidden, 1) - tf.gather(logits, y, batch_dims=1)
            entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
            loss = tf.where(margin, gap, entropy)
        moved = x + size * tf.sign(tape.gradient(loss, x))
        moved = tf.clip_by_value(tf.clip_by_value(moved, x0 - epsilon, x0 + epsilon), 0, 1)
        return moved, tf.argmax(logits, 1) == y

    rng = np.random.default_rng(0)
    for margin in (False, True):
        for _ in range(10):
            x = x0 + tf.constant(rng.uniform(-epsilon, epsilon, images.shape), tf.float32)
            x = tf.clip_by_value(x, 0, 1)
            for number in range(100):
                size = epsilon * (0.25 if number < 50 else 0.05)
                x, right = step(x, tf.constant(margin), tf.constant(size, tf.float32))
                stands &= right.numpy()
            stands &= step(x, tf.constant(margin), tf.constant(0.0))[1].numpy()
    return np.asarray(stands)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=list(EPSILONS))
    parser.add_argument(
        "--restarts", type=int, default=1, help="the Toolbox's (its own default: 5)"
    )
    arguments = parser.parse_args()
    print(f"robust images of {IMAGES} (seconds)")
    for classes in arguments.classes:
        images, labels, test, truth = digits(classes)
        model = trained(images, labels, classes)
        clean = int(robust(model, test, test, truth, 0).sum())
        print(f"\n{classes} classes, {clean} right before any attack")
        for epsilon in EPSILONS[classes]:
            print(f"  epsilon {epsilon:g}")
            table(model, test, truth, epsilon, {"classes": classes, "restarts": arguments.restarts})


def table(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float,
    toolbox: dict[str, int],
) -> None:
    """A line for each attack: how many images stand, or how it failed."""
    given = (images, labels, epsilon)
    # The same decisions, so the same robust accuracy, but float32 rounds the softmax to 0 and 1.
    inputs = keras.layers.Input(model.input_shape[1:])
    saturated = keras.Model(inputs, 500.0 * model(inputs))
    lines = {
        "ours": lambda: robust(model, ours(autoattack, model, *given), *given),
        **{
            f"  {make.__name__}": lambda m=make: robust(model, ours(m, model, *given), *given)
            for make in MEMBERS[:3]
        },
        "ours, logits x 500": lambda: robust(model, ours(autoattack, saturated, *given), *given),
        "  apgd_ce, x 500": lambda: robust(model, ours(MEMBERS[0], saturated, *given), *given),
        "PGD": lambda: pgd(model, *given),
        "Toolbox": lambda: robust(model, theirs(model, *given, **toolbox), *given),
    }
    for name, run in lines.items():
        start = time.perf_counter()
        try:
            stands = str(run().sum())
        except (ValueError, IndexError, tf.errors.OpError) as error:
            stands = f"fails, {type(error).__name__}"
        print(f"    {name:18} {stands} ({time.perf_counter() - start:.0f})", flush=True)


if __name__ == "__main__":
    main()
