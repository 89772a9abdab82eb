"""SANITY: can the robust accuracy of a sweep be trusted? Each row tries to prove it too high.

After Carlini et al. 2019 (On Evaluating Adversarial Robustness), Athalye et al. 2018 (Obfuscated
Gradients) and the flags of AutoAttack (Croce and Hein 2020). A part of the test split is attacked
again in other ways, at the epsilon of the sweep where most is left to decide.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tqdm import tqdm

from attnrobust import runs
from attnrobust.attacks.checks import TOLERANCE
from attnrobust.attacks.methods import ATTACKS, in_role
from attnrobust.attacks.methods import reach as reach_of
from attnrobust.attacks.subject import Subject
from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")

# Whether it holds (None: of no consequence here), and the numbers in words.
Finding = tuple[bool | None, str]


def bounds(subject: Subject) -> Finding:
    """Every image of the sweep, recomputed from its adversarial."""
    beyond = max((float(state[subject.norm].max()) - epsilon) / max(1, epsilon)
                 for epsilon, state in subject.files.items() if epsilon)  # fmt: skip
    images = np.concatenate([state["sample_image"] for state in subject.files.values()])
    held = bool(images.min() >= 0 and images.max() <= 1 and beyond <= TOLERANCE)
    return held, (f"at most {max(beyond, 0):.1g} beyond ε; pixels {images.min():g} to "
                  f"{images.max():g}")  # fmt: skip


def clean_agrees(subject: Subject) -> Finding:
    """The model now against the sweep's clean file."""
    rows = {str(id_): row for row, id_ in enumerate(subject.files[0.0]["id"])}
    before = subject.files[0.0]["logits"][[rows[id_] for id_ in subject.ids]]
    worst = float(np.abs(before - subject.clean).max())
    same = bool((before.argmax(axis=1) == subject.clean.argmax(axis=1)).all())
    return same and worst < 1e-2, f"logits differ by at most {worst:.2g}, classes {_same(same)}"


def _same(same: bool) -> str:
    return "equal" if same else "not equal"


def frozen(subject: Subject) -> Finding:
    """Five passes and the weights before and after an attack."""
    before = [np.array(weight) for weight in subject.replicas.model.get_weights()]
    part = subject.images[: subject.replicas.batch(min(16, len(subject.images)))]
    passes = np.stack([subject.logits(part) for _ in range(5)])
    spread = float((passes.max(axis=0) - passes.min(axis=0)).max())
    _ = subject.attacked
    after = subject.replicas.model.get_weights()
    same = all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))
    said = f"five passes differ by at most {spread:.2g}; weights and statistics after it "
    return same and spread < 1e-4, said + _same(same)


def logits(subject: Subject) -> Finding:
    """Probabilities would saturate, and their gradients vanish."""
    sums = subject.clean.sum(axis=1)
    low, high = subject.clean.min(), subject.clean.max()
    probabilities = bool(low >= 0 and high <= 1 and np.allclose(sums, 1, atol=1e-3))
    return not probabilities, f"outputs from {low:.3g} to {high:.3g}"


def gradients(subject: Subject) -> Finding:
    """Share of images whose gradient is exactly zero or not finite."""
    model = subject.replicas.model

    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, model(images, training=False)
            )
        slope = tape.gradient(loss, images)
        slope = tf.zeros_like(images) if slope is None else slope
        return tf.reduce_max(tf.abs(slope), axis=(1, 2, 3))

    step = subject.replicas.map(gradient)
    largest = np.concatenate([
        step(tf.constant(images), tf.constant(labels)).numpy()[:number]
        for (images, number), (labels, _) in zip(
            subject.batches(subject.images), subject.batches(subject.labels), strict=True)
    ])  # fmt: skip
    zero, broken = int((largest == 0).sum()), int((~np.isfinite(largest)).sum())
    said = f"{zero} of {len(largest)} zero, {broken} not finite"
    return not broken and zero <= subject.slack * len(largest), said


def reach(subject: Subject) -> Finding:
    """Steps times step size against the radius."""
    reached = reach_of(subject.setting)
    if np.isinf(reached):
        return None, "this attack has no step size to judge"
    return reached >= 1, f"all steps together can go {reached:.2f} ε"


def monotone(subject: Subject) -> Finding:
    """A larger ball holds the smaller one."""
    values = list(subject.left.values())
    rise = max((b - a for a, b in itertools.pairwise(values)), default=0.0)
    return rise <= 0.01, f"largest rise from one ε to the next {max(rise, 0):.3f}"


def huge(subject: Subject) -> Finding:
    """With half the range of a pixel every image can become the same grey."""
    size = subject.images[0].size
    epsilon = {"linf": 0.5, "l2": 0.5 * float(np.sqrt(size)), "l0": float(size)}[subject.norm]
    _, stands = subject.under(subject.setting.name, epsilon=epsilon, abs_stepsize=None)
    chance = np.bincount(subject.labels).max() / len(subject.labels)
    left = float(stands.mean())
    return left <= chance + 0.05, f"{left:.3f} left at ε {epsilon:g}; majority rate {chance:.3f}"


def _against(subject: Subject, other: np.ndarray, what: str) -> Finding:
    """The sweep's attack must leave no more than another one."""
    mine, theirs = float(subject.attacked[1].mean()), float(other.mean())
    extra = int((subject.attacked[1] & ~other).sum())
    said = (f"{mine:.3f} left by {subject.setting.name}, {theirs:.3f} by {what}; {extra} images "
            "fall to the latter alone")  # fmt: skip
    return mine <= theirs + subject.slack, said


def one_step(subject: Subject) -> Finding:
    """Many steps against one."""
    row = in_role("one_step", subject.norm)
    if row is None or subject.setting.name == row:
        return None, "no attack with one step to compare with"
    return _against(subject, subject.under(row, restarts=1)[1], f"one step ({row})")


def converged(subject: Subject) -> Finding:
    """Twice the steps at half the size, from two more starts."""
    setting, name = subject.setting, subject.setting.name
    stepsize = setting.abs_stepsize and setting.abs_stepsize / 2
    more = subject.under(
        name, steps=2 * setting.steps, rel_stepsize=setting.rel_stepsize / 2, abs_stepsize=stepsize,
        queries=2 * setting.queries, restarts=2 if setting.random_start else 1,
    )[1]  # fmt: skip
    return _against(subject, more, "twice the steps and starts")


def noise(subject: Subject) -> Finding:
    """Random noise of the same size, best of several draws."""
    row = in_role("noise", subject.norm)
    if row is None or subject.setting.name == row:
        return None, "no noise of this norm to compare with"
    draws = subject.experiment.checks.draws
    stands = subject.under(row, restarts=draws)[1]
    return _against(subject, stands, f"the worst of {draws} draws of {row}")


def black_box(subject: Subject) -> Finding:
    """Without gradients nothing can be masked."""
    row = in_role("black_box", subject.norm)
    if row is None or subject.setting.name == row:
        return None, "no black-box attack of this norm to compare with"
    queries = subject.experiment.checks.queries
    stands = subject.under(row, queries=queries, restarts=1)[1]
    return _against(subject, stands, f"{row} with {queries} queries")


def transfer(subject: Subject) -> Finding:
    """The same attack on another model that was trained on the same records."""
    if subject.surrogate is None:
        return None, "no other trained run of these records, image size and task beside this one"
    if not ATTACKS[subject.setting.name].in_full:
        return None, "this attack stops at the border of the model that it is made on"
    name, load = subject.surrogate
    # What has only just fooled the other model says little about this one.
    stands = subject.under(subject.setting.name, replicas=load(), early_stop=False)[1]
    return _against(subject, stands, f"adversarials of {name}")


def margin(subject: Subject) -> Finding:
    """The margin's gradient does not vanish where the cross-entropy's does."""
    if not ATTACKS[subject.setting.name].loss or subject.setting.loss == "margin":
        return None, "this attack does not ascend the cross-entropy"
    stands = subject.under(subject.setting.name, loss="margin")[1]
    return _against(subject, stands, "the same steps on the margin")


def probabilities(subject: Subject) -> Finding:
    """What an attack through the softmax would have reported."""
    if not ATTACKS[subject.setting.name].loss:
        return None, "this attack does not ascend the cross-entropy"
    model = subject.replicas.model
    with subject.replicas.strategy.scope():
        softened = keras.Model(model.input, keras.layers.Softmax(dtype="float32")(model.output))
    through = Replicas(softened, subject.replicas.strategy)
    stands = subject.under(subject.setting.name, replicas=through)[1]
    held, _ = _against(subject, stands, "")
    flattered = float(stands.mean() - subject.attacked[1].mean())
    return held, f"an attack on probabilities would leave {flattered:+.3f}"


def rounding(subject: Subject) -> Finding:
    """An image file holds 256 levels."""
    adversarials, stands = subject.attacked
    rounded = np.round(255 * adversarials).astype(np.float32) / 255
    after = subject.right & (subject.classes(rounded) == subject.labels)
    rise = float(after.mean() - stands.mean())
    said = f"{after.mean():.3f} left after rounding, {rise:+.3f}"
    if subject.norm == "linf" and subject.epsilon < 1 / 255 - TOLERANCE:
        # Rounding takes such a perturbation away, whatever the model is.
        return None, f"{said}; ε is {255 * subject.epsilon:.2g} of 255 levels, below one"
    return rise <= subject.slack, said


@dataclass(frozen=True)
class Row:
    """A check of the table.

    Attributes:
        find: Subject to finding.
        title: What holds where it passes.
        meaning: What it means where it does not.
    """

    find: Callable[[Subject], Finding]
    title: str
    meaning: str


CHECKS: dict[str, Row] = {
    "bounds": Row(bounds, "Every adversarial is inside its ball and box",
                  "The attack was allowed more than ε, so robust accuracy is too low."),
    "clean_agrees": Row(clean_agrees, "Clean accuracy is the same before and after",
                        "The model or the images are not those the sweep attacked."),
    "frozen": Row(frozen, "Dropout and BatchNorm are frozen",
                  "The model answers by chance or changes under attack; gradients mislead."),
    "logits": Row(logits, "The attack sees logits",
                  "Probabilities saturate; their gradients vanish and flatter the model."),
    "gradients": Row(gradients, "Gradients are neither zero nor broken",
                     "Where the gradient is zero PGD stands still: robust accuracy is too high."),
    "reach": Row(reach, "The steps can reach the edge of the ball",
                 "The attack cannot use its ε: robust accuracy is too high."),
    "monotone": Row(monotone, "Robust accuracy falls as ε grows",
                    "The attack fails at a radius where a smaller one succeeds: it is too weak."),
    "huge": Row(huge, "Nothing is left at a huge ε",
                "Where any image may become grey, a model that stands hides its gradients."),
    "one_step": Row(one_step, "Many steps are not weaker than one",
                    "A single step should never win: gradients are masked or steps badly set."),
    "converged": Row(converged, "More steps and starts hardly help",
                     "The attack has not converged: robust accuracy is too high."),
    "noise": Row(noise, "Random noise is weaker",
                 "Noise finds what the gradient does not: gradients are masked."),
    "black_box": Row(black_box, "A black-box attack is weaker",
                     "Queries find what the gradient does not: gradients are masked."),
    "transfer": Row(transfer, "Adversarials of another model are weaker",
                    "What was made for another model finds more: gradients are masked."),
    "margin": Row(margin, "Another loss does not find more",
                  "The cross-entropy is saturated: take attack.loss=margin or autoattack."),
    "probabilities": Row(probabilities, "Logits give the stronger attack",
                         "Something is wrong with the logits: probabilities should not win."),
    "rounding": Row(rounding, "Rounding to 8 bits does not save the model",
                    "The perturbations live below one grey level; an image file would lose them."),
}  # fmt: skip


def check(subject: Subject, folder: Path) -> None:
    """Write `checks.json`: epsilon, images, and of each check name, status, numbers, meaning."""
    rows = []
    for name, row in tqdm(CHECKS.items(), desc="checks", unit="check", disable=None):
        held, said = row.find(subject)
        status = "note" if held is None else "pass" if held else "warn"
        rows.append({"name": name, "title": row.title, "status": status, "said": said,
                     "meaning": row.meaning})  # fmt: skip
        level = logging.WARNING if status == "warn" else logging.INFO
        log.log(level, "%-5s %s: %s", status, row.title, said)
    value = {"attack": subject.setting.name, "epsilon": subject.epsilon,
             "images": len(subject.images), "checks": rows}  # fmt: skip
    runs.save_json(folder / "checks.json", value)
