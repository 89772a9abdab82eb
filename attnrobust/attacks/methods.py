"""ATTACKS: the table of attacks; each row is one function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from foolbox.criteria import TargetedMisclassification

from attnrobust import config
from attnrobust.attacks import (
    apgd,
    autoattack,
    decision,
    engine,
    fab,
    jsma,
    minimal,
    noise,
    square,
)
from attnrobust.attacks.cheap import FIRST_PASSES
from attnrobust.attacks.pool import Pool, Pooled
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas

# (images, labels, ids, epsilon, restart) to adversarials of the images' shape and the forward and
# gradient passes that each cost (N,); epsilon is infinite for attacks of the kind `minimal`.
Attack = Callable[
    [tf.Tensor, tf.Tensor, Sequence[str], float, int], tuple[tf.Tensor | np.ndarray, np.ndarray]
]


@dataclass(frozen=True)
class Row:
    """An attack of the table.

    Attributes:
        make: (replicas, settings, seed) to the attack; a row that is `targeted` also takes
            `target`, the index of the class to reach, by name. What comes as a `Pooled` is fed a
            stream of images, after the cheaper attacks that it brings along.
        norm: Of its ball: `linf`, `l2` or `l0` (changed pixels, any channel counting once).
        kind: `fixed`: looks inside the ball of a given epsilon. `minimal`: looks for the smallest
            perturbation, whatever epsilon is; runs once and is judged at each by its distance.
        targeted: Whether it can go for `attack.target`.
        random: Whether chance is in it, so that a restart is another attempt.
    """

    make: Callable[..., Attack]
    norm: str = "linf"
    kind: str = "fixed"
    targeted: bool = False
    random: bool = True


def descent(
    replicas: Replicas, setting: config.Attack, seed: int, *, stock: type[engine.Compiled],
    norm: str = "linf", momentum: bool = False, starts: bool = False, one_step: bool = False,
    target: int | None = None,
) -> Attack:  # fmt: skip
    """An attack of the PGD family: by the pool, or by Foolbox's loop without `attack.early_stop`.

    Args:
        replicas: The model.
        setting: Loss, steps, step size, early stop, first passes.
        seed: Of the random starts.
        stock: The Foolbox attack that it is.
        norm: Of ball and step.
        momentum: Whether it sums gradients.
        starts: Whether it starts at random where `attack.random_start` says so.
        one_step: Whether it is a single step to the edge of the ball, whatever the settings say.
        target: Class to reach; None: any but the label.
    """
    keys = seed if starts and setting.random_start else None
    if not setting.early_stop:
        sizes: dict[str, Any] = {"momentum": setting.momentum} if momentum else {}
        if not one_step:
            sizes.update(steps=setting.steps, rel_stepsize=setting.rel_stepsize,
                         abs_stepsize=setting.abs_stepsize)  # fmt: skip
        return _loop(replicas, setting, functools.partial(stock, **sizes), norm=norm,
                     seed=keys, target=target)  # fmt: skip

    def pool(model: Replicas) -> Pool:
        kind: dict[str, Any] = {
            "norm": norm,
            "loss": setting.loss,
            "target": target,
            "momentum": setting.momentum if momentum else None,
        }
        made: Pool = model.once(("pool", *kind.values()), lambda: Pool(model, **kind))
        return made

    full = Pooled(
        pool(replicas), name=setting.name, seed=keys,
        steps=1 if one_step else setting.steps,
        stepsize=(lambda epsilon: epsilon) if one_step else setting.stepsize,
    )  # fmt: skip
    if not one_step:
        rows = [config.lookup("first pass", FIRST_PASSES, name) for name in setting.first_passes]
        full.first = tuple(row(full, replicas, pool) for row in rows)
    return full


def _loop(
    replicas: Replicas, setting: config.Attack, build: Callable[..., engine.Compiled], *, norm: str,
    seed: int | None, target: int | None,
) -> Attack:  # fmt: skip
    """Foolbox's loop: all steps for every image."""
    model = engine.foolbox_model(replicas)
    gradient = engine.loss_gradient(replicas, setting.loss, target)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[tf.Tensor, np.ndarray]:
        start = None
        if seed is not None:
            start = engine.random_starts(
                ids, images.shape[1:], seed=seed, epsilon=epsilon, restart=restart, norm=norm
            )
        made = build(ascend=lambda x: gradient(x, labels)[1], start=start)
        aim = labels
        if target is not None:
            aim = TargetedMisclassification(tf.fill(labels.shape, tf.constant(target, tf.int64)))
        _, clipped, _ = made(model, images, aim, epsilons=epsilon)
        return clipped, np.full(len(ids), made.steps + 1)

    return attack


def linf_pgd(*basis: Any, target: int | None = None) -> Attack:
    """L-inf projected gradient ascent from random starts (Madry et al. 2018)."""
    return descent(*basis, stock=engine.CompiledLinfPGD, starts=True, target=target)


def l2_pgd(*basis: Any, target: int | None = None) -> Attack:
    """L2 projected gradient ascent from random starts (Madry et al. 2018)."""
    return descent(*basis, stock=engine.CompiledL2PGD, norm="l2", starts=True, target=target)


def bim(*basis: Any, target: int | None = None) -> Attack:
    """Basic iterative method: signed steps from the image itself (Kurakin et al. 2016)."""
    return descent(*basis, stock=engine.CompiledBIM, target=target)


def mi_fgsm(*basis: Any, target: int | None = None) -> Attack:
    """Signed steps along a running sum of gradients, from the image (Dong et al. 2018)."""
    return descent(*basis, stock=engine.CompiledMIFGSM, momentum=True, target=target)


def fgsm(*basis: Any) -> Attack:
    """Fast gradient sign method: one signed step to the edge (Goodfellow et al. 2015)."""
    return descent(*basis, stock=engine.CompiledFGSM, one_step=True)


def l2_fgm(*basis: Any) -> Attack:
    """Fast gradient method: one step to the edge of the L2 ball (Goodfellow et al. 2015)."""
    return descent(*basis, stock=engine.CompiledL2FGM, norm="l2", one_step=True)


ATTACKS: dict[str, Row] = {
    "linf_pgd": Row(linf_pgd, targeted=True),
    "l2_pgd": Row(l2_pgd, norm="l2", targeted=True),
    "bim": Row(bim, targeted=True, random=False),
    "mi_fgsm": Row(mi_fgsm, targeted=True, random=False),
    "fgsm": Row(fgsm, random=False),
    "l2_fgm": Row(l2_fgm, norm="l2", random=False),
    "autoattack": Row(autoattack.autoattack),
    "apgd_ce": Row(apgd.apgd_ce),
    "apgd_t": Row(apgd.apgd_t),
    "fab_t": Row(fab.fab_t, kind="minimal"),
    "square": Row(square.square),
    "deepfool_linf": Row(minimal.deepfool_linf, kind="minimal", random=False),
    "deepfool_l2": Row(minimal.deepfool_l2, norm="l2", kind="minimal", random=False),
    "cw": Row(minimal.cw, norm="l2", kind="minimal", random=False),
    "ddn": Row(minimal.ddn, norm="l2", kind="minimal", random=False),
    "boundary": Row(decision.boundary, norm="l2", kind="minimal"),
    "hopskipjump": Row(decision.hopskipjump, norm="l2", kind="minimal"),
    "jsma": Row(jsma.jsma, norm="l0", kind="minimal", random=False),
    "uniform_noise": Row(noise.uniform_noise),
    "sign_noise": Row(noise.sign_noise),
    "gaussian_noise": Row(noise.gaussian_noise, norm="l2"),
    "salt_and_pepper": Row(noise.salt_and_pepper, norm="l0", kind="minimal"),
}


def row_of(setting: config.Attack) -> Row:
    """The attack's row.

    Raises:
        UserError: No such attack; an L-inf radius above 1.
    """
    row = config.lookup("attack", ATTACKS, setting.name)
    largest = setting.epsilons[-1]
    if row.norm == "l0" and setting.scale != "pixels":
        raise UserError(f"attack.scale = {setting.scale}: {setting.name} counts changed pixels; "
                        "expected pixels")  # fmt: skip
    if row.norm == "linf" and largest > 1 and setting.scale == "pixels":
        raise UserError(
            f"attack.epsilons = {largest:g}: expected at most 1 for {setting.name}; images are in "
            "[0, 1] pixel scale (8/255 is fine)"
        )
    return row


def target_of(setting: config.Attack, classes: Sequence[str]) -> int | None:
    """Index of `attack.target`, or None where there is none.

    Raises:
        UserError: An attack that cannot aim, or no such class.
    """
    if not setting.target:
        return None
    if not row_of(setting).targeted:
        able = ", ".join(name for name, row in ATTACKS.items() if row.targeted)
        raise UserError(
            f"attack.target = {setting.target}: {setting.name} cannot aim at a class; these can: "
            f"{able}"
        )
    return config.lookup("class", {name: i for i, name in enumerate(classes)}, setting.target)


def untargeted(setting: config.Attack, what: str) -> None:
    """Refuse a targeted attack where only robust accuracy makes sense.

    Raises:
        UserError: `attack.target` is set.
    """
    if setting.target:
        raise UserError(
            f"attack.target = {setting.target}: {what} judges attacks that take any wrong class; "
            "attack without a target (--set attack.target=)"
        )
