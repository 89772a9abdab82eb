"""JSMA, the saliency map attack (Papernot et al. 2016, https://arxiv.org/abs/1511.07528): few
values changed, each by much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from attnrobust import config, task
from attnrobust.attacks import border, losses, packing
from attnrobust.attacks.row import Attack
from attnrobust.models.replicas import Replicas

# Of so many values at most the best pair is looked for; see `best_pair`.
CANDIDATES = 2048
# How an image has fallen: beyond the border by less than the slack, or by more.
NARROWLY, CLEARLY = 1, 2


def jsma(
    replicas: Replicas, setting: config.Attack, seed: int, *, target: int | None = None
) -> Attack:
    """Changes the pair of values with the largest saliency until the prediction is wrong.

    As in the paper, gone for are each image's other classes in turn (`attack.aims=every`, at most
    nine, the likeliest first; `likeliest` alone is cheaper), and the adversarial with the fewest
    changed pixels is kept. A walk ends at any wrong class, since any makes the image fall, once it
    leads by the slack of `border`; where as many pixels have changed as in the best one before; and
    at its end what is wrong by less is kept where nothing better was found.

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
        clean = replicas.forward(images).numpy()
        order = packing.targets(clean, labels, classes)
        aims = order.T if target is None else np.full((1, len(labels)), target)
        best, queries = originals.copy(), np.ones(len(labels), int)
        fewest, narrowly = np.full(len(labels), np.inf), np.zeros(len(labels), bool)
        for aim in aims:
            made, fell, spent = _walk(
                slopes,
                originals,
                aim,
                theta=setting.theta,
                most=most,
                fewest=fewest,
                labels=labels,
                own=_lead(clean, labels, target),
                target=target,
            )
            queries += spent
            doubtful = (fell == NARROWLY) & np.isinf(fewest) & ~narrowly
            best[doubtful], narrowly[doubtful] = made[doubtful], True
            clear = fell == CLEARLY
            best[clear] = made[clear]
            fewest[clear] = _pixels(made, originals)[clear]
        return best, queries

    return attack


def _walk(
    slopes: Callable[..., Any],
    originals: np.ndarray,
    aims: np.ndarray,
    *,
    labels: np.ndarray,
    own: np.ndarray,
    target: int | None,
    theta: float,
    most: float,
    fewest: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair after pair toward one class of each image: iterates, how they fell, queries spent.

    How is 0, NARROWLY or CLEARLY; what falls narrowly walks on, and is given back as it was then if
    nothing is clear.

    Args:
        slopes: From `_slopes`.
        originals: Images (N, H, W, 3).
        aims: Classes (N,).
        labels: (N,).
        own: Lead of each image itself (N,), see `border.clear_near`.
        target: Class to reach; None: any but the label.
        theta: Change of a value.
        most: So many values may change.
        fewest: What changes as many pixels (N,) or more is of no use.
    """
    made = originals.copy()
    flat = made.reshape(len(made), -1)
    open_, fell, queries = fewest > 0, np.zeros(len(made), int), np.zeros(len(made), int)
    held = originals.copy()
    edge, sign = float(theta > 0), np.sign(theta)
    while open_.any():
        queries += open_
        logits, gain, loss = (part.numpy() for part in slopes(made, aims))
        open_ &= _pixels(made, originals) < fewest
        reached, clear = _fallen(logits, labels, target, own)
        first = open_ & reached & (fell == 0)
        held[first] = made[first]
        fell[open_ & reached] = NARROWLY
        fell[open_ & clear] = CLEARLY
        changed = np.count_nonzero(made != originals, axis=(1, 2, 3))
        open_ &= (fell < CLEARLY) & (changed < most)
        for row in np.flatnonzero(open_):
            free = np.flatnonzero(flat[row] != edge)
            pair = free[best_pair(sign * gain[row, free], sign * loss[row, free])]
            open_[row] = len(pair) > 0
            flat[row, pair] = np.clip(flat[row, pair] + np.float32(theta), 0, 1)
    narrow = fell == NARROWLY
    made[narrow] = held[narrow]
    return made, fell, queries


def _lead(logits: np.ndarray, labels: np.ndarray, target: int | None) -> np.ndarray:
    return losses.margin(tf.constant(logits), tf.constant(labels), target).numpy()


def _fallen(
    logits: np.ndarray, labels: np.ndarray, target: int | None, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether logits (N, K) are what is looked for, and whether by the slack; each (N,)."""
    if target is None:
        at = border.seen_near(tf.constant(logits), labels, own)
        return at.wrong, at.clear
    reached = task.of(logits).aimed(logits, target)
    lead = _lead(logits, labels, target)
    return reached, reached & border.clear_near(lead, tf.constant(logits), own).numpy()


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
    """Logits (N, K), and for `best_pair` gain and loss (N, values), to be compiled."""

    def step(images: tf.Tensor, aims: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
            tape.watch(images)
            logits = replicas.model(images, training=False)
            own = tf.gather(logits, aims, batch_dims=1)
            lost = own - tf.reduce_sum(logits, axis=1)
            # The logarithm of a probability: the order of its derivatives, without its underflow.
            likely = -tf.nn.sparse_softmax_cross_entropy_with_logits(aims, logits)

        def slope(part: tf.Tensor) -> tf.Tensor:
            found = tape.gradient(part, images, unconnected_gradients=losses.NONE_IS_ZERO)
            return tf.reshape(found, (tf.shape(images)[0], -1))

        # Probabilities sum to one, so what one gains the others lose.
        gain = slope(likely if likelihood else own)
        return logits, gain, gain if likelihood else slope(lost)

    return step
