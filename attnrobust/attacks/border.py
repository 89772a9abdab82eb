"""The border between classes: how far beyond it an image must be, so that any judge sees it there.

Judged in another batch shape or on another device, an image gets logits that are rounded otherwise.
What only just fell may then be right, and count as robust. So an attack lets an image go when it is
beyond the border by a slack, and goes on where it is not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from attnrobust.models.replicas import Replicas
from attnrobust.task import graph

# By so much of the logits' size must an image be beyond the border before it is let go, and by so
# much what looks for the nearest adversarial must be: farther would be no longer the nearest.
SLACK = {"float32": 1e-4, "bfloat16": 1e-2}
NEAREST = 2e-5
# A common offset of all logits dwarfs their differences: there this is enough of the logits' size,
# where it also is this share of what the image itself was inside by.
ROUNDING, OF_OWN = 1e-6, 0.01
# A larger logit of a class that is not in question, such as a masked one, rounds nothing.
MASKED = 100.0
HALVINGS = 10


class Seen(NamedTuple):
    """What a model sees in images, each (N,): as tensors in a compiled step, else as arrays.

    Attributes:
        wrong: Whether the label's class is not the prediction.
        lead: Best wrong logit less the label's.
        clear: Whether it leads by the slack.
    """

    wrong: np.ndarray | tf.Tensor
    lead: np.ndarray | tf.Tensor
    clear: np.ndarray | tf.Tensor

    def numpy(self) -> Seen:
        """The same as arrays."""
        return Seen(*(np.asarray(part) for part in self))


def beyond(
    lead: tf.Tensor, logits: tf.Tensor, slack: float | tf.Tensor = SLACK["float32"]
) -> tf.Tensor:
    """Whether a lead (N,) is more than `slack` of the size of the logits (N, K).

    That is the largest of them in size, but no more than MASKED of others than the two highest.
    """
    highest = tf.reduce_max(tf.abs(tf.math.top_k(logits, 2).values), axis=1)
    any_other = tf.minimum(tf.reduce_max(tf.abs(logits), axis=1), tf.cast(MASKED, logits.dtype))
    return lead > slack * tf.maximum(highest, any_other)


def seen(
    logits: tf.Tensor, labels: np.ndarray | tf.Tensor, slack: float = SLACK["float32"]
) -> Seen:
    """What logits (N, K) say of the labels (N,)."""
    labels = tf.convert_to_tensor(labels)
    task = graph.of(logits)
    lead = task.margin(logits, labels)
    return Seen(task.wrong(logits, labels), lead, beyond(lead, logits, slack))


def clear_near(lead: tf.Tensor, logits: tf.Tensor, own: np.ndarray) -> tf.Tensor:
    """Whether a lead (N,) is enough for an attack that looks for the nearest adversarial.

    More than the slack NEAREST, or than OF_OWN of the image's own lead (N,), on whichever side.
    """
    enough = beyond(lead, logits, ROUNDING) & (lead > OF_OWN * np.abs(own))
    return beyond(lead, logits, NEAREST) | enough


def seen_near(logits: tf.Tensor, labels: np.ndarray | tf.Tensor, own: np.ndarray) -> Seen:
    """What logits (N, K) say of the labels (N,), as arrays; clear is what `clear_near` says."""
    at = seen(logits, labels)
    return at._replace(clear=clear_near(at.lead, logits, own)).numpy()


def drawn_in(
    replicas: Replicas,
    images: tf.Tensor,
    found: tf.Tensor,
    labels: tf.Tensor,
    *,
    near: float = 0.0,
    halvings: int = HALVINGS,
) -> tuple[tf.Tensor, int]:
    """Adversarials drawn towards their images, by halving the segment between, while they stand.

    Takes back the overshoot of an attack, or steps too large for its distance. What is wrong, but
    not enough (see `clear_near`), is pushed outwards instead, at most to twice its distance and no
    farther than it must be; should nothing there be clear, what is wrong by most of all that was
    tried is kept.

    Args:
        replicas: The model.
        images: (N, H, W, 3).
        found: Adversarials, or the image itself where there is none (N, H, W, 3).
        labels: (N,).
        near: Share of the distance from which on it is looked for.
        halvings: Of what lies between that share and the whole.

    Returns:
        The adversarials, or the image where `found` is none; the passes spent on each.
    """
    own = seen(replicas.forward(images), labels).numpy().lead

    def tried(share: np.ndarray) -> tuple[tf.Tensor, Seen]:
        points = images + share[:, None, None, None].astype(np.float32) * (found - images)
        points = tf.clip_by_value(points, 0.0, 1.0)
        return points, seen_near(replicas.forward(points), labels, own)

    def pick(where: np.ndarray, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return tf.where(where[:, None, None, None], one, other)

    far = np.ones(len(images))
    points, at = tried(far)
    best, lead, clear = pick(at.wrong, points, images), np.where(at.wrong, at.lead, 0), at.clear
    # Twice as far out, and back from there.
    nearest, far = np.where(clear, near, 1.0), np.where(clear, 1.0, 2.0)
    for halving in range(halvings + 1):
        share = (nearest + far) / 2 if halving else far
        points, at = tried(share)
        better = at.clear | (~clear & at.wrong & (at.lead > lead))
        best, lead = pick(better, points, best), np.where(better, at.lead, lead)
        # As long as none is clear the next one lies farther in: far out the model may turn back.
        inner = at.clear | ~(clear | at.clear)
        clear = clear | at.clear
        nearest, far = np.where(inner, nearest, share), np.where(inner, share, far)
    return best, halvings + 3
