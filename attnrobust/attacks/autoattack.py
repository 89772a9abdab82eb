"""AutoAttack, L-inf (Croce and Hein 2020): four attacks in turn on what still stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.attacks import losses, packing
from attnrobust.attacks.apgd import apgd_ce, apgd_t
from attnrobust.attacks.fab import fab_t
from attnrobust.attacks.square import square
from attnrobust.models.replicas import Replicas

if TYPE_CHECKING:
    from attnrobust.attacks.methods import Attack

MEMBERS = (apgd_ce, apgd_t, fab_t, square)


def autoattack(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """APGD on the cross-entropy, targeted APGD, targeted FAB and Square, as in 'standard'.

    An image that fell keeps its adversarial, once the model has judged it anew. One that stands
    is given back as the last attack left it. Works for any number of classes from 2 (see
    `apgd_t`); published AutoAttack needs 4.

    Args:
        replicas: The model.
        setting: `steps` iterations of APGD and of FAB, for each target where they have targets;
            `queries` forward passes of Square. `random_start` counts for APGD. Without `early_stop`
            all attack every image, and of what they find the largest margin is kept. `loss`,
            `target`, `rel_stepsize`, `abs_stepsize` and `momentum` do not count.
        seed: Of all that is random.
    """
    members = [make(replicas, setting, seed) for make in MEMBERS]
    if not setting.early_stop:
        return _strongest(replicas, members)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        outcome = packing.Outcome(replicas, images, labels, ids)
        for member in members:
            standing = outcome.standing
            if not len(standing):
                break
            size = packing.fitting(len(standing), len(ids), replicas.count)
            index = replicas.padded(standing, size)
            found, queries = member(
                tf.gather(outcome.images, index), tf.constant(outcome.labels[index]),
                [ids[row] for row in index], epsilon, restart,
            )  # fmt: skip
            number = len(standing)
            outcome.adversarials[standing] = found[:number]
            outcome.queries[standing] += queries[:number]
            # In the same batch as the sweep judges it: at the very edge, rounding decides.
            judged = replicas.forward(outcome.adversarials).numpy().argmax(axis=1)
            outcome.fallen[standing] = (judged != outcome.labels)[standing]
            outcome.queries[standing] += 1
        return outcome.result()

    return attack


def _strongest(replicas: Replicas, members: Sequence[Attack]) -> Attack:
    """Every attack on every image; of what they find, what the model gets wrong by most."""

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        outcome = packing.Outcome(replicas, images, labels, ids, full=True)
        for member in members:
            found, queries = member(images, labels, ids, epsilon, restart)
            logits = replicas.forward(found)
            lead = losses.margin(logits, tf.convert_to_tensor(labels), None).numpy()
            outcome.queries += queries
            better = lead > outcome.lead
            outcome.adversarials[better] = np.asarray(found)[better]
            outcome.lead[better] = lead[better]
        return outcome.result()

    return attack
