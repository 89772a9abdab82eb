"""LOSSES: what a gradient attack ascends, on logits; each row is one function."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.task import graph

# A model may cut its gradient (rounding its input, say): attacks stand still then, and say so.
NONE_IS_ZERO = tf.UnconnectedGradients.ZERO

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
    confident models (see `task.graph.log_odds_against`).
    """
    return _towards(graph.of(logits).against, logits, labels, target)


def foolbox_cross_entropy(outputs: tf.Tensor, labels: tf.Tensor, target: int | None) -> tf.Tensor:
    """Cross-entropy exactly as stock Foolbox ascends it, taking what it gets for logits.

    Only for `attack.outputs=probabilities`: on a model that ends in a softmax the gradient vanishes
    with the softmax's own, so what this leaves is Foolbox's number, not the model's robustness.
    """
    return _towards(graph.of(outputs).loss, outputs, labels, target)


def margin(logits: tf.Tensor, labels: tf.Tensor, target: int | None) -> tf.Tensor:
    """Best other logit minus the label's; with a target, the target's minus the best other.

    Above 0 exactly where the attack has got what it wants (Carlini and Wagner 2017, loss f6).
    """
    return _towards(graph.of(logits).margin, logits, labels, target)


def dlr(logits: tf.Tensor, labels: tf.Tensor, target: int | None) -> tf.Tensor:
    """Difference of logits ratio (Croce and Hein 2020, equations 6 and 7).

    The margin in units of the distance from the largest to the third logit (with a target: to the
    mean of the third and fourth), so that it knows neither scale nor offset of the logits.
    """
    if target is not None:
        return targeted_dlr(logits, labels, aimed_at(labels, target))
    top = tf.math.top_k(logits, 3).values
    return graph.margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def targeted_dlr(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Targeted difference of logits ratio (N,), Croce and Hein 2020, equation 7.

    (z_target - z_label) / (z_1 - (z_3 + z_4) / 2), z_i the i-th largest logit; for fewer than four
    classes the numerator alone.
    """
    change = ahead(logits, labels, targets)
    if logits.shape[-1] < 4:
        return change
    top = tf.math.top_k(logits, 4).values
    return change / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def ahead(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """The targets' logits minus the labels' (N,)."""
    return graph.chosen(logits, targets) - graph.chosen(logits, labels)


def aimed_at(labels: tf.Tensor, target: int) -> tf.Tensor:
    """The target in place of every label."""
    return tf.fill(tf.shape(labels), tf.constant(target, labels.dtype))


def _towards(
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    logits: tf.Tensor,
    labels: tf.Tensor,
    target: int | None,
) -> tf.Tensor:
    """What rises away from the labels; with a target, what rises towards it."""
    if target is None:
        return function(logits, labels)
    return -function(logits, aimed_at(labels, target))


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "foolbox_cross_entropy": foolbox_cross_entropy,
}
