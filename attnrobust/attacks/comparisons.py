"""The sweep against other attacks: what they fell of the images that it left standing.

Every such image lowers the robust accuracy that was printed, whoever finds it. So the other attacks
only see what the sweep left, which is also what keeps thousands of queries bearable.
"""

from __future__ import annotations

import numpy as np

from attnrobust import task
from attnrobust.attacks.methods import ATTACKS, in_role, in_steps
from attnrobust.attacks.subject import Subject
from attnrobust.training import ball

# Whether it holds (None: of no consequence here), and the numbers in words.
Finding = tuple[bool | None, str]


def _another(subject: Subject, role: str) -> str | None:
    """The attack of the sweep's norm that plays this role, unless it is the sweep's own."""
    name = in_role(role, subject.norm)
    return None if name == subject.setting.name else name


def _against(subject: Subject, other: np.ndarray, what: str) -> Finding:
    """Another attack, which left `other` (n,) standing, may hardly fell what the sweep left."""
    left = subject.left
    extra = int((left & ~other).sum())
    said = f"{left.mean():.3f} left by {subject.setting.name}; {what}: {extra} of them fall"
    return extra <= subject.slack * len(left), said


def huge(subject: Subject) -> Finding:
    """With half the range of a pixel every image can become the same grey.

    From the image itself: in so large a ball a random start is noise, which most models read as
    another class, whatever their gradients are. In L0 all pixels may change, whatever share of them
    the sweep gave JSMA: an image that stands for want of changes hides nothing. Where one class is
    most of the images its rate alone says little, so a way to another class that needs no gradient
    may fell hardly any of what stands.
    """
    size = subject.images[0].size
    pixels = float(np.prod(subject.images.shape[1:3]))
    epsilon = {"linf": 0.5, "l2": 0.5 * float(np.sqrt(size)), "l0": pixels}[subject.norm]
    _, stands = subject.under(
        subject.setting.name, epsilon=epsilon, abs_stepsize=None, random_start=False, gamma=1.0
    )
    chance = np.bincount(subject.labels).max() / len(subject.labels)
    left = float(stands.mean())
    extra = int((stands & _others_fell(subject, epsilon)).sum())
    said = f"{left:.3f} left at ε {epsilon:g}; majority rate {chance:.3f}"
    if extra:
        said += f"; on the way to an image of another class {extra} of them fall"
    return bool(left <= chance + 0.05 and extra <= subject.slack * len(stands)), said


def _others_fell(subject: Subject, epsilon: float) -> np.ndarray:
    """(n,) Whether an image falls as near to one that the model gives another class as ε allows."""
    given = task.predict(subject.clean)
    others = given[None] != subject.labels[:, None]
    # The next one in turn, so that not one image alone decides.
    order = (np.arange(len(given))[:, None] + np.arange(len(given))) % len(given)
    first = np.take_along_axis(others, order, axis=1).argmax(axis=1)
    made = subject.images[order[np.arange(len(given)), first]]
    if subject.norm != "l0":
        made = ball.project(made, subject.images, epsilon, subject.norm).numpy()
    return np.asarray(others.any(axis=1) & ~subject.stands(made))


def one_step(subject: Subject) -> Finding:
    """Many steps against one."""
    row = _another(subject, "one_step")
    if row is None:
        return None, "no attack with one step to compare with"
    stands = subject.under(row, todo=subject.left, restarts=1)[1]
    return _against(subject, stands, f"one step ({row})")


def converged(subject: Subject) -> Finding:
    """Twice the steps, queries and starts, none of these the sweep's.

    Steps are half as long, but together go at least once through the whole ball.
    """
    setting, row = subject.setting, ATTACKS[subject.setting.name]
    name: str | None = setting.name
    if not row.random and not {"steps", "queries"}.intersection(row.own):
        # A single step, say. There is no more of it, but there are many of its kind.
        name = in_steps(subject.norm)
    if name is None:
        return None, "this attack has neither steps nor chance, so there is no more of it"
    size = max(setting.stepsize(subject.epsilon) / subject.epsilon / 2, 1 / setting.steps)
    stands = subject.under(
        name,
        todo=subject.left,
        first=setting.restarts,
        restarts=2 * setting.restarts if ATTACKS[name].random else 1,
        steps=2 * setting.steps,
        rel_stepsize=size,
        abs_stepsize=None,
        queries=2 * setting.queries,
        random_start=True,
    )[1]
    return _against(subject, stands, f"{name} with twice the steps, queries and starts")


def noise(subject: Subject) -> Finding:
    """The strongest noise of the ball, best of several draws, none of them a start of the sweep."""
    row = _another(subject, "noise")
    if row is None:
        return None, "no other noise of this norm to compare with"
    draws = subject.experiment.checks.draws
    # `converged` starts where the sweep ended; here begins what neither has drawn.
    stands = subject.under(
        row, todo=subject.left, first=3 * subject.setting.restarts, restarts=draws
    )[1]
    return _against(subject, stands, f"{draws} draws of {row}")


def black_box(subject: Subject) -> Finding:
    """Without gradients nothing can be masked."""
    row = _another(subject, "black_box")
    if row is None:
        return None, "no black-box attack of this norm to compare with"
    queries = subject.experiment.checks.queries
    stands = subject.under(row, todo=subject.left, queries=queries, restarts=1)[1]
    return _against(subject, stands, f"{row} with {queries} queries")


def transfer(subject: Subject) -> Finding:
    """The same attack on another model that was trained on the same records.

    In full, since what has only just fooled the other model says little about this one; by the
    norm's attack in steps where the sweep's own stops at the border.
    """
    if subject.surrogate is None:
        return None, "no other trained run of these records, image size and task beside this one"
    name, load = subject.surrogate
    attack: str | None = subject.setting.name
    if not ATTACKS[subject.setting.name].in_full:
        attack = in_steps(subject.norm)
    if attack is None:
        return None, "attacks of this norm stop at the border of the model they are made on"
    stands = subject.under(attack, todo=subject.left, replicas=load(), early_stop=False)[1]
    return _against(subject, stands, f"adversarials of {name}")


def margin(subject: Subject) -> Finding:
    """The margin's gradient does not vanish or mislead where another loss's does."""
    if not ATTACKS[subject.setting.name].loss or subject.setting.loss == "margin":
        return None, "this attack ascends no loss but its own, or the margin already"
    stands = subject.under(subject.setting.name, todo=subject.left, loss="margin")[1]
    return _against(subject, stands, "the same steps on the margin")


def probabilities(subject: Subject) -> Finding:
    """What an attack through the softmax would have reported."""
    if not ATTACKS[subject.setting.name].loss:
        return None, "this attack ascends no loss but its own"
    stands = subject.under(subject.setting.name, outputs="probabilities")[1]
    held, _ = _against(subject, stands, "")
    flattered = float(stands.mean() - subject.left.mean())
    return held, f"an attack on probabilities would leave {flattered:+.3f}"
