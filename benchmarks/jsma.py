"""JSMA against ART's SaliencyMapMethod on one small network: success, changed values, time.

ART is not among the project's requirements, so this runs in an environment of its own:

    python -m venv /tmp/jsma
    /tmp/jsma/bin/pip install tensorflow-cpu==2.15.1 adversarial-robustness-toolbox==1.20.1
    PYTHONPATH=. /tmp/jsma/bin/python benchmarks/jsma.py

Both go for the second most likely class. ART takes the two values with the largest derivative of
the target's output alone, whatever the others do. That is the paper's pair for probabilities, which
sum to one, so there with two classes both are the same algorithm. For logits the paper's pair also
weighs what the others lose. Ours ends at any wrong class and ART's at its target alone. Our default
(`every`) goes for each class in turn, as the paper does, and keeps the nearest.
"""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf
from art.attacks.evasion import SaliencyMapMethod
from art.estimators.classification import TensorFlowV2Classifier
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks.jsma import jsma
from attnrobust.attacks.methods import settled
from attnrobust.models.replicas import Replicas

SIZE, IMAGES, BATCH, ROUNDS = 16, 64, 32, 3


def data(classes: int, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images of one smooth pattern for each class."""
    patterns = np.random.default_rng(0).random((classes, 4, 4, 3)).astype(np.float32)
    patterns = tf.image.resize(patterns, (SIZE, SIZE)).numpy()
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=number)
    noise = rng.normal(0, 0.25, (number, SIZE, SIZE, 3))
    return np.clip(0.5 * patterns[labels] + 0.2 + noise, 0, 1).astype(np.float32), labels


def trained(classes: int) -> keras.Model:
    """A small convolutional network on that data, giving logits."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(16, 3, activation="softplus"),
            keras.layers.Conv2D(16, 3, strides=2, activation="softplus"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(*data(classes, 2000, 1), epochs=3, verbose=0)
    return model


def compare(classes: int, theta: float, gamma: float, saliency: str) -> None:
    """Ours, ours toward every class and ART's on the images that the network classifies rightly."""
    model = trained(classes)
    images, labels = data(classes, 4 * IMAGES, 2)
    right = np.flatnonzero(model.predict(images, verbose=0).argmax(1) == labels)[:IMAGES]
    images, labels = images[right], labels[right]
    targets = np.argsort(model.predict(images, verbose=0), axis=1)[:, -2]

    softened = keras.Sequential([model, keras.layers.Softmax()])
    classifier = TensorFlowV2Classifier(
        model=softened if saliency == "probabilities" else model,
        nb_classes=classes,
        input_shape=images.shape[1:],
        clip_values=(0, 1),
        loss_object=keras.losses.SparseCategoricalCrossentropy(),
    )
    peer = SaliencyMapMethod(classifier, theta=theta, gamma=gamma, batch_size=BATCH, verbose=False)
    replicas = Replicas(model)

    def ours(aims: str) -> np.ndarray:
        attack = jsma(
            replicas,
            settled(
                config.Attack(
                    "jsma", epsilons=(1.0,), theta=theta, gamma=gamma, saliency=saliency, aims=aims
                )
            ),
            0,
        )
        batches = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
        ids = [str(row) for row in right]
        return np.concatenate(
            [
                attack(tf.constant(images[b]), tf.constant(labels[b]), ids[b], np.inf, 0)[0]
                for b in batches
            ]
        )

    def theirs() -> np.ndarray:
        return peer.generate(images, y=keras.utils.to_categorical(targets, classes))

    rows = {"ours": lambda: ours("likeliest"), "every": lambda: ours("every"), "ART": theirs}
    made, seconds = {}, {name: [] for name in rows}
    for _ in range(ROUNDS + 1):  # by turns; the first round compiles and is not timed
        for name, run in rows.items():
            start = time.perf_counter()
            made[name] = run()
            seconds[name].append(time.perf_counter() - start)
    fell, size = {}, {}
    for name, adversarials in made.items():
        fell[name] = model.predict(adversarials, verbose=0).argmax(1) != labels
        size[name] = (adversarials != images).sum(axis=(1, 2, 3))
    both = fell["ours"] & fell["ART"]
    same = (made["ours"] == made["ART"]).all(axis=(1, 2, 3))[both].mean()
    print(f"{saliency}, {classes} classes, theta {theta}, gamma {gamma}, {len(images)} images")
    for name in made:
        print(
            f"  {name:5}  success {fell[name].mean():.3f}  changed values, mean where both "
            f"succeed {size[name][both].mean():.1f}  {min(seconds[name][1:]):.2f} s"
        )
    fewer = (size["ours"] <= size["ART"])[both].mean()
    print(
        f"  same adversarial {same:.3f}, as many values or fewer {fewer:.3f}, "
        f"time ART / ours {min(seconds['ART'][1:]) / min(seconds['ours'][1:]):.1f}"
    )


if __name__ == "__main__":
    for saliency in ("probabilities", "logits"):
        compare(2, theta=1.0, gamma=0.2, saliency=saliency)
        compare(2, theta=0.3, gamma=0.2, saliency=saliency)
        compare(2, theta=-1.0, gamma=0.2, saliency=saliency)
        compare(5, theta=1.0, gamma=0.2, saliency=saliency)
