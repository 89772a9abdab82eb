"""JSMA, the saliency map attack (Papernot et al. 2016, https://arxiv.org/abs/1511.07528): few
values changed, each by much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.attacks import packing
from attnrobust.attacks.engine import NONE_IS_ZERO
from attnrobust.models.replicas import Replicas

# Of so many values at most the best pair is looked for; see `best_pair`.
CANDIDATES = 2048


def jsma(
    replicas: Replicas, setting: config.Attack, seed: int, *, target: int | None = None
) -> Callable[..., Any]:
    """Changes the pair of values with the largest saliency until the prediction is wrong.

    As in the paper, gone for are each image's other classes in turn (`attack.aims=every`, at most
    nine, the likeliest first; `likeliest` alone is cheaper), and the adversarial with the fewest
    changed pixels is kept. A walk ends at any wrong class, since any makes the image fall, and
    where as many pixels have changed as in the best one before.

    Args:
        replicas: The model.
        setting: `theta`, the change of a value, clipped to [0, 1] (one may be changed again until
            it is at the edge); `gamma`, the largest share of an image's H * W * 3 values that may
            change, but the largest radius, in pixels, is searched in full; `saliency`, whether the
            derivatives are those of the `logits`, as in the paper, or of the `probabilities`;
            `aims`.
        seed: Not used: nothing is random.
        target: The one class to reach; None: any but the label.
    """
    del seed
    likelihood = setting.saliency == "probabilities"
    slopes = replicas.once(
        ("jsma", likelihood), lambda: replicas.map(_slopes(replicas, likelihood))
    )
    classes = 1 if setting.aims == "likeliest" else 9

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        del ids, epsilon, restart
        originals, labels = np.asarray(images), np.asarray(labels)
        values = originals[0].size
        # A pixel holds three values.
        most = max(setting.gamma * values, 3 * setting.epsilons[-1])
        order = packing.targets(replicas.forward(images).numpy(), labels, classes)
        aims = order.T if target is None else np.full((1, len(labels)), target)
        best, queries = originals.copy(), np.ones(len(labels), int)
        fewest = np.full(len(labels), np.inf)
        for aim in aims:
            made, fell, spent = _walk(
                slopes, originals, aim, theta=setting.theta, most=most, fewest=fewest,
                fallen=lambda seen: seen != labels if target is None else seen == target,
            )  # fmt: skip
            queries += spent
            best[fell] = made[fell]
            fewest[fell] = _pixels(made, originals)[fell]
        return best, queries

    return attack


def _walk(
    slopes: Callable[..., Any], originals: np.ndarray, aims: np.ndarray, *,
    fallen: Callable[[np.ndarray], np.ndarray], theta: float, most: float, fewest: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Pair after pair toward one class of each image: iterates, who has fallen, queries spent.

    Args:
        slopes: From `_slopes`.
        originals: Images (N, H, W, 3).
        aims: Classes (N,).
        fallen: Predictions (N,) to whether each is what is looked for.
        theta: Change of a value.
        most: So many values may change.
        fewest: What changes as many pixels (N,) or more is of no use.
    """
    made = originals.copy()
    flat = made.reshape(len(made), -1)
    open_, fell, queries = fewest > 0, np.zeros(len(made), bool), np.zeros(len(made), int)
    edge, sign = float(theta > 0), np.sign(theta)
    while open_.any():
        queries += open_
        predicted, gain, loss = (part.numpy() for part in slopes(made, aims))
        open_ &= _pixels(made, originals) < fewest
        fell |= open_ & fallen(predicted)
        changed = np.count_nonzero(made != originals, axis=(1, 2, 3))
        open_ &= ~fell & (changed < most)
        for row in np.flatnonzero(open_):
            free = np.flatnonzero(flat[row] != edge)
            pair = free[best_pair(sign * gain[row, free], sign * loss[row, free])]
            open_[row] = len(pair) > 0
            flat[row, pair] = np.clip(flat[row, pair] + np.float32(theta), 0, 1)
    return made, fell, queries


def best_pair(gain: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """The pair of values with the largest saliency (Papernot et al. 2016, equations 8 to 10).

    That is the largest product of what the target gains and what all others together lose, of the
    pairs in which both are above 0. The product grows with both, so a value that two others exceed
    in gain and in loss is in no best pair; the rest are few, and searched in full (should they be
    more than CANDIDATES, those of the largest sum of both). Where no pair has both above 0 the
    paper's search finds nothing, though a softmax may still favour the target: then it is the pair
    with the largest sum.

    Args:
        gain: Derivative of the target's output by each value (n,).
        loss: Minus the sum of the other outputs' derivatives (n,).

    Returns:
        Two positions; none where no pair helps.
    """
    if len(gain) < 2:
        return np.zeros(0, int)
    gain, loss = gain.astype(np.float64), loss.astype(np.float64)
    order = np.argsort(-gain, kind="stable")
    ranked = loss[order]
    # The largest loss of those before, and from it the second largest.
    first = np.maximum.accumulate(ranked)
    second = np.maximum.accumulate(np.minimum(first[:-1], ranked[1:]))
    kept = order[np.concatenate([[True, True], ranked[2:] > second[:-1]])]
    both = gain + loss
    if len(kept) > CANDIDATES:
        kept = kept[np.argsort(-both[kept], kind="stable")[:CANDIDATES]]
    gains, losses = (part[kept][:, None] + part[kept] for part in (gain, loss))
    product = np.where((gains > 0) & (losses > 0), gains * losses, -np.inf)
    np.fill_diagonal(product, -np.inf)
    if np.isfinite(product.max()):
        return kept[list(np.unravel_index(product.argmax(), product.shape))]
    pair = np.argsort(-both, kind="stable")[:2]
    return pair if both[pair].sum() > 0 else np.zeros(0, int)


def _pixels(made: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """How many pixels of each image have changed (N,)."""
    return np.asarray((made != originals).any(axis=-1).sum(axis=(1, 2)))


def _slopes(replicas: Replicas, likelihood: bool) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Predictions (N,), and for `best_pair` gain and loss (N, values), to be compiled."""

    def step(images: tf.Tensor, aims: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
            tape.watch(images)
            logits = replicas.model(images, training=False)
            own = tf.gather(logits, aims, batch_dims=1)
            lost = own - tf.reduce_sum(logits, axis=1)
            # The logarithm of a probability: the order of its derivatives, without its underflow.
            likely = -tf.nn.sparse_softmax_cross_entropy_with_logits(aims, logits)

        def slope(part: tf.Tensor) -> tf.Tensor:
            found = tape.gradient(part, images, unconnected_gradients=NONE_IS_ZERO)
            return tf.reshape(found, (tf.shape(images)[0], -1))

        # Probabilities sum to one, so what one gains the others lose.
        gain = slope(likely if likelihood else own)
        return tf.argmax(logits, axis=1), gain, gain if likelihood else slope(lost)

    return step
