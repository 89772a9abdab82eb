"""How many passes through the network an attack makes for one image from one start, at most.

Counted as the files' `queries` are: with `attack.early_stop=false` an attack of the kind `fixed`
makes exactly so many. The functions take (settings with no field open, classes, pixels of an
image), read without TensorFlow.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from attnrobust import config

# See attnrobust/attacks/border.py, carlini_wagner.py, fab.py, packing.py, segmentation/climb.py:
# they need TensorFlow.
DRAWN_IN, CW_WEIGHTS, FAB_SEARCH, MOST_TARGETS = 13, 9, 11, 9
SHRINKING, SEA_LOSSES = 3, 3


class Passes(NamedTuple):
    """Passes forward alone, and those that also go back for a gradient with respect to the image.

    Foolbox's minimal attacks, C&W and FAB count the way there and back as two; here the way there
    is among `forward`.
    """

    forward: float
    gradient: float = 0

    def __add__(self, other: object) -> Passes:
        """Both, one after the other."""
        assert isinstance(other, Passes)
        return Passes(self.forward + other.forward, self.gradient + other.gradient)


def single(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """One gradient, and the pass that judges what it gave."""
    return Passes(1, 1)


def judged(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """Nothing but the pass that judges."""
    return Passes(1)


def stepped(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """A gradient a step."""
    return Passes(1, setting.steps)


def climbed(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """APGD: the image itself, the start and a gradient a step."""
    return Passes(1, setting.steps + 1)


def climbed_to_each(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """APGD toward each of the other classes."""
    return Passes(1, _targets(classes) * (setting.steps + 1))


def kept_worst(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """A gradient a step, and what the last iterate is like."""
    return Passes(2, setting.steps)


def climbed_inwards(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """APGD in three balls: the start of each and a gradient a step."""
    return Passes(1, setting.steps + SHRINKING)


def climbed_on_each(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """SEA: APGD in three balls on each loss, and what each has made judged."""
    return Passes(1 + SEA_LOSSES, SEA_LOSSES * (setting.steps + SHRINKING))


def walked_to_each(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """FAB: there, back and there again a step and class, and a search at the end."""
    steps = _targets(classes) * setting.steps
    return Passes(1 + steps + FAB_SEARCH, steps)


def asked(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """Square: the image itself, and its queries."""
    return Passes(1 + setting.queries)


def asked_in_all(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """Attacks whose queries hold all that they do."""
    return Passes(setting.queries)


def one_after_the_other(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """AutoAttack's four; where images leave at their fall, what each finds is judged once more."""
    members = (climbed, climbed_to_each, walked_to_each, asked)
    each = [passes(setting, classes, pixels) for passes in members]
    around = Passes(1 + len(members) * setting.early_stop - FAB_SEARCH)
    return sum(each, around)


def faced(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """DeepFool: the gradient of every other class a step."""
    steps = setting.steps * (classes - 1)
    return Passes(_around(1) + steps, steps)


def weighed(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """C&W: all steps for each of the weights that its search tries, unless it gives one up."""
    steps = CW_WEIGHTS * setting.steps
    return Passes(1 + DRAWN_IN + steps, steps)


def shrunk(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """DDN: a gradient a step."""
    return Passes(_around(0) + setting.steps, setting.steps)


def paired(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """JSMA: a gradient for every two values that may change, toward each class gone for."""
    most = max(setting.gamma * 3 * pixels, 3 * setting.epsilons[-1])
    rounds = math.ceil(min(most, 3 * pixels) / 2) * math.ceil(1 / abs(setting.theta)) + 1
    aims = 1 if setting.aims == "likeliest" or setting.target else _targets(classes)
    return Passes(1, aims * rounds)


def halved(setting: config.Attack, classes: int, pixels: int) -> Passes:
    """Salt and pepper: the image, numbers of pixels 0, 1, 2, 4, … and all, then the gap halved."""
    return Passes(3 + (pixels - 1).bit_length() + (pixels // 2).bit_length())


def _targets(classes: int) -> int:
    return min(classes - 1, MOST_TARGETS)


def _around(more: int) -> int:
    """The image itself, what Foolbox's loop gives back, and its way drawn in; and `more`."""
    return 2 + DRAWN_IN + more
