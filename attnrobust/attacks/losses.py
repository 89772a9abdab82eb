"""LOSSES: what a gradient attack ascends, on logits; each row is one function."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.training.losses import log_odds_against

# (logits (N, K), labels (N,), target class or None) to what is ascended (N,). With a target the
# attack goes towards that class, so its loss is the negative of what Foolbox would descend.
Loss = Callable[[tf.Tensor, tf.Tensor, "int | None"], tf.Tensor]


def of(name: str, *, classes: int, target: int | None = None) -> Loss:
    """The loss called `name`.

    Raises:
        UserError: Too few classes for it, or no such loss.
    """
    loss = config.lookup("attack.loss", LOSSES, name)
    fewest = 2 if name != "dlr" else 3 if target is None else 4
    if classes < fewest:
        towards = " with attack.target" if target is not None else ""
        raise UserError(
            f"attack.loss = {name}: expected at least {fewest} classes{towards}, the model has "
            f"{classes}; take margin or cross_entropy"
        )
    return loss


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, target: int | None) -> tf.Tensor:
    """Log odds against the label; with a target, for the target.

    They rise and fall with the cross-entropy, and point the same way, but do not round to 0 on
    confident models (see `log_odds_against`).
    """
    if target is None:
        return log_odds_against(logits, labels)
    aims = tf.fill(tf.shape(labels), tf.constant(target, labels.dtype))
    return -log_odds_against(logits, aims)


def foolbox_cross_entropy(outputs: tf.Tensor, labels: tf.Tensor, target: int | None) -> tf.Tensor:
    """Cross-entropy exactly as stock Foolbox ascends it, taking what it gets for logits.

    Only for `attack.outputs=probabilities`: on a model that ends in a softmax the gradient vanishes
    with the softmax's own, so what this leaves is Foolbox's number, not the model's robustness.
    """
    aims = (
        labels if target is None else tf.fill(tf.shape(labels), tf.constant(target, labels.dtype))
    )
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(aims, outputs)
    return loss if target is None else -loss


def margin(logits: tf.Tensor, labels: tf.Tensor, target: int | None) -> tf.Tensor:
    """Best other logit minus the label's; with a target, the target's minus the best other.

    Above 0 exactly where the attack has got what it wants (Carlini and Wagner 2017, loss f6).
    """
    if target is None:
        return _best_other(logits, labels) - _chosen(logits, labels)
    aims = tf.fill(tf.shape(labels), tf.constant(target, labels.dtype))
    return _chosen(logits, aims) - _best_other(logits, aims)


def dlr(logits: tf.Tensor, labels: tf.Tensor, target: int | None) -> tf.Tensor:
    """Difference of logits ratio (Croce and Hein 2020, equations 6 and 7).

    The margin in units of the distance from the largest to the third logit (with a target: to the
    mean of the third and fourth), so that it knows neither scale nor offset of the logits.
    """
    top = tf.math.top_k(logits, 3 if target is None else 4).values
    if target is None:
        change = _best_other(logits, labels) - _chosen(logits, labels)
        return change / (top[:, 0] - top[:, 2] + 1e-12)
    change = logits[:, target] - _chosen(logits, labels)
    return change / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def _chosen(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    return tf.gather(logits, classes, batch_dims=1)


def _best_other(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    own = tf.one_hot(classes, logits.shape[1], on_value=True, off_value=False)
    return tf.reduce_max(tf.where(own, logits.dtype.min, logits), axis=1)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "foolbox_cross_entropy": foolbox_cross_entropy,
}
