"""Sweeps of six-pixel models, doubted: as much of one as the checks read, made in no time."""

from __future__ import annotations

from collections.abc import Callable

import attack_helpers as helpers
import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks.checks import norms
from attnrobust.attacks.subject import Subject
from attnrobust.models.replicas import Replicas

# Said anew with every other attack, which takes its own settings otherwise.
FEW = ("attack.steps=10", "attack.rel_stepsize=0.25")
EXPERIMENT = config.with_settings(
    config.Experiment(name="doubted", data=config.Data("drawn", image_size=8)),
    [
        "attack.epsilons=0.02,0.05,0.1",
        "attack.steps=10",
        "attack.rel_stepsize=0.25",
        "attack.batch_size=32",
        "checks.draws=3",
        "checks.queries=200",
    ],
)
KEPT = 4


def behind(model: keras.Model, front: Callable[[tf.Tensor], tf.Tensor]) -> keras.Model:
    """The model behind a layer."""
    image = keras.Input((helpers.SIDE, helpers.SIDE, 3))
    return keras.Model(image, model(keras.layers.Lambda(front)(image)))


def then(model: keras.Model, end: Callable[[tf.Tensor], tf.Tensor]) -> keras.Model:
    """The model with a layer put on its logits."""
    return keras.Model(model.input, keras.layers.Lambda(end)(model.output))


def rounding(model: keras.Model) -> keras.Model:
    """The same accuracy, no gradient: pixels of few levels."""
    return behind(model, lambda x: tf.round(x * 16) / 16)


def doubted(
    replicas: Replicas,
    *settings: str,
    images: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    surrogate: Replicas | None = None,
    swept: Replicas | None = None,
) -> Subject:
    """A model's sweep, ready to be doubted.

    Args:
        replicas: The model.
        settings: Changes of EXPERIMENT.
        images: (n, 6, 6, 3); 24 of noise if None.
        labels: What the model says of them if None, but for one image.
        surrogate: Another model.
        swept: The model that the sweep saw, if it was another one.
    """
    experiment = config.with_settings(EXPERIMENT, [*FEW, *settings])
    images = helpers.noise(24) if images is None else images
    if labels is None:
        logits = replicas.forward(images).numpy()
        labels = logits.argmax(axis=1)
        labels[0] = (labels[0] + 1) % logits.shape[1]
    examples = {
        "id": np.array([f"image-{i}" for i in range(len(images))]),
        "image": images,
        "label": labels.astype(np.int64),
    }
    files = sweep(experiment, swept or replicas, examples)
    other = surrogate and ("another", lambda: surrogate)
    return Subject(experiment, replicas, files, examples, other or None)


def sweep(
    experiment: config.Experiment, replicas: Replicas, examples: dict[str, np.ndarray]
) -> dict[float, dict[str, np.ndarray]]:
    """What the sweep writes, of what the checks read, by epsilon."""
    setting, images = experiment.attack, examples["image"]

    def state(made: np.ndarray, logits: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "id": examples["id"],
            "label": examples["label"],
            "logits": logits,
            "sample_image": made[:KEPT],
            **norms(made - images),
        }

    nothing = state(images, replicas.forward(images).numpy())
    found = dict.fromkeys((0.0, *setting.epsilons), nothing)
    subject = Subject(experiment, replicas, found, examples)
    for epsilon in setting.epsilons:
        made, _ = subject.under(setting.name, epsilon=epsilon)
        found[epsilon] = state(made, subject.logits(made))
    return found
