"""FAB-T, L-inf (Croce and Hein 2020, 'Minimally distorted adversarial examples with a fast
adaptive boundary attack'): walks along the decision boundary toward the nearest point of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from attnrobust import config, keyed
from attnrobust.attacks import border, losses, packing
from attnrobust.models.replicas import Replicas
from attnrobust.training import ball

TOWARD_IMAGE = 0.1  # alpha_max: largest share of the step that starts at the image
OVERSHOOT = 1.05  # eta
BACK = 0.9  # beta: what falls goes back to this share of its distance
# At half of it are random starts where there is no ball, and nothing has been found yet.
START = 8 / 255
SEARCH = 8  # halvings of the last stretch to the boundary
# Newton steps of a projection; pixels that reach the box add a step each at the very worst, but
# few hundred images of any kind need more than six.
NEWTON = 10


def fab_t(replicas: Replicas, setting: config.Attack, seed: int) -> packing.Stopping:
    """Targeted FAB toward each of the other classes, at most 9, by descending logit.

    Steps to the boundary as linearised, between the image and the current point, `attack.steps`
    times for each class (100 in the paper). Restart 0 starts at the image, others at a random
    point at half of epsilon, or of the nearest adversarial so far where that is less.

    With a finite epsilon an image is done as soon as an adversarial lies in the ball, by the slack
    of `border`, and one that stands stays as it is. With an infinite one every step is done, the
    nearest adversarial is moved back to the border by bisection, and given back. A step counts for
    two queries: a gradient and a forward pass.
    """
    # Nearest by id and restart, without a ball: later restarts start at half of that.
    known: dict[tuple[str, int], float] = {}
    step = replicas.once(("fab",), lambda: replicas.map(_iteration(replicas)))

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        outcome = packing.Outcome(replicas, images, labels, ids)
        nearest = np.full(len(ids), np.inf, np.float32)
        for turn, target in enumerate(packing.targets(outcome.logits, outcome.labels).T):
            start = outcome.images
            if restart:
                before = [min(known.get((id_, r), np.inf) for r in range(restart)) for id_ in ids]
                drawn = keyed.random_starts(
                    [f"{id_}|target {turn}" for id_ in ids],
                    images.shape[1:],
                    attack=f"{setting.name} fab_t",
                    seed=seed,
                    epsilon=epsilon,
                    restart=restart,
                )
                start = _start(start, drawn, np.minimum(before, nearest), epsilon)
            _walk(
                outcome,
                step,
                target=target,
                start=start,
                nearest=nearest,
                epsilon=epsilon,
                steps=setting.steps,
            )
        if not math.isfinite(epsilon):
            # Because of the overshoot no step ends nearer than half a percent from the border.
            made, passes = border.drawn_in(
                replicas,
                outcome.images,
                tf.constant(outcome.adversarials),
                tf.constant(outcome.labels),
                near=BACK,
                halvings=SEARCH,
            )
            found = np.isfinite(nearest)
            outcome.adversarials[found] = made.numpy()[found]
            outcome.queries[found] += passes
            # Padding, which comes last and is not attacked, shares an id.
            known.update(
                ((id_, restart), distance)
                for id_, distance in reversed(list(zip(ids, nearest.tolist(), strict=True)))
            )
        return outcome.result()

    aims = packing.aims(replicas.model.output_shape[-1])
    return packing.Stopping(attack, 1 + aims * 2 * setting.steps)


def _start(images: tf.Tensor, drawn: np.ndarray, nearest: np.ndarray, epsilon: float) -> tf.Tensor:
    """Each image moved by its random draw, to half of min(nearest adversarial, epsilon)."""
    radius = np.minimum(nearest, epsilon)
    radius = np.where(np.isfinite(radius), radius, START).astype(np.float32) / 2
    moved = images + radius[:, None, None, None] * ball.unit(tf.constant(drawn), "linf")
    return tf.clip_by_value(moved, 0, 1)


def _walk(
    outcome: packing.Outcome,
    step: Callable[..., tuple[tf.Tensor, ...]],
    *,
    target: np.ndarray,
    start: tf.Tensor,
    nearest: np.ndarray,
    epsilon: float,
    steps: int,
) -> None:
    """`steps` steps toward one target of each standing image.

    Keeps in the outcome what is nearer than `nearest` (N,), which is brought up to date.
    """
    if not len(outcome.standing):
        return
    pack = outcome.packed(target=target, x=start)
    for _ in range(steps):
        rows = pack.rows
        tried, rows["x"], distance, seen = step(
            rows["origin"], rows["label"], rows["target"], rows["x"]
        )
        outcome.queries[pack.where[pack.live]] += 2
        found = distance.numpy()
        # Beyond the ball nothing is kept, so that every image given back lies in it.
        inside = pack.live & (found <= epsilon)
        nearer = inside & (found < nearest[pack.where])
        nearest[pack.where[nearer]] = found[nearer]
        if math.isfinite(epsilon):
            nearer = outcome.sift(pack, inside, seen.numpy())
        outcome.store(pack, nearer, tried)
        if not pack.live.any():
            return
        pack = pack.shrunk()


def _iteration(replicas: Replicas) -> Callable[..., tuple[tf.Tensor, ...]]:
    """A step of FAB on rows of tensors, to be compiled.

    Gives the point tried, the point to go on from, the tried one's L-inf distance from the image,
    infinite where the model still gets it right, and what the model sees in it.
    """

    def step(
        origin: tf.Tensor, label: tf.Tensor, target: tf.Tensor, x: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = replicas.model(x, training=False)
            ahead = losses.ahead(logits, label, target)
        slope = tape.gradient(ahead, x, unconnected_gradients=losses.NONE_IS_ZERO)
        # Of any size: in units of its largest value the boundary is the same.
        largest = ball.length(slope, "linf")
        slope = ball.unit(slope, "linf")
        ahead = tf.math.divide_no_nan(ahead, largest[:, 0, 0, 0])
        shape, flat = tf.shape(x), (-1, math.prod(x.shape[1:]))
        here, there, slope = (tf.reshape(part, flat) for part in (x, origin, slope))
        # The boundary as linearised: ahead + slope · (x' - x) = 0.
        from_x = project_plane(here, slope, -ahead)
        from_image = project_plane(
            there, slope, -ahead - tf.reduce_sum(slope * (there - here), axis=1)
        )
        lengths = [tf.maximum(_largest(change), 1e-8) for change in (from_x, from_image)]
        share = tf.minimum(lengths[0] / (lengths[0] + lengths[1]), TOWARD_IMAGE)
        tried = (1 - share) * (here + OVERSHOOT * from_x)
        tried = tf.clip_by_value(tried + share * (there + OVERSHOOT * from_image), 0, 1)
        at = border.seen(replicas.model(tf.reshape(tried, shape), training=False), label)
        distance = tf.where(at.wrong, _largest(tried - there)[:, 0], math.inf)
        after = tf.where(at.wrong[:, None], there + BACK * (tried - there), tried)
        return tf.reshape(tried, shape), tf.reshape(after, shape), distance, at

    return step


def project_plane(x: tf.Tensor, slope: tf.Tensor, rise: tf.Tensor) -> tf.Tensor:
    """The smallest L-inf change of `x` in the box [0, 1] with slope · change = rise.

    Each pixel moves its own way by the same length, or to its bound where that is nearer. What
    the moves together attain rises with the length, concave and piecewise linear, so Newton's
    method from 0 climbs to the answer from below. Where the box holds no answer, every pixel goes
    to its bound.

    Args:
        x: (n, pixels) in [0, 1].
        slope: (n, pixels).
        rise: (n,).

    Returns:
        The change (n, pixels).
    """
    way = tf.sign(slope) * tf.sign(rise)[:, None]
    room = tf.where(way > 0, 1 - x, x)
    weight = tf.abs(slope)
    length = tf.zeros_like(rise)[:, None]
    for _ in range(NEWTON):
        missing = tf.abs(rise) - tf.reduce_sum(weight * tf.minimum(length, room), axis=1)
        free = tf.reduce_sum(tf.where(room > length, weight, 0), axis=1)
        grown = tf.where(free > 0, tf.maximum(missing, 0) / tf.maximum(free, 1e-30), 1.0)
        length = tf.minimum(length + grown[:, None], 1.0)
    return way * tf.minimum(length, room)


def _largest(change: tf.Tensor) -> tf.Tensor:
    """L-inf size (n, 1)."""
    return tf.reduce_max(tf.abs(change), axis=1, keepdims=True)
