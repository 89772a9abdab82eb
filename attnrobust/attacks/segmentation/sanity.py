"""SEGMENTATION_CHECKS: can the Dice that an attack left be trusted? Each row tries to lower it.

Those of classification that ask which images fell ask here how much of the mean Dice is lost.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from attnrobust.attacks import checks, methods
from attnrobust.attacks.checks import TOLERANCE
from attnrobust.attacks.comparisons import Finding
from attnrobust.attacks.losses import NONE_IS_ZERO
from attnrobust.attacks.sanity import CHECKS, Row, bounds, unchanged, vanishing
from attnrobust.attacks.segmentation import losses
from attnrobust.attacks.segmentation.methods import in_role
from attnrobust.attacks.segmentation.subject import Subject

# Steps of the ensemble that a check sets against the sweep.
STEPS = 100


def clean_agrees(subject: Subject) -> Finding:
    """The model now against the sweep's clean file."""
    before = subject.files[0.0]["prediction"][subject.places]
    share = float((before != subject.maps(subject.images)).mean())
    return share < 1e-4, f"{share:.2g} of the pixels are of another class"


def frozen(subject: Subject) -> Finding:
    """Five passes and the weights before and after an attack."""
    part = subject.batches(subject.images)[0][0][0]
    return unchanged(subject, lambda: subject.replicas.forward(part).numpy())


def logits(subject: Subject) -> Finding:
    """Probabilities would saturate, and their gradients vanish."""
    parts = subject.logits(subject.images)
    low, high = min(each.min() for each in parts), max(each.max() for each in parts)
    soft = all(checks.are_probabilities(each) for each in parts)
    return not soft, f"outputs from {low:.3g} to {high:.3g}"


def gradients(subject: Subject) -> Finding:
    """Images whose gradient of the cross-entropy is zero, too small for float32, or not finite."""

    def step(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            given = subject.replicas.model(images, training=False)
            value = losses.cross_entropy(given, labels, tf.zeros(()))
        slope = tape.gradient(value, images, unconnected_gradients=NONE_IS_ZERO)
        return tf.reduce_max(tf.abs(slope), axis=(1, 2, 3))

    compiled = subject.replicas.map(step)
    largest = np.concatenate(
        [
            compiled(*rows).numpy()[:number]
            for rows, number in subject.batches(subject.images, subject.labels)
        ]
    )
    return vanishing(largest, subject.slack)


def reach(subject: Subject) -> Finding:
    """Steps times step size against the radius."""
    reached = methods.reach(subject.setting)
    if np.isinf(reached):
        return None, "this attack sets its own steps, or stops where its target is reached"
    return reached >= 1, f"all steps together can go {reached:.2f} ε"


def monotone(subject: Subject) -> Finding:
    """A larger ball holds the smaller one."""
    values = list(subject.shares.values())
    rise = max((b - a for a, b in itertools.pairwise(values)), default=0.0)
    return rise <= subject.slack, f"largest rise from one ε to the next {max(rise, 0):.3f}"


def huge(subject: Subject) -> Finding:
    """With half the range of a pixel every image can become the same grey."""
    _, score = subject.under(in_role("steps"), epsilon=0.5, loss="log_odds", random_start=False)
    return float(score.mean()) <= 0.1, f"mean Dice {score.mean():.3f} left at ε 0.5"


def one_step(subject: Subject) -> Finding:
    """Many steps against one."""
    score = subject.under(in_role("steps"), steps=1, rel_stepsize=1.0, random_start=False)[1]
    return _against(subject, score, "one step")


def converged(subject: Subject) -> Finding:
    """Twice the steps and starts, none of these the sweep's."""
    setting = subject.setting
    starts = 2 * setting.restarts
    half: dict[str, Any] = (
        {"rel_stepsize": setting.rel_stepsize / 2} if setting.rel_stepsize else {}
    )
    score = subject.under(
        setting.name, first=setting.restarts, restarts=starts, steps=2 * setting.steps, **half
    )[1]
    return _against(subject, score, f"{setting.name} with twice the steps and starts")


def noise(subject: Subject) -> Finding:
    """Every value moved by epsilon, up or down: the worst of several draws."""
    draws = subject.experiment.checks.draws
    row = methods.in_role("noise", subject.norm)
    assert row is not None
    return _against(subject, subject.under(row, restarts=draws)[1], f"{draws} draws of {row}")


def black_box(subject: Subject) -> Finding:
    """Nothing here attacks a segmenter without gradients."""
    return None, "no attack on segmentation here does without gradients; transfer stands for it"


def transfer(subject: Subject) -> Finding:
    """What was made on another model."""
    if subject.surrogate is None:
        return None, "no other trained run of these records, image size and task beside this one"
    name, load = subject.surrogate
    score = subject.under(subject.setting.name, replicas=load())[1]
    return _against(subject, score, f"adversarials of {name}")


def ensemble(subject: Subject) -> Finding:
    """The worst of three losses in shrinking balls: a single attack overstates robustness."""
    name = in_role("ensemble")
    if subject.setting.name == name:
        return None, "this is the ensemble"
    score = subject.under(name, steps=STEPS)[1]
    return _against(subject, score, f"{name} with {STEPS} steps")


def sure_pixels(subject: Subject) -> Finding:
    """The log odds do not vanish where the model is sure."""
    score = subject.under(in_role("steps"), loss="log_odds")[1]
    return _against(subject, score, "PGD on the log odds of right pixels")


def rounding(subject: Subject) -> Finding:
    """An image file holds 256 levels."""
    adversarials, score = subject.attacked
    rounded = np.round(255 * adversarials).astype(np.float32) / 255
    rise = float(subject.score(rounded).mean() - score.mean())
    said = f"mean Dice {rise:+.3f} by rounding"
    if subject.epsilon < 1 / 255 - TOLERANCE:
        return None, f"{said}; ε is {255 * subject.epsilon:.2g} of 255 levels, below one"
    return rise <= subject.slack, said


def _against(subject: Subject, other: np.ndarray, what: str) -> Finding:
    """Another attack, which left this Dice (n,), may hardly take more than the sweep did."""
    left = subject.left
    extra = float((left - np.minimum(left, other)).mean())
    said = f"mean Dice {left.mean():.3f} left by {subject.setting.name}; {what}: {-extra:+.3f}"
    return extra <= subject.slack, said


# Of a check that classification has as well the words stand there, but for what differs.
SEGMENTATION_CHECKS: dict[str, Row] = {
    "bounds": CHECKS["bounds"].of(
        bounds, meaning="The attack was allowed more than ε, so the Dice it left is too low."
    ),
    "clean_agrees": CHECKS["clean_agrees"].of(
        clean_agrees, title="Clean maps are the same before and after"
    ),
    "frozen": CHECKS["frozen"].of(frozen),
    "logits": CHECKS["logits"].of(logits),
    "gradients": CHECKS["gradients"].of(
        gradients,
        meaning="Where the gradient is zero an attack stands still: the Dice it left is too high.",
    ),
    "reach": CHECKS["reach"].of(
        reach, meaning="The attack cannot use its ε: the Dice it left is too high."
    ),
    "monotone": CHECKS["monotone"].of(monotone, title="Dice falls as ε grows"),
    "huge": CHECKS["huge"].of(huge),
    "one_step": CHECKS["one_step"].of(one_step),
    "converged": CHECKS["converged"].of(
        converged, meaning="The attack has not converged: the Dice it left is too high."
    ),
    "noise": CHECKS["noise"].of(noise),
    "black_box": CHECKS["black_box"].of(black_box),
    "transfer": CHECKS["transfer"].of(transfer),
    "ensemble": Row(
        ensemble,
        "An ensemble of losses finds nothing more",
        "One attack overstates robustness: take attack.name=sea, or the worst of several.",
    ),
    "sure_pixels": Row(
        sure_pixels,
        "Pixels that the model is sure of fall no more easily to another loss",
        "The loss rounds to nothing where the model is sure: take attack.loss=log_odds.",
    ),
    "rounding": CHECKS["rounding"].of(rounding),
}
