"""Judging what an attack made: measured anew, and attacked on where it was let go and is right."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from attnrobust import config, task
from attnrobust.attacks import checks
from attnrobust.attacks.loader import Attacked
from attnrobust.attacks.methods import row_of
from attnrobust.attacks.outputs import make
from attnrobust.attacks.packing import fitting
from attnrobust.attacks.row import Attack
from attnrobust.models.replicas import Replicas

Arrays = dict[str, np.ndarray]


def in_full(replicas: Replicas, setting: config.Attack, seed: int, **aim: Any) -> Attack | None:
    """The same attack with all its steps on every image; None where it has no other form.

    For images that left an attack early, since they had fallen for it, and that the judge, whose
    rounding is another, still gets right: else they would stand for having been attacked less.
    """
    row = row_of(setting)
    if row.task == "classify" and row.in_full and setting.early_stop:
        return make(replicas, dataclasses.replace(setting, early_stop=False), seed, **aim)
    return None


def measured(replicas: Replicas, made: Attacked, size: int, *, packed: bool) -> Arrays:
    """What the model says and sizes, anew from the adversarials: no attack is trusted.

    Args:
        replicas: The model.
        made: What an attack made.
        size: Of a batch.
        packed: Whether fewer images go in a smaller batch. Not those of an attack that knows no
            slack: it has judged them in a full batch.
    """
    checks.in_box(made.adversarials)
    if packed:
        size = fitting(len(made.adversarials), size, replicas.count)
    return {
        **task.kept(judged(replicas, made.adversarials, size)),
        **checks.norms(made.adversarials - made.images),
    }


def judged(replicas: Replicas, images: np.ndarray, size: int) -> np.ndarray:
    """Logits of images (n, H, W, 3), filled up to a batch of `size`.

    Raises:
        UserError: They are not finite.
    """
    logits = replicas.forward(replicas.padded(images, size)).numpy()
    checks.finite(logits)
    return np.asarray(logits[: len(images)])
