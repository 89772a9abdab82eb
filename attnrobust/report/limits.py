"""How to read the page: what its numbers say and what they do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from attnrobust.attacks.methods import departures, reach, settled
from attnrobust.config import Attack
from attnrobust.report.blocks import Asked, Points, Section
from attnrobust.report.results import Result, number

EPSILON = (
    "ε bounds the perturbation in the attack's norm, in [0, 1] pixel scale; for an attack named "
    "linf it is the largest change of any pixel channel. 255 ε is the same in steps of a 0–255 "
    "image; the tables also give it in the numbers that the backbone's first layer receives."
)
CARRY = (
    "The sweep carries on: an image that fell at a smaller ε counts as fallen at every larger "
    "one, since the smaller ball lies inside the larger. The sample images are attacked anew at "
    "every ε all the same, so that each figure shows its own perturbation; where that fails, the "
    "earlier one stays."
)
UNEQUAL = (
    "Where classes are unequal, accuracy flatters: compare it with the majority rate, and read "
    "balanced accuracy and the recall of each class beside it."
)
HEATMAP = (
    "A heatmap shows where one method finds evidence for one class. It is not a proof of what the "
    "model uses, and maps of different models share no scale."
)


def section(results: Sequence[Result], _: Asked) -> Section:
    """A list of what a reader should know."""
    return Section("reading", "How to read this", (Points(tuple(_points(results))),))


def _points(results: Sequence[Result]) -> Iterator[str]:
    named, half = attacks(results), half_width(results)
    yield EPSILON
    yield (
        f"{'Attacks' if len(named) > 1 else 'The attack'}: {'; '.join(named) or 'none'}. A "
        "stronger attack can only find more, so the robust accuracy here is an upper bound of the "
        "true one. A curve that stays flat at a large ε can also mean that the attack failed."
    )
    if any(result.setting.mode == "carry" for result in results):
        yield CARRY
    smallest = min(result.clean["accuracy"].n for result in results)
    known = f", so an accuracy is known to about ± {half}" if half else ""
    yield (
        f"The smallest test split here has {smallest:,} images{known}. Small splits have wide "
        "intervals. Two intervals side by side do not say whether one model is better than "
        "another; their difference on the same images does. Intervals of one run cover the choice "
        "of test images, not the chance in training; only several seeds show that."
    )
    yield UNEQUAL
    yield HEATMAP


def attacks(results: Sequence[Result]) -> list[str]:
    """The attacks in words, each once."""
    found = []
    for result in results:
        attack = settled(result.setting)
        if not result.attack:
            continue
        words = attack.name if result.attack == attack.name else f"{result.attack} ({attack.name})"
        words += f" targeted at {attack.target}" if attack.target else ""
        if reach(attack) < math.inf:
            restarts = "1 start" if attack.restarts == 1 else f"{attack.restarts} starts"
            where = "at random in the ball" if attack.random_start else "at the image"
            words += f" with {attack.steps} steps of {_size(attack)} each and {restarts} {where}"
        elif other := departures(attack):
            words += f" with {', '.join(other)}"
        if attack.outputs != "logits":
            words += ", through the softmax: what it leaves is not the model’s robustness"
        if result.asked_scale != 1:
            words += ", its ε given in the numbers of the model’s first layer"
        found.append(words)
    return list(dict.fromkeys(found))


def _size(attack: Attack) -> str:
    if attack.abs_stepsize is not None:
        return number(attack.abs_stepsize, 3)
    return f"{number(attack.rel_stepsize, 3)} ε"


def half_width(results: Sequence[Result]) -> str:
    """Half the widest interval of the clean accuracies, as text; empty if none is known."""
    known = [result.clean["accuracy"] for result in results]
    widths = [(each.high - each.low) / 2 for each in known if each.has_interval]
    return f"{max(widths):.3f}" if widths else ""
