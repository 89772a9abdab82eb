"""What a row of ATTACKS is, and what every attack is called with. No TensorFlow."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attnrobust import config
from attnrobust.attacks.passes import Passes

# (images, labels, ids, epsilon, restart) to adversarials of the images' shape, a tensor or an
# array, and the forward and gradient passes that each cost (N,); epsilon is infinite for attacks of
# the kind `minimal`.
Attack = Callable[[Any, Any, Sequence[str], float, int], tuple[Any, np.ndarray]]


@dataclass(frozen=True)
class Row:
    """An attack of the table.

    Attributes:
        make: (replicas, settings, seed) to the attack; a row that is `targeted` also takes
            `target`, the index of the class to reach, by name. What comes as a `Pooled` is fed a
            stream of images, after the cheaper attacks that it brings along.
        passes: What it costs: (settings, classes, pixels) to the passes of an image and a start.
        norm: Of its ball: `linf`, `l2` or `l0` (changed pixels, any channel counting once).
        kind: `fixed`: looks inside the ball of a given epsilon. `minimal`: looks for the smallest
            perturbation, whatever epsilon is; runs once and is judged at each by its distance.
        targeted: Whether it can go for `attack.target`.
        random: Whether chance is in it, so that a restart is another attempt.
        starts: Whether all its chance is the start, which `attack.random_start` takes away.
        loss: Whether it ascends `attack.loss`.
        in_full: Whether `attack.early_stop=false` gives adversarials of full strength: all steps
            on every image, also on those the model has wrong, and of these the strongest, or as
            in Foolbox the last. Others stop where their own model's decision changes, which fools
            no other. Attacks on segmentation always are of full strength.
        own: Its settings where the experiment says nothing: those of `source`. A row that has a
            `rel_stepsize` goes by steps of a given size.
        source: Whose settings these are.
        choices: What a setting that is a word may be.
        task: Row of TASKS whose models it is for.
        role: What a check takes it for: `one_step`, `noise` (the strongest of its ball) or
            `black_box`, the first row of the norm being taken; in segmentation `steps` or
            `ensemble`.
    """

    make: Callable[..., Attack]
    passes: Callable[[config.Attack, int, int], Passes]
    norm: str = "linf"
    kind: str = "fixed"
    targeted: bool = False
    random: bool = True
    starts: bool = False
    loss: bool = False
    in_full: bool = True
    own: Mapping[str, Any] = field(default_factory=dict)
    source: str = "published"
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    role: str = ""
    task: str = "classify"

    @property
    def stepped(self) -> bool:
        """Whether it goes by steps of a size that the settings give."""
        return "rel_stepsize" in self.own

    def starts_of(self, setting: config.Attack) -> int:
        """Restarts that are another attempt each: one where chance has no part in it."""
        same = not self.random or (self.starts and not setting.random_start)
        return 1 if same else setting.restarts


def late(module: str, name: str) -> Callable[..., Attack]:
    """A function of `attnrobust.attacks.<module>`, imported when it is called."""

    def make(*basis: Any, **settings: Any) -> Attack:
        function = getattr(importlib.import_module(f"attnrobust.attacks.{module}"), name)
        made: Attack = function(*basis, **settings)
        return made

    return make
