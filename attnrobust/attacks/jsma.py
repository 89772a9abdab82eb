"""JSMA, the saliency map attack (Papernot et al. 2016): few values changed, each by much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.attacks.engine import NONE_IS_ZERO
from attnrobust.models.replicas import Replicas

Step = Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]


def jsma(
    replicas: Replicas,
    setting: config.Attack,
    seed: int,
    *,
    theta: float = 1.0,
    gamma: float = 0.1,
) -> Callable[..., Any]:
    """Changes the pair of values with the largest saliency until the prediction leaves the label.

    The saliency is that of the probability of each image's second most likely class, the target.
    Of probabilities, which sum to one, the paper's saliency of a pair (gain of the target times
    loss of all others) is the square of the target's gain; so its best pair is the two largest
    derivatives, found without a search over pairs. The attack ends at any wrong class, since any
    wrong class makes the image fall.

    Args:
        replicas: The model.
        setting: Its largest radius, in pixels, is searched in full whatever `gamma` is.
        seed: Not used: nothing is random.
        theta: Change of a value, in [-1, 1], not 0; values are clipped to [0, 1]. A value may be
            changed again until it reaches the edge. With the default each goes to 1 at once.
        gamma: Largest share of an image's H * W * 3 values that may change.
    """
    del seed
    step = replicas.map(_step(replicas, theta))

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[tf.Tensor, np.ndarray]:
        del ids, epsilon, restart
        values = int(np.prod(images.shape[1:]))
        # A pixel holds three values.
        most = tf.constant(max(gamma * values, 3 * setting.epsilons[-1]), tf.float32)
        order = tf.argsort(replicas.forward(images), direction="DESCENDING")
        classes = tf.stack([labels, tf.cast(order[:, 1], labels.dtype)], axis=1)
        made, fallen = images, tf.zeros(len(images), tf.bool)
        open_ = tf.ones(len(images), tf.bool)
        queries = np.ones(len(images), int)
        while np.any(open_):
            queries += open_.numpy()
            made, fallen, open_ = step(made, images, classes, open_, most)
        return tf.where(fallen[:, None, None, None], made, images), queries

    return attack


def _step(replicas: Replicas, theta: float) -> Step:
    """One pair more for each image that is open: (adversarials, whether fallen, whether open)."""
    edge = 1.0 if theta > 0 else 0.0

    def step(
        made: tf.Tensor, images: tf.Tensor, classes: tf.Tensor, open_: tf.Tensor, most: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        labels, targets = tf.unstack(classes, axis=1)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(made)
            logits = replicas.model(made, training=False)
            # Log probability: the order of the probability's derivatives, without its underflow.
            gain = -tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        flat = tf.reshape(made, (-1, int(np.prod(made.shape[1:]))))
        saliency = tf.sign(theta) * tf.reshape(
            tape.gradient(gain, made, unconnected_gradients=NONE_IS_ZERO), tf.shape(flat)
        )
        free = flat != edge
        best, where = tf.nn.top_k(tf.where(free, saliency, -np.inf), 2)

        fallen = tf.argmax(logits, axis=1, output_type=labels.dtype) != labels
        changed = tf.math.count_nonzero(made != images, axis=(1, 2, 3), dtype=tf.float32)
        open_ &= ~fallen & (changed < most) & tf.reduce_any(free, axis=1)

        moves = open_[:, None] & (best > -np.inf)
        old = tf.gather(flat, where, batch_dims=1)
        new = tf.where(moves, tf.clip_by_value(old + theta, 0.0, 1.0), old)
        rows = tf.repeat(tf.range(tf.shape(flat)[0]), 2)
        index = tf.stack([rows, tf.reshape(where, [-1])], axis=1)
        flat = tf.tensor_scatter_nd_update(flat, index, tf.reshape(new, [-1]))
        return tf.reshape(flat, tf.shape(made)), fallen, open_

    return step
