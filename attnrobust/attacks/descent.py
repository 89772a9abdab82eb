"""The PGD family, L-inf and L2: by the pool, or by Foolbox's own loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from foolbox.criteria import TargetedMisclassification

from attnrobust import config, keyed
from attnrobust.attacks import engine, losses
from attnrobust.attacks.cheap import FIRST_PASSES
from attnrobust.attacks.pool import Pool, Pooled
from attnrobust.attacks.row import Attack
from attnrobust.models.replicas import Replicas


def descent(
    replicas: Replicas,
    setting: config.Attack,
    seed: int,
    *,
    stock: type[engine.Compiled],
    norm: str = "linf",
    momentum: bool = False,
    starts: bool = False,
    one_step: bool = False,
    target: int | None = None,
) -> Attack:
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
            sizes.update(
                steps=setting.steps,
                rel_stepsize=setting.rel_stepsize,
                abs_stepsize=setting.abs_stepsize,
            )
        return _loop(
            replicas,
            setting,
            functools.partial(stock, **sizes),
            norm=norm,
            seed=keys,
            target=target,
        )

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
        pool(replicas),
        name=setting.name,
        attack=_key(setting),
        seed=keys,
        steps=1 if one_step else setting.steps,
        stepsize=(lambda epsilon: epsilon) if one_step else setting.stepsize,
    )
    if not one_step:
        rows = [FIRST_PASSES[name] for name in setting.first_passes]
        full.first = tuple(row(full, replicas, pool) for row in rows)
    return full


def _key(setting: config.Attack) -> str:
    """Whose random starts it takes: with another loss or aim those of another attack."""
    loss = "" if "cross_entropy" in setting.loss else f" {setting.loss}"
    return f"{setting.name}{loss}" + f" {setting.target}" * bool(setting.target)


def _loop(
    replicas: Replicas,
    setting: config.Attack,
    build: Callable[..., engine.Compiled],
    *,
    norm: str,
    seed: int | None,
    target: int | None,
) -> Attack:
    """Foolbox's loop: all steps for every image."""
    model = engine.foolbox_model(replicas)
    gradient = engine.loss_gradient(replicas, setting.loss, target)

    def attack(
        images: tf.Tensor, labels: tf.Tensor, ids: Sequence[str], epsilon: float, restart: int
    ) -> tuple[tf.Tensor, np.ndarray]:
        start = None
        if seed is not None:
            start = keyed.random_starts(
                ids,
                images.shape[1:],
                attack=_key(setting),
                seed=seed,
                epsilon=epsilon,
                restart=restart,
                norm=norm,
            )
        made = build(ascend=lambda x: gradient(x, labels)[1], start=start)
        aim = labels
        if target is not None:
            aim = TargetedMisclassification(losses.aimed_at(labels, target))
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
