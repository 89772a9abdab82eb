"""What must hold of model, records and adversarials before a number may be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from attnrobust import config
from attnrobust.attacks import losses, methods
from attnrobust.attacks.cheap import FIRST_PASSES
from attnrobust.attacks.methods import row_of, target_of, untargeted
from attnrobust.attacks.segmentation.losses import PIXEL_LOSSES
from attnrobust.data.records import Dataset
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas

TOLERANCE = 1e-6
NORMS = ("linf", "l2", "l0")


def settings(setting: config.Attack) -> None:
    """What can be known of an attack without records or a model.

    Raises:
        UserError: A row of a table that is not there, or settings that its row cannot take.
    """
    table: Mapping[str, object] = losses.LOSSES
    if row_of(setting).task == "segment":
        table = PIXEL_LOSSES
    config.lookup("attack.loss", table, setting.loss)
    for name in setting.first_passes:
        config.lookup("attack.first_passes", FIRST_PASSES, name)


def ready(setting: config.Attack, classes: Sequence[str], kind: str = "classify") -> None:
    """What can be known of an attack without a model, as before a night of training.

    Args:
        setting: Of the attack.
        classes: Of the records.
        kind: Row of TASKS: what labels of the records are.

    Raises:
        UserError: As `settings`; an attack of another task, no such class to aim at, or too few
            classes for the loss.
    """
    settings(setting)
    methods.of_task(setting, kind)
    target = target_of(setting, classes)
    row = row_of(setting)
    if row.loss and row.task == "classify":
        losses.of(setting.loss, classes=len(classes), target=target)


def doubtable(setting: config.Attack, classes: Sequence[str]) -> None:
    """What can be known of an attack's check without a model.

    Raises:
        UserError: It aims at a class, or has too few classes for its loss, which a check asks for
            even where the attack has another of its own.
    """
    untargeted(setting, "check")
    if row_of(setting).task == "classify":
        losses.of(setting.loss, classes=len(classes))


def fits(replicas: Replicas, dataset: Dataset, image_size: int) -> None:
    """Raise a UserError if the model is made for images or classes other than the records'."""
    expected = tuple(replicas.model.input_shape[1:])
    if None not in expected and expected != (image_size, image_size, 3):
        raise UserError(
            f"data.image_size = {image_size}: the model expects images of {expected[0]} x "
            f"{expected[1]} x {expected[2]}"
        )
    classes = replicas.model.output_shape[-1]
    if classes != len(dataset.classes):
        raise UserError(
            f"{dataset.root}: records of {len(dataset.classes)} classes "
            f"({', '.join(dataset.classes)}), the model has {classes}"
        )


def finite(logits: np.ndarray) -> None:
    """Raise a UserError if a logit is not finite."""
    if not np.isfinite(logits).all():
        raise UserError("the model gives logits that are not finite; no attack can be judged")


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether a model's outputs (N, …, K) are in [0, 1] and add up to 1."""
    inside = outputs.min() >= 0 and outputs.max() <= 1
    return bool(inside and np.abs(outputs.sum(axis=-1) - 1).max() < 1e-3)


def are_logits(outputs: np.ndarray) -> None:
    """Raise a UserError if a model's outputs (N, …, K) on all test images are probabilities.

    A saturated softmax hides its gradient, and the attack is weak for that reason alone.
    """
    if are_probabilities(outputs):
        raise UserError(
            "the model gives probabilities (each row adds up to 1), expected logits; "
            "leave its softmax out, since attacks need the gradient that it hides"
        )


def gaps(logits: np.ndarray) -> np.ndarray:
    """How far the largest logit of (N, K) is ahead of the second (N,).

    In float32 the gradient of a cross-entropy rounds to 0 from about 17.
    """
    top = np.partition(logits.astype(np.float64), -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])


def in_box(adversarials: np.ndarray) -> None:
    """Raise a ValueError if a pixel is not in [0, 1]: robust accuracy would be too low."""
    if not (adversarials.min() >= 0 and adversarials.max() <= 1):
        raise ValueError(
            f"attack left its box: pixels {adversarials.min()} to {adversarials.max()}"
        )


def in_ball(sizes: np.ndarray, epsilon: float) -> None:
    """Raise a ValueError if a perturbation of these sizes (N,) leaves the ball."""
    if sizes.max() > epsilon + TOLERANCE * max(1, epsilon):
        raise ValueError(f"attack left its ball at ε {epsilon:g}: change {sizes.max()}")


def norms(perturbation: np.ndarray) -> dict[str, np.ndarray]:
    """Sizes of perturbations (N, H, W, C): `linf`, `l2`, `l0` (changed pixels), each (N,)."""
    flat = perturbation.reshape(len(perturbation), -1)
    return {
        "linf": np.abs(flat).max(axis=1),
        "l2": np.linalg.norm(flat, axis=1),
        "l0": (perturbation != 0).any(axis=-1).sum(axis=(1, 2)).astype(np.float32),
    }
