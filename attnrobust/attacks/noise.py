"""Random noise of the size of an attack: what a model must withstand before attacks are talked of.

If noise makes as many images fall as a gradient attack of the same norm and size does, that attack
does not work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.special
import tensorflow as tf
from foolbox.external.clipping_aware_rescaling import l2_clipping_aware_rescaling

from attnrobust import config, keyed
from attnrobust.attacks import border
from attnrobust.attacks.row import Attack
from attnrobust.models.replicas import Replicas

# Uniform points of [-1, 1] (N, H, W, 3), images and epsilon to adversarials.
Noise = Callable[[np.ndarray, np.ndarray, float], np.ndarray | tf.Tensor]


def uniform_noise(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """L-inf: each value moved by a uniform draw from [-epsilon, epsilon]."""
    return _draw(
        setting.name, seed, lambda points, images, epsilon: images + np.float32(epsilon) * points
    )


def sign_noise(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """L-inf: each value moved by epsilon, up or down: the largest noise of the ball."""
    return _draw(
        setting.name,
        seed,
        lambda points, images, epsilon: images + np.copysign(np.float32(epsilon), points),
    )


def gaussian_noise(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """L2: a Gaussian direction, scaled so that its size after clipping to [0, 1] is epsilon.

    Scaled before clipping, noise would spend less than its budget wherever an image is black or
    white, and look weaker than it is. Where even the largest noise is smaller, it is taken
    (Rauber and Bethge 2020, https://arxiv.org/abs/2007.07677).
    """

    def noisy(points: np.ndarray, images: np.ndarray, epsilon: float) -> np.ndarray:
        # A uniform draw may be -1 itself, whose normal quantile is infinite.
        normal = scipy.special.ndtri(np.clip((points + 1) / 2, 1e-7, 1 - 1e-7))
        direction = normal.astype(np.float32)
        scale = l2_clipping_aware_rescaling(tf.constant(images), tf.constant(direction), epsilon)
        change = np.clip(images + scale.numpy() * direction, 0, 1) - images
        # The scale comes from long sums in float32: shorten what came out too long.
        size = np.linalg.norm(change.reshape(len(change), -1).astype(float), axis=1)
        short = np.minimum(1, epsilon * (1 - 1e-6) / np.maximum(size, 1e-30)).astype(np.float32)
        return np.asarray(images + short[:, None, None, None] * change)

    return _draw(setting.name, seed, noisy)


def salt_and_pepper(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """L0: pixels turned black or white in a random order, as few as make the image fall.

    The random counterpart of JSMA: both count changed pixels. Each image has one order of its
    pixels, and one colour for each; numbers of pixels 1, 2, 4, … are tried, then the gap below the
    first that makes it fall, by the slack of `border`, is halved. (Foolbox's attack of this name
    draws anew at each amount and keeps the smallest by L2.) No step or query setting is read: the
    passes follow from the size of the image.
    """

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[tf.Tensor, np.ndarray]:
        height, width = images.shape[1:3]
        draws = keyed.random_starts(
            ids,
            (2, height, width),
            attack=setting.name,
            seed=seed,
            epsilon=epsilon,
            restart=restart,
        )
        order = draws[:, 0].reshape(len(images), -1).argsort(axis=1, kind="stable")
        rank = order.argsort(axis=1).reshape(-1, height, width, 1)
        colour = (draws[:, 1] > 0).astype(np.float32)[..., None]

        def noisy(amount: np.ndarray) -> tf.Tensor:
            return tf.where(rank < amount[:, None, None, None], colour, images)

        narrow = np.zeros(len(images), bool)
        own = border.seen(replicas.forward(images), labels).numpy().lead

        def clear(amount: np.ndarray) -> np.ndarray:
            seen = border.seen_near(replicas.forward(noisy(amount)), labels, own)
            np.logical_or(narrow, seen.wrong, out=narrow)
            return np.asarray(seen.clear)

        def wrong(amount: np.ndarray) -> np.ndarray:
            return np.asarray(border.seen(replicas.forward(noisy(amount)), labels).numpy().wrong)

        amount, queries = _fewest(clear, len(images), height * width)
        spent = np.full(len(images), 1 + queries)
        narrow &= amount < 0
        if narrow.any():
            # Nothing leads by the slack: what is wrong by less is better than nothing.
            others, queries = _fewest(wrong, len(images), height * width)
            amount, spent = np.where(narrow, others, amount), spent + queries * narrow
        return noisy(np.maximum(amount, 0)), spent

    return attack


def _fewest(
    fallen: Callable[[np.ndarray], np.ndarray], number: int, largest: int
) -> tuple[np.ndarray, int]:
    """The smallest amount found for each image, -1 where none, and how many passes that took."""
    rungs = [0, *(2**power for power in range((largest - 1).bit_length())), largest]
    stands, falls = np.zeros(number, int), np.full(number, -1)
    for rung in rungs:
        fell = fallen(np.full(number, rung))
        falls = np.where((falls < 0) & fell, rung, falls)
        stands = np.where(falls < 0, rung, stands)
    halvings = (largest // 2).bit_length()
    for _ in range(halvings):
        middle = (stands + falls) // 2
        fell = fallen(np.maximum(middle, 0))
        inside = (stands < middle) & (middle < falls)
        falls = np.where(inside & fell, middle, falls)
        stands = np.where(inside & ~fell, middle, stands)
    return falls, len(rungs) + halvings


def _draw(name: str, seed: int, noise: Noise) -> Attack:
    """An attack that is one draw, whether it succeeds or not; more draws are `attack.restarts`."""

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        del labels
        points = keyed.random_starts(
            ids, images.shape[1:], attack=name, seed=seed, epsilon=epsilon, restart=restart
        )
        noisy = np.asarray(noise(points, np.asarray(images), epsilon))
        return np.clip(noisy, 0, 1), np.ones(len(ids), int)  # the pass that judges it

    return attack
