"""Eight images, a small network, and one step of training on them."""

from __future__ import annotations

import numpy as np
import scipy.special
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.training import fit, methods

IMAGES = np.random.default_rng(0).random((8, 16, 16, 3), dtype=np.float32)
LABELS = np.arange(8) % 3
WEIGHTS = np.linspace(0.5, 2, 8).astype(np.float32)


def setting(method: str, **values) -> config.Training:
    """Of three steps in a ball of 0.05, eight images at once."""
    return config.Training(method=method, inner_epsilon=0.05, inner_steps=3, inner_rel_stepsize=0.5,
                           batch_size=8, learning_rate=0.1, **values)  # fmt: skip


def network(*, batchnorm: bool) -> keras.Model:
    """The same weights in every call."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2)(image)
    x = keras.layers.BatchNormalization()(x) if batchnorm else x
    x = keras.layers.Flatten()(keras.layers.Activation("softplus")(x))
    return keras.Model(image, keras.layers.Dense(3)(x))


def made(training: config.Training, *, batchnorm: bool) -> keras.Model:
    """It, ready to learn by the method."""
    model = methods.METHODS[training.method](network(batchnorm=batchnorm), training)
    fit.compile_model(model, training)
    return model


def stepped(training: config.Training, *, batchnorm: bool) -> tuple[keras.Model, dict]:
    """The model after one step of Keras' fit, and what fit said."""
    model = made(training, batchnorm=batchnorm)
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS, WEIGHTS)).batch(8)
    if training.method != "standard":
        batches = model.prepare(batches, (0, 0))
    said = model.fit(batches, verbose=0).history
    return model, {key: value[0] for key, value in said.items()}


def softmax_loss(logits: np.ndarray) -> np.ndarray:
    """Cross-entropy of each image, in float64."""
    return -scipy.special.log_softmax(logits.astype(float), axis=1)[np.arange(8), LABELS]
