"""DAG (Xie et al. 2017, 'Adversarial examples for semantic segmentation and object detection')."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from attnrobust import config, keyed
from attnrobust.attacks import losses
from attnrobust.attacks.packing import Packed
from attnrobust.attacks.row import Attack
from attnrobust.attacks.segmentation import targets
from attnrobust.attacks.segmentation.targets import Target
from attnrobust.models.replicas import Replicas
from attnrobust.task import graph
from attnrobust.training import ball

# Length of a step in [0, 1] pixel scale: 0.5 of 255 grey values in the paper.
GAMMA = 0.5 / 255


def dag_background(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """DAG toward background everywhere (type A of Paschali et al. 2018)."""
    return dag(replicas, setting, seed, target=targets.background)


def dag_random(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """DAG toward one random class in a random tenth of the pixels (type B, same paper)."""
    return dag(replicas, setting, seed, target=targets.random_class)


def dag_dilated(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """DAG toward one structure dilated, the others kept (type C, same paper)."""
    return dag(replicas, setting, seed, target=targets.dilated)


def dag(replicas: Replicas, setting: config.Attack, seed: int, *, target: Target) -> Attack:
    """Steps along the gradient of the target's logits less the label's, over the active pixels.

    Active is a pixel whose target is another class than its label and that the model still has
    right. An image is done when none is active, or after `attack.steps` steps (200 in the paper).
    Iterates are kept in the ball; at an epsilon of 1, which is the whole box, this is the published
    attack, which knows none. What is given back is the last iterate.

    Args:
        replicas: The model.
        setting: `steps`; `abs_stepsize`, the length of a step (0.5 / 255 where None); `step_norm`,
            in which it is measured: `image_linf`, the largest change of a value in each image, or
            `batch_l2`, the Euclidean length of the whole batch's, in which what becomes of an image
            depends on the others of its batch.
        seed: Of the targets.
        target: What is gone for.
    """
    pull = replicas.once(("dag",), lambda: replicas.map(_pull(replicas)))
    gamma = GAMMA if setting.abs_stepsize is None else setting.abs_stepsize
    unit = STEP_NORMS[setting.step_norm]
    classes = replicas.model.output_shape[-1]

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        images, true = tf.convert_to_tensor(images), np.asarray(labels)
        rngs = [keyed.generator(setting.name, seed, id_, restart) for id_ in ids]
        rows = {"origin": images, "x": images, "label": true, "aim": target(true, classes, rngs)}
        pack = Packed.of(rows, _own(ids), replicas.count)
        made, passes = images.numpy().copy(), np.ones(len(ids), int)
        for _ in range(setting.steps):
            x, origin = pack.rows["x"], pack.rows["origin"]
            gradient, active = pull(x, pack.rows["label"], pack.rows["aim"])
            passes[pack.where[pack.live]] += 1
            done = pack.live & (active.numpy() == 0)
            _store(made, pack, done)
            pack.live &= ~done
            if not pack.live.any():
                break
            moved = x + gamma * unit(gradient, pack.live)
            pack.rows["x"] = ball.project(moved, origin, epsilon, "linf")
            pack = pack.shrunk()
        _store(made, pack, pack.live)
        # Copies of the first image at the end of the batch are padding.
        alike = np.setdiff1d(np.arange(len(ids)), _own(ids))
        made[alike], passes[alike] = made[0], passes[0]
        return made, passes

    return attack


def _pull(replicas: Replicas) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """(images, labels, aims) to the gradient (N, H, W, 3) and the number of active pixels (N,)."""

    def pull(images: tf.Tensor, labels: tf.Tensor, aims: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = replicas.model(images, training=False)
        active = tf.cast((aims != labels) & ~graph.wrong(logits, labels), logits.dtype)
        toward, away = (
            tf.one_hot(each, logits.shape[-1], dtype=logits.dtype) for each in (aims, labels)
        )
        # Of the sum of the targets' logits less the labels'.
        slope = active[..., tf.newaxis] * (toward - away)
        gradient = tape.gradient(
            logits, images, output_gradients=slope, unconnected_gradients=losses.NONE_IS_ZERO
        )
        return gradient, tf.reduce_sum(active, axis=(1, 2))

    return pull


def _own(ids: Sequence[str]) -> np.ndarray:
    """Positions of the images that are no copies of the first at the end of a batch."""
    number = len(ids)
    while number > 1 and ids[number - 1] == ids[0]:
        number -= 1
    return np.arange(number)


def _store(made: np.ndarray, pack: Packed, chosen: np.ndarray) -> None:
    """Keep the iterates of these rows (size,) bool of the packed batch."""
    index = np.flatnonzero(chosen)
    if len(index):
        made[pack.where[index]] = tf.gather(pack.rows["x"], index).numpy()


def _image_linf(gradient: tf.Tensor, live: np.ndarray) -> tf.Tensor:
    return ball.unit(gradient, "linf")


def _batch_l2(gradient: tf.Tensor, live: np.ndarray) -> tf.Tensor:
    return tf.math.divide_no_nan(gradient, tf.norm(tf.boolean_mask(gradient, live)))


# Gradients (size, H, W, 3) and the rows that are under attack to steps of length 1.
STEP_NORMS: dict[str, Callable[[tf.Tensor, np.ndarray], tf.Tensor]] = {
    "image_linf": _image_linf,
    "batch_l2": _batch_l2,
}
