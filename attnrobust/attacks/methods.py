"""ATTACKS: the table of attacks; a row says all that the rest of the project knows of one.

Those on segmentation are rows of `segmentation/methods.py`; what asks for a row looks in both.
Read without TensorFlow, so that the report can ask it too: a row's function is imported when it is
first called.
"""

from __future__ import annotations

import dataclasses
import math
from collections import ChainMap
from collections.abc import Sequence
from typing import Any

from attnrobust import config
from attnrobust.attacks import passes
from attnrobust.attacks.row import Row, late
from attnrobust.attacks.segmentation.methods import SEGMENTATION_ATTACKS
from attnrobust.errors import UserError

# Of settings that a row does not read, so that stamps say the same whatever the row.
UNREAD: dict[str, Any] = {"steps": 40, "rel_stepsize": 1 / 30, "queries": 5000}
# Fields of `config.Attack` that are None until a row's own value is put in.
OWN = (*UNREAD, "theta", "gamma", "saliency", "aims", "step_norm")


def row_of(setting: config.Attack) -> Row:
    """The attack's row.

    Raises:
        UserError: No such attack; an L-inf radius above 1; a word that its row does not know.
    """
    row = config.lookup("attack.name", EVERY, setting.name)
    largest = setting.epsilons[-1]
    if row.norm == "l0" and setting.scale != "pixels":
        raise UserError(
            f"attack.scale = {setting.scale}: {setting.name} counts changed pixels; expected pixels"
        )
    if row.norm == "linf" and largest > 1 and setting.scale == "pixels":
        raise UserError(
            f"attack.epsilons = {largest:g}: expected at most 1 for {setting.name}; images are in "
            "[0, 1] pixel scale (8/255 is fine)"
        )
    for key, known in row.choices.items():
        value = getattr(setting, key)
        if value is not None and value not in known:
            raise UserError(
                f"attack.{key} = {value}: expected {' or '.join(known)} for {setting.name}"
            )
    return row


def settled(setting: config.Attack) -> config.Attack:
    """The settings with the row's own where the experiment says nothing; no field is left open.

    An attack that the table does not know (any longer) is left with what every row has.
    """
    own = {**UNREAD, **(EVERY[setting.name].own if setting.name in EVERY else {})}
    missing = {name: value for name, value in own.items() if getattr(setting, name) is None}
    return dataclasses.replace(setting, **missing)


def of_another(setting: config.Attack, name: str, **changes: Any) -> config.Attack:
    """The settings for another attack of the same images: what belongs to a row is that row's."""
    other = {} if name == setting.name else dict.fromkeys(OWN)
    return settled(dataclasses.replace(setting, **{**other, "name": name, **changes}))


def reach(setting: config.Attack) -> float:
    """How far all steps together can go in the largest ball, in units of its epsilon.

    Below 1 an attack that starts at the image cannot reach the edge of its own ball, and robust
    accuracy comes out too high: Foolbox's default step size with 10 steps reaches 1/3. Infinite
    for an attack that does not go by `steps` and a step size.
    """
    if setting.name not in EVERY or not EVERY[setting.name].stepped:
        return math.inf
    setting = settled(setting)
    # Rounded, since 7 steps of 1/7 do reach it.
    return round(setting.steps * setting.stepsize(setting.epsilons[-1]) / setting.epsilons[-1], 9)


def departures(setting: config.Attack) -> list[str]:
    """Settings that differ from the row's own, in words: `steps 40 (published: 100)`."""
    if setting.name not in EVERY:
        return []
    row, made = EVERY[setting.name], settled(setting)
    return [
        f"{name} {_said(getattr(made, name))} ({row.source}: {_said(value)})"
        for name, value in row.own.items()
        if getattr(made, name) != value
    ]


def _said(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}" if value < 1 else f"{value:,g}"


def in_role(role: str, norm: str) -> str | None:
    """The attack that a check takes for that role in that norm; None if there is none."""
    return next(
        (name for name, row in ATTACKS.items() if (row.role, row.norm) == (role, norm)), None
    )


def in_steps(norm: str) -> str | None:
    """The first attack of that norm that goes by steps; None if there is none."""
    return next((name for name, row in ATTACKS.items() if row.stepped and row.norm == norm), None)


def of_task(setting: config.Attack, task: str) -> Row:
    """The attack's row, which must be for models of that task.

    Raises:
        UserError: It is for another, or as `row_of`.
    """
    row = row_of(setting)
    if row.task != task:
        able = ", ".join(name for name, each in EVERY.items() if each.task == task)
        raise UserError(
            f"attack.name = {setting.name}: it attacks models that {row.task}, this one's task is "
            f"{task}; expected one of {able}"
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
    return config.lookup(
        "attack.target", {name: i for i, name in enumerate(classes)}, setting.target
    )


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


# Of Foolbox 3.3.4: the papers' depend on data set and radius.
FOOLBOX: dict[str, Any] = {"own": {"steps": 40, "rel_stepsize": 1 / 30}, "source": "Foolbox's own"}

ATTACKS: dict[str, Row] = {
    "linf_pgd": Row(
        late("descent", "linf_pgd"),
        passes.stepped,
        targeted=True,
        starts=True,
        loss=True,
        **FOOLBOX,
    ),
    "l2_pgd": Row(
        late("descent", "l2_pgd"),
        passes.stepped,
        norm="l2",
        targeted=True,
        starts=True,
        loss=True,
        **FOOLBOX,
    ),
    "bim": Row(
        late("descent", "bim"), passes.stepped, targeted=True, random=False, loss=True, **FOOLBOX
    ),
    "mi_fgsm": Row(
        late("descent", "mi_fgsm"),
        passes.stepped,
        targeted=True,
        random=False,
        loss=True,
        **FOOLBOX,
    ),
    "fgsm": Row(late("descent", "fgsm"), passes.single, random=False, loss=True, role="one_step"),
    "l2_fgm": Row(
        late("descent", "l2_fgm"),
        passes.single,
        norm="l2",
        random=False,
        loss=True,
        role="one_step",
    ),
    "autoattack": Row(
        late("autoattack", "autoattack"),
        passes.one_after_the_other,
        own={"steps": 100, "queries": 5000},
    ),
    "apgd_ce": Row(late("apgd", "apgd_ce"), passes.climbed, starts=True, own={"steps": 100}),
    "apgd_t": Row(late("apgd", "apgd_t"), passes.climbed_to_each, starts=True, own={"steps": 100}),
    "fab_t": Row(
        late("fab", "fab_t"),
        passes.walked_to_each,
        kind="minimal",
        in_full=False,
        own={"steps": 100},
    ),
    "square": Row(late("square", "square"), passes.asked, own={"queries": 5000}, role="black_box"),
    "square_l2": Row(
        late("square_l2", "square_l2"),
        passes.asked,
        norm="l2",
        own={"queries": 10_000},
        role="black_box",
    ),
    "deepfool_linf": Row(
        late("minimal", "deepfool_linf"),
        passes.faced,
        kind="minimal",
        random=False,
        in_full=False,
        own={"steps": 50},
    ),
    "deepfool_l2": Row(
        late("minimal", "deepfool_l2"),
        passes.faced,
        norm="l2",
        kind="minimal",
        random=False,
        in_full=False,
        own={"steps": 50},
    ),
    "cw": Row(
        late("carlini_wagner", "cw"),
        passes.weighed,
        norm="l2",
        kind="minimal",
        random=False,
        in_full=False,
        own={"steps": 10_000},
    ),
    "ddn": Row(
        late("minimal", "ddn"),
        passes.shrunk,
        norm="l2",
        kind="minimal",
        random=False,
        in_full=False,
        own={"steps": 100},
    ),
    "boundary": Row(
        late("decision", "boundary"),
        passes.asked_in_all,
        norm="l2",
        kind="minimal",
        in_full=False,
        own={"queries": 5000},
        source="default",
    ),
    "hopskipjump": Row(
        late("decision", "hopskipjump"),
        passes.asked_in_all,
        norm="l2",
        kind="minimal",
        in_full=False,
        own={"queries": 5000},
        source="default",
    ),
    "jsma": Row(
        late("jsma", "jsma"),
        passes.paired,
        norm="l0",
        kind="minimal",
        targeted=True,
        random=False,
        in_full=False,
        own={"theta": 1.0, "gamma": 0.145, "saliency": "logits", "aims": "every"},
        choices={"saliency": ("logits", "probabilities"), "aims": ("every", "likeliest")},
    ),
    "uniform_noise": Row(late("noise", "uniform_noise"), passes.judged),
    "sign_noise": Row(late("noise", "sign_noise"), passes.judged, role="noise"),
    "gaussian_noise": Row(late("noise", "gaussian_noise"), passes.judged, norm="l2", role="noise"),
    "salt_and_pepper": Row(
        late("noise", "salt_and_pepper"),
        passes.halved,
        norm="l0",
        kind="minimal",
        in_full=False,
        role="noise",
    ),
}
# The rows of both tasks.
EVERY: ChainMap[str, Row] = ChainMap(ATTACKS, SEGMENTATION_ATTACKS)
