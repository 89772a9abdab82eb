"""How many images would tell two models apart, by simulation from those at hand."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, t

from attnrobust.measures.metrics import LEVEL
from attnrobust.measures.paired import RESAMPLES, Sides
from attnrobust.measures.spread import Spread, spread

POWER = 0.8
RUNS = 1000
# More than any test split has: what needs as many is not a question of images.
MOST = 1_000_000


def needed(
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    least: float = 0.0,
    factor: float = 1.0,
    seed: int = 0,
) -> int | None:
    """Images that would show, four times of five, on which side of `least` the difference lies.

    If the models and images are as those at hand: test splits of ever more groups are drawn from
    these, and the difference of each is asked whether its 95 % interval (Student's t) leaves
    `least` out. The seeds stay as many as there are.

    Args:
        first: Of each image whether it is right, bool, or a number; (S, N): seeds, images.
        second: Of the other model (T, N).
        groups: (N,) what images are drawn together; each alone if None.
        least: Difference, second minus first, that is to be told from.
        factor: What the first is multiplied by.
        seed: Of the drawing.

    Returns:
        To two digits; None where a million would not do.
    """
    sides = Sides(first[:, None], second[:, None], groups, factor)
    total, n = len(sides.sizes), first.shape[1]
    share = n / total
    if sides.of(0).sum() / n == least:
        return None
    rng = np.random.default_rng(seed)
    draws = [each[:, :, 0] for each in sides.draws(rng, RESAMPLES)]
    parts = spread(sides.values(0), draws, total, factor)
    fails, does = 2, max(2, total)
    while _told(sides, parts, least, does, rng) < POWER:
        fails, does = does, 2 * does
        if does * share > 2 * MOST:
            return None
    while does - fails > max(1, 0.02 * does):
        middle = (fails + does) // 2
        if _told(sides, parts, least, middle, rng) < POWER:
            fails = middle
        else:
            does = middle
    return _rounded(does * share)


def needed_by(parts: Spread, apart: float, n: int) -> int | None:
    """As `needed`, of a metric of whole sets of images, by the normal distribution.

    Its variance by the choice of images is taken to fall with their number.

    Args:
        parts: What the difference varies by.
        apart: How far it lies from the one that it is to be told from.
        n: Images at hand.
    """
    stays = sum(
        max(0.0, part - own) for (part, _), own in zip(parts.seeds, parts.chance, strict=True)
    )
    room = (apart / norm.ppf([0.5 + LEVEL / 2, POWER]).sum()) ** 2 - stays
    return _rounded(n * parts.groups / room) if room > 0 and parts.groups else None


def _rounded(images: float) -> int | None:
    """To two digits; None where these are more than a test split has."""
    if images > 2 * MOST:
        return None
    digits = max(0, len(str(round(images))) - 2)
    found = round(round(images / 10**digits) * 10**digits)
    return found if found <= MOST else None


def _told(sides: Sides, parts: Spread, least: float, count: int, rng: np.random.Generator) -> float:
    """The share of test splits of `count` groups that tell the difference's side of `least`."""
    # Groups that are alike are drawn as one kind.
    kinds, often = np.unique(np.stack([sides.sizes, sides.of(0)]), axis=1, return_counts=True)
    sizes, apart = kinds
    drawn = rng.multinomial(count, often / often.sum(), size=RUNS).astype(float)
    images = drawn @ sizes
    centre = (drawn @ apart) / images
    squares = drawn @ apart**2 - 2 * centre * (drawn @ (apart * sizes))
    squares += centre**2 * (drawn @ sizes**2)
    groups = np.maximum(squares, 0) / images**2 * count / (count - 1)
    # What seeds vary apart from their chance on single images stays, however many there are.
    stays = [
        (max(0.0, part - own), known)
        for (part, known), own in zip(parts.seeds, parts.chance, strict=True)
    ]
    seeds = sum(part for part, _ in stays)
    value = centre + seeds**0.5 * rng.normal(size=RUNS)
    whole = groups + seeds
    # Nothing varies among draws that are all alike: no more than a guess is to be had of them.
    known = whole > 0
    squared = groups**2 / (count - 1) + sum(part**2 / own for part, own in stays if own)
    degrees = np.where(known, whole**2 / np.where(known, squared, 1), 1)
    side = np.sign(sides.of(0).sum() / sides.sizes.sum() - least)
    beyond = side * (value - least) > t.ppf(0.5 + LEVEL / 2, degrees) * np.sqrt(whole)
    return float((beyond & known).mean())
