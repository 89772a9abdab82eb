"""The attack inside a training step: projected gradient ascent, compiled as part of that step.

Evaluation has attacks of its own (attnrobust/attacks), which training must not know. Here nothing
stops early and every image makes all steps: training wants the worst point that this budget finds,
not the first that fools the model.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from attnrobust.keyed import batches as keys
from attnrobust.training import ball

# Images (N, H, W, 3) to what is ascended, (N,).
Objective = Callable[[tf.Tensor], tf.Tensor]

# What an image's scale is divided by when its gradient overflows.
BACK_OFF = 2.0**6


def ascend(
    objective: Objective,
    images: tf.Tensor,
    start: tf.Tensor,
    *,
    norm: str,
    epsilon: float,
    stepsize: float,
    steps: int,
    scale: tf.Tensor | float = 1.0,
) -> tf.Tensor:
    """Points of the ball around the images, and of [0, 1], that ascent from `start` leads to.

    Madry et al. 2018: steps along the gradient's sign (`linf`) or unit vector (`l2`), each put
    back into ball and box. Traced once, whatever the number of steps is.

    Args:
        objective: Images to what is ascended.
        images: float32 (N, H, W, 3) in [0, 1].
        start: Offsets from the images, same shape; put into ball and box first.
        norm: `linf` or `l2`.
        epsilon: Radius, in [0, 1] pixel scale.
        stepsize: Length of a step, in units of the norm.
        steps: Number of steps.
        scale: Factor of the objective. float16 loses small gradients without one. An image whose
            gradient overflows goes on with a smaller one.

    Returns:
        float32 (N, H, W, 3), cut off from the gradient.
    """

    def step(x: tf.Tensor, scales: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            # A sum, so that an image's gradient does not depend on its batch.
            value = tf.reduce_sum(objective(x) * scales)
        gradient = tape.gradient(value, x)
        # An overflow under a loss scale: the optimizer drops its step, such a pixel stands still.
        held = tf.reduce_all(tf.math.is_finite(gradient), axis=ball.AXES)
        moved = x + stepsize * ball.steepest(gradient, norm)
        return (
            ball.project(moved, images, epsilon, norm),
            tf.where(held, scales, scales / BACK_OFF),
        )

    images = tf.convert_to_tensor(images)
    first = ball.project(images + start, images, epsilon, norm)
    scales = tf.fill(tf.shape(images)[:1], tf.cast(scale, tf.float32))
    x, _ = tf.while_loop(
        lambda *_: True, step, (first, scales), maximum_iterations=steps, parallel_iterations=1
    )
    return tf.stop_gradient(x)


def starts(
    batches: tf.data.Dataset, norm: str, epsilon: float, key: tuple[int, int], *, gaussian: bool
) -> tf.data.Dataset:
    """Batches of (images, *rest) to ((images, offsets), *rest) with a random start for each image.

    Drawn here, not in the step, for the whole batch: the same for the same key, on however many
    devices the batch is spread, and after a resume.

    Args:
        batches: Of float32 images (N, H, W, 3), and what belongs to them.
        norm: `linf`, uniform in the cube, or `l2`, uniform in the ball (Voelker et al. 2017: the
            first n coordinates of a point of the sphere in n + 2 dimensions).
        epsilon: Radius.
        key: Seed and epoch.
        gaussian: 0.001 times a standard normal instead, as in TRADES.
    """

    def draw(index: tf.Tensor, batch: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        images, *rest = batch
        words = keys.key(*key, index, keys.STARTS)
        shape = tf.shape(images)
        if gaussian:
            offsets = 0.001 * tf.random.stateless_normal(shape, words)
        elif norm == "linf":
            offsets = tf.random.stateless_uniform(shape, words, -epsilon, epsilon)
        else:
            size = tf.reduce_prod(shape[1:])
            sphere = tf.random.stateless_normal(tf.stack([shape[0], size + 2]), words)
            sphere /= tf.norm(sphere, axis=1, keepdims=True)
            offsets = epsilon * tf.reshape(sphere[:, :-2], shape)
        return (images, tf.ensure_shape(offsets, images.shape)), *rest

    drawn = batches.enumerate().map(draw, num_parallel_calls=tf.data.AUTOTUNE)
    return drawn.prefetch(tf.data.AUTOTUNE)
