"""What the drawn lesions of each class look like, and how one lesion's traits are drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Traits:
    """What a lesion looks like: RGB colours in 0..255, lengths in lesion radii, strengths 0..1."""

    base: Colour
    second: Colour
    third: Colour
    variegation: float  # how much of the lesion shows the second and third colour
    asymmetry: float
    irregularity: float  # border notches
    softness: float  # width of the border
    network: float = 0.0  # brown mesh of lines
    disorder: float = 0.2  # 0: even mesh, 1: mesh broken up
    ring: float = 0.0  # 0: mesh everywhere, 1: only at the border
    streaks: float = 0.0  # radial lines that cross the border
    strawberry: float = 0.0  # red mesh around pale hair openings
    scar: float = 0.0  # white patch in the centre
    vessels: float = 0.0  # branching thin red lines
    globules: float = 0.0
    cysts: float = 0.0
    comedos: float = 0.0
    nests: float = 0.0
    flecks: float = 0.0
    lacunae: float = 0.0


TRAITS = {
    "nv": Traits(
        (152, 102, 72),
        (118, 74, 50),
        (170, 118, 88),
        0.25,
        0.10,
        0.03,
        0.14,
        network=0.8,
        disorder=0.15,
        globules=0.3,
    ),
    "mel": Traits(
        (108, 70, 54),
        (54, 40, 40),
        (106, 110, 124),
        0.75,
        0.26,
        0.11,
        0.07,
        network=0.6,
        disorder=0.9,
        streaks=0.9,
        globules=0.5,
    ),
    "bkl": Traits(
        (152, 114, 80),
        (124, 88, 62),
        (174, 140, 104),
        0.45,
        0.18,
        0.05,
        0.025,
        cysts=1.0,
        comedos=1.0,
    ),
    "bcc": Traits(
        (212, 152, 144),
        (196, 130, 126),
        (224, 184, 178),
        0.45,
        0.18,
        0.05,
        0.10,
        vessels=1.0,
        nests=0.9,
    ),
    "akiec": Traits(
        (204, 134, 116),
        (188, 108, 96),
        (204, 152, 116),
        0.45,
        0.20,
        0.08,
        0.22,
        strawberry=0.9,
        flecks=1.0,
    ),
    "df": Traits(
        (180, 128, 100),
        (160, 108, 82),
        (196, 146, 124),
        0.30,
        0.08,
        0.03,
        0.22,
        network=0.5,
        disorder=0.25,
        ring=1.0,
        scar=0.9,
    ),
    "vasc": Traits(
        (190, 88, 88), (160, 60, 74), (206, 120, 116), 0.40, 0.15, 0.05, 0.04, lacunae=1.0
    ),
}
MIMICS = {  # what an untypical lesion of the class is mistaken for
    "nv": ("mel", "bkl", "df"),
    "mel": ("nv", "bkl"),
    "bkl": ("nv", "mel", "akiec"),
    "bcc": ("akiec", "nv", "vasc"),
    "akiec": ("bcc", "bkl"),
    "df": ("nv", "bcc"),
    "vasc": ("bcc", "mel"),
}
SKINS = ((238, 206, 190), (230, 184, 170), (222, 180, 150), (196, 150, 120))


@dataclass(frozen=True)
class Dots:
    """Roundish structures: mean count, radii in lesion radii, how far out, look."""

    count: float
    radii: tuple[float, float]
    reach: float
    colour: Colour
    opacity: float
    blur: float


DOTS = {  # painted in this order, later ones on top
    "lacunae": Dots(16, (0.12, 0.30), 0.80, (128, 30, 54), 0.7, 0.03),
    "nests": Dots(5, (0.08, 0.17), 0.75, (86, 88, 112), 0.8, 0.03),
    "globules": Dots(14, (0.03, 0.06), 0.90, (70, 44, 34), 0.7, 0.015),
    "comedos": Dots(9, (0.04, 0.09), 0.85, (66, 46, 34), 0.85, 0.01),
    "cysts": Dots(12, (0.03, 0.06), 0.85, (244, 232, 200), 0.85, 0.012),
    "flecks": Dots(16, (0.04, 0.13), 0.90, (246, 234, 224), 0.75, 0.02),
}


@dataclass(frozen=True)
class Lesion:
    """One lesion; every photograph of it repeats the same structures from `seed`."""

    dx: str
    traits: Traits
    skin: Colour
    seed: int


def new_lesion(rng: np.random.Generator, dx: str) -> Lesion:
    """Draws the lasting properties of a lesion of class `dx` (a key of TRAITS)."""
    own, other = TRAITS[dx], TRAITS[str(rng.choice(MIMICS[dx]))]
    typicality = 0.46 + 0.54 * rng.beta(1.8, 1.0)
    tint = rng.normal(0, 4, 3) + rng.normal(0, 12)
    mixed: dict[str, Any] = {}
    for field in fields(Traits):
        a, b = np.asarray(getattr(own, field.name)), np.asarray(getattr(other, field.name))
        value = b + typicality * (a - b)
        mixed[field.name] = value + tint if value.ndim else float(value) * rng.lognormal(0, 0.25)
    pair = rng.choice(len(SKINS), 2)
    skin = np.average(np.asarray(SKINS)[pair], axis=0) + rng.normal(0, 3, 3)
    return Lesion(dx, Traits(**mixed), tuple(skin), int(rng.integers(2**32)))
