"""AutoAttack, L-inf (Croce and Hein 2020): four attacks in turn on what still stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from attnrobust import config
from attnrobust.attacks import border, packing
from attnrobust.attacks.apgd import apgd_ce, apgd_t
from attnrobust.attacks.fab import fab_t
from attnrobust.attacks.row import Attack
from attnrobust.attacks.square import square
from attnrobust.models.replicas import Replicas

MEMBERS = (apgd_ce, apgd_t, fab_t, square)


def autoattack(replicas: Replicas, setting: config.Attack, seed: int) -> Attack:
    """APGD on the cross-entropy, targeted APGD, targeted FAB and Square, as in 'standard'.

    An image that fell, by the slack of `border`, keeps its adversarial once the model has judged it
    anew; of one that did not, what the model gets wrong by most, or right by least. Works for any
    number of classes from 2 (see `apgd_t`); published AutoAttack needs 4.

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
                tf.gather(outcome.images, index),
                tf.constant(outcome.labels[index]),
                [ids[row] for row in index],
                epsilon,
                restart,
            )
            tried = outcome.adversarials.copy()
            tried[standing] = np.asarray(found)[: len(standing)]
            # Anew, in a full batch; what leads by less than the slack meets the others, too.
            seen = border.seen(replicas.forward(tried), outcome.labels).numpy()
            kept = standing[outcome.keep(standing, border.Seen(*(part[standing] for part in seen)))]
            outcome.adversarials[kept] = tried[kept]
            outcome.queries[standing] += queries[: len(standing)] + 1
        return outcome.result()

    whole = sum(member.whole for member in members)
    return packing.Stopping(attack, 1 + len(members) + whole)


def _strongest(replicas: Replicas, members: Sequence[Attack]) -> Attack:
    """Every attack on every image; of what they find, what the model gets wrong by most."""

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        outcome = packing.Outcome(replicas, images, labels, ids, full=True)
        for member in members:
            found, queries = member(images, labels, ids, epsilon, restart)
            logits = replicas.forward(found)
            lead = border.seen(logits, labels).numpy().lead
            outcome.queries += queries
            better = lead > outcome.lead
            outcome.adversarials[better] = np.asarray(found)[better]
            outcome.lead[better] = lead[better]
        return outcome.result()

    return attack
