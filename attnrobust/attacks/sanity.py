"""SANITY: can the robust accuracy of a sweep be trusted? Each row tries to prove it too high.

After Carlini et al. 2019 (On Evaluating Adversarial Robustness), Athalye et al. 2018 (Obfuscated
Gradients) and the flags of AutoAttack (Croce and Hein 2020). A part of the test split is attacked
again in other ways, at the epsilon of the sweep where most is left to decide.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnrobust import task
from attnrobust.attacks import engine, methods
from attnrobust.attacks.checks import TOLERANCE, norms
from attnrobust.attacks.comparisons import (
    Finding,
    black_box,
    converged,
    huge,
    margin,
    noise,
    one_step,
    probabilities,
    transfer,
)
from attnrobust.attacks.methods import ATTACKS
from attnrobust.attacks.subject import Subject
from attnrobust.console import progress
from attnrobust.disk import runs

log = logging.getLogger("attnrobust")


def bounds(subject: Subject) -> Finding:
    """The images that the sweep kept and its attack made anew, measured here; and its records."""
    norm, clean = subject.norm, subject.files[0.0]["sample_image"]
    attacked = {epsilon: state for epsilon, state in subject.files.items() if epsilon}
    pairs = [(epsilon, state["sample_image"], clean) for epsilon, state in attacked.items()]
    pairs.append((subject.epsilon, subject.attacked[0], subject.images))
    sizes = [(epsilon, float(norms(made - images)[norm].max())) for epsilon, made, images in pairs]
    sizes += [(epsilon, float(state[norm].max())) for epsilon, state in attacked.items()]
    # NumPy's extremes keep a NaN, which is inside nothing.
    beyond = float(np.max([(size - epsilon) / max(1, epsilon) for epsilon, size in sizes]))
    low = float(np.min([made.min() for _, made, _ in pairs]))
    high = float(np.max([made.max() for _, made, _ in pairs]))
    held = low >= 0 and high <= 1 and beyond <= TOLERANCE
    return held, f"at most {max(beyond, 0):.1g} beyond ε; pixels {low:g} to {high:g}"


def clean_agrees(subject: Subject) -> Finding:
    """The model now against the sweep's clean file."""
    before = subject.found(0.0)
    worst = float(np.abs(before - subject.clean).max())
    same = np.array_equal(task.predict(before), task.predict(subject.clean))
    return same and worst <= 1e-3 * size_of(
        subject.clean
    ), f"logits differ by at most {worst:.2g}, classes {_same(same)}"


def _same(same: bool) -> str:
    return "equal" if same else "not equal"


def frozen(subject: Subject) -> Finding:
    """Five passes and the weights before and after an attack."""
    part = subject.images[: subject.replicas.batch(min(16, len(subject.images)))]
    return unchanged(subject, lambda: subject.logits(part))


def unchanged(subject: Any, answer: Callable[[], np.ndarray]) -> Finding:
    """Whether a model answers alike each time, and holds the same weights after an attack.

    Args:
        subject: Of any task.
        answer: What its model says of some images.
    """
    before = [np.array(weight) for weight in subject.replicas.model.get_weights()]
    passes = np.stack([answer() for _ in range(5)])
    spread = float((passes.max(axis=0) - passes.min(axis=0)).max())
    subject.under(subject.setting.name, restarts=1)
    after = subject.replicas.model.get_weights()
    same = all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))
    said = f"five passes differ by at most {spread:.2g}; weights and statistics after it "
    return same and spread <= 1e-5 * size_of(passes), said + _same(same)


def size_of(logits: np.ndarray) -> float:
    """Largest absolute value: rounding is in proportion to it, whatever scale logits are of."""
    return float(np.abs(logits).max())


def logits(subject: Subject) -> Finding:
    """Probabilities, of a softmax or of a sigmoid each, would saturate; their gradients vanish."""
    low, high = subject.clean.min(), subject.clean.max()
    return not (low >= 0 and high <= 1), f"outputs from {low:.3g} to {high:.3g}"


def gradients(subject: Subject) -> Finding:
    """Images whose gradient of what is ascended is zero, too small for float32, or not finite."""
    step = engine.loss_gradient(subject.replicas, subject.setting.loss)
    largest = np.concatenate(
        [
            np.abs(step(images, labels)[1].numpy()[:number]).max(axis=(1, 2, 3))
            for (images, number), (labels, _) in zip(
                subject.batches(subject.images), subject.batches(subject.labels), strict=True
            )
        ]
    )
    return vanishing(largest, subject.slack)


def vanishing(largest: np.ndarray, slack: float) -> Finding:
    """Whether gradients are there to climb.

    Args:
        largest: Of each image the largest absolute value of its gradient (n,).
        slack: Share of the images that may have none.
    """
    # Below the smallest normal number a device may round to zero, and an attack stands still.
    zero = int((largest < np.finfo(np.float32).tiny).sum())
    broken = int((~np.isfinite(largest)).sum())
    said = f"{zero} of {len(largest)} zero, {broken} not finite"
    return not broken and zero <= slack * len(largest), said


def reach(subject: Subject) -> Finding:
    """Steps times step size against the radius, and against the width where a start is random."""
    setting = subject.setting
    reached = methods.reach(setting)
    if np.isinf(reached):
        return None, "this attack has no step size to judge"
    said = f"all steps together can go {reached:.2f} ε"
    if ATTACKS[setting.name].starts and setting.random_start and 1 <= reached < 2:
        # Foolbox's own default: no fault, but a pixel that starts at one side stays short of the
        # other.
        return None, f"{said}; from a random start the far side lies up to 2 ε away"
    return reached >= 1, said


def monotone(subject: Subject) -> Finding:
    """A larger ball holds the smaller one."""
    values = list(subject.shares.values())
    rise = max((b - a for a, b in itertools.pairwise(values)), default=0.0)
    return rise <= 0.01, f"largest rise from one ε to the next {max(rise, 0):.3f}"


def rounding(subject: Subject) -> Finding:
    """An image file holds 256 levels."""
    adversarials, stands = subject.attacked
    rounded = np.round(255 * adversarials).astype(np.float32) / 255
    after = subject.right & subject.stands(rounded)
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

    find: Callable[[Any], Finding]
    title: str
    meaning: str

    def of(self, find: Callable[[Any], Finding], **words: str) -> Row:
        """The same check of another task: its own function, and the words that differ."""
        return dataclasses.replace(self, find=find, **words)


CHECKS: dict[str, Row] = {
    "bounds": Row(
        bounds,
        "Every adversarial is inside its ball and box",
        "The attack was allowed more than ε, so robust accuracy is too low.",
    ),
    "clean_agrees": Row(
        clean_agrees,
        "Clean accuracy is the same before and after",
        "The model or the images are not those the sweep attacked.",
    ),
    "frozen": Row(
        frozen,
        "Dropout and BatchNorm are frozen",
        "The model answers by chance or changes under attack; gradients mislead.",
    ),
    "logits": Row(
        logits,
        "The attack sees logits",
        "Probabilities saturate; their gradients vanish and flatter the model.",
    ),
    "gradients": Row(
        gradients,
        "Gradients are neither zero nor broken",
        "Where the gradient is zero PGD stands still: robust accuracy is too high.",
    ),
    "reach": Row(
        reach,
        "The steps can reach the edge of the ball",
        "The attack cannot use its ε: robust accuracy is too high.",
    ),
    "monotone": Row(
        monotone,
        "Robust accuracy falls as ε grows",
        "The attack fails at a radius where a smaller one succeeds: it is too weak.",
    ),
    "huge": Row(
        huge,
        "Nothing is left at a huge ε",
        "Where any image may become grey, a model that stands hides its gradients.",
    ),
    "one_step": Row(
        one_step,
        "A single step finds nothing more",
        "A single step should never win: gradients are masked or steps badly set.",
    ),
    "converged": Row(
        converged,
        "More steps and starts hardly help",
        "The attack has not converged: robust accuracy is too high.",
    ),
    "noise": Row(
        noise,
        "Random noise finds nothing more",
        "Noise finds what the gradient does not: gradients are masked.",
    ),
    "black_box": Row(
        black_box,
        "A black-box attack finds nothing more",
        "Queries find what the gradient does not: gradients are masked.",
    ),
    "transfer": Row(
        transfer,
        "Adversarials of another model find nothing more",
        "What was made for another model finds more: gradients are masked.",
    ),
    "margin": Row(
        margin,
        "Another loss does not find more",
        "The loss saturates or misleads: take attack.loss=margin or autoattack.",
    ),
    "probabilities": Row(
        probabilities,
        "Logits give the stronger attack",
        "Something is wrong with the logits: probabilities should not win.",
    ),
    "rounding": Row(
        rounding,
        "Rounding to 8 bits does not save the model",
        "The perturbations live below one grey level; an image file would lose them.",
    ),
}


def check(subject: Any, folder: Path, table: Mapping[str, Row] = CHECKS) -> None:
    """Write `checks.json`: epsilon, images, and of each check name, status, numbers, meaning.

    Args:
        subject: What the checks of the table take.
        folder: Where it goes.
        table: CHECKS, or those of another task.
    """
    rows = []
    for name, row in progress(table.items(), desc="checks", unit="check"):
        held, said = row.find(subject)
        status = "note" if held is None else "pass" if held else "warn"
        rows.append(
            {
                "name": name,
                "title": row.title,
                "status": status,
                "said": said,
                "meaning": row.meaning,
            }
        )
        level = logging.WARNING if status == "warn" else logging.INFO
        log.log(level, "%-5s %s: %s", status, row.title, said)
    value = {
        "attack": subject.setting.name,
        "epsilon": subject.epsilon,
        "images": len(subject.images),
        "checks": rows,
    }
    runs.save_json(folder / "checks.json", value)
