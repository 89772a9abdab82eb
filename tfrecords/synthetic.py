"""Draws a dermatoscopy-like data set in HAM10000's own layout, for demos and tests.

A lesion is drawn once as `Lesion` (class signs mixed with those of a class it may be mistaken
for) and then photographed once or twice. Nothing here is a real photograph.

    python -m tfrecords.synthetic --out DIR [--images 1200] [--size 128] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from attnrobust.errors import UserError

DRAWING_VERSION = 1  # raise when the same seed would draw other pixels or rows
MIN_IMAGES, MIN_SIZE = 10, 32
TABLE, STAMP = "HAM10000_metadata.csv", "synthetic.json"
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
CLASS_WEIGHTS = {  # share of lesions; HAM10000's own 67 % nv would leave rare classes empty
    "nv": 0.28, "mel": 0.18, "bkl": 0.18, "bcc": 0.12, "akiec": 0.10, "vasc": 0.07, "df": 0.07,
}  # fmt: skip
Array = np.ndarray
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
    "nv": Traits((152, 102, 72), (118, 74, 50), (170, 118, 88), 0.25, 0.10, 0.03, 0.14,
                 network=0.8, disorder=0.15, globules=0.3),
    "mel": Traits((108, 70, 54), (54, 40, 40), (106, 110, 124), 0.75, 0.26, 0.11, 0.07,
                  network=0.6, disorder=0.9, streaks=0.9, globules=0.5),
    "bkl": Traits((152, 114, 80), (124, 88, 62), (174, 140, 104), 0.45, 0.18, 0.05, 0.025,
                  cysts=1.0, comedos=1.0),
    "bcc": Traits((212, 152, 144), (196, 130, 126), (224, 184, 178), 0.45, 0.18, 0.05, 0.10,
                  vessels=1.0, nests=0.9),
    "akiec": Traits((204, 134, 116), (188, 108, 96), (204, 152, 116), 0.45, 0.20, 0.08, 0.22,
                    strawberry=0.9, flecks=1.0),
    "df": Traits((180, 128, 100), (160, 108, 82), (196, 146, 124), 0.30, 0.08, 0.03, 0.22,
                 network=0.5, disorder=0.25, ring=1.0, scar=0.9),
    "vasc": Traits((190, 88, 88), (160, 60, 74), (206, 120, 116), 0.40, 0.15, 0.05, 0.04,
                   lacunae=1.0),
}  # fmt: skip
MIMICS = {  # what an untypical lesion of the class is mistaken for
    "nv": ("mel", "bkl", "df"), "mel": ("nv", "bkl"), "bkl": ("nv", "mel", "akiec"),
    "bcc": ("akiec", "nv", "vasc"), "akiec": ("bcc", "bkl"), "df": ("nv", "bcc"),
    "vasc": ("bcc", "mel"),
}  # fmt: skip
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


@dataclass(frozen=True)
class View:
    """Camera position: u, v (n, n) lesion coordinates of each pixel; scale in pixels a unit."""

    u: Array
    v: Array
    to_pixels: Array  # (2, 3) affine, lesion coordinates to pixels
    scale: float

    def points(self, xy: Array) -> Array:
        """Turns (k, 2) lesion coordinates into (k, 2) int32 pixels with 4 fractional bits."""
        pixels = xy @ self.to_pixels[:, :2].T + self.to_pixels[:, 2]
        return np.round(pixels * 16).astype(np.int32)


def new_lesion(rng: np.random.Generator, dx: str) -> Lesion:
    """Draws the lasting properties of a lesion of class `dx` (a key of TRAITS)."""
    own, other = TRAITS[dx], TRAITS[str(rng.choice(MIMICS[dx]))]
    typicality = 0.46 + 0.54 * rng.beta(1.8, 1.0)
    tint = rng.normal(0, 4, 3) + rng.normal(0, 12)
    mixed: dict[str, Any] = {}
    for field in fields(Traits):
        a, b = np.asarray(getattr(own, field.name)), np.asarray(getattr(other, field.name))
        value = b + typicality * (a - b)
        mixed[field.name] = value + tint if value.ndim else value * rng.lognormal(0, 0.25)
    pair = rng.choice(len(SKINS), 2)
    skin = np.average(np.asarray(SKINS)[pair], axis=0) + rng.normal(0, 3, 3)
    return Lesion(dx, Traits(**mixed), tuple(skin), int(rng.integers(2**32)))


def _aim(rng: np.random.Generator, n: int) -> View:
    """Draws rotation, zoom and shift of one photograph of n x n pixels."""
    angle, scale = rng.uniform(0, 2 * np.pi), n * rng.uniform(0.25, 0.34)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = n / 2 + rng.uniform(-0.07, 0.07, 2) * n
    matrix = np.hstack([scale * turn, shift[:, None]])
    y, x = np.mgrid[:n, :n].astype(np.float32)
    uv = np.stack([x - shift[0], y - shift[1]], -1) @ (turn / scale).astype(np.float32)
    return View(np.ascontiguousarray(uv[..., 0]), np.ascontiguousarray(uv[..., 1]), matrix, scale)


def _noise(rng: np.random.Generator, view: View, cells: int) -> Array:
    """Smooth noise (n, n), about unit variance, `cells` grid cells across 6 lesion radii."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32) * 1.4
    step = (cells - 1) / 6
    return cv2.remap(grid, (view.u + 3) * step, (view.v + 3) * step, cv2.INTER_CUBIC,
                     borderMode=cv2.BORDER_REFLECT)  # fmt: skip


def _step(x: Array, low: float, high: float) -> Array:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _blend(image: Array, colour: Colour | Array, weight: Array) -> None:
    """Mixes an RGB colour into the (n, n, 3) image in place; (n, n) weights, capped at 1."""
    image += np.minimum(weight, 1)[..., None] * (np.asarray(colour, np.float32) - image)


def _mesh(rng: np.random.Generator, view: View, period: float, disorder: float) -> Array:
    """Honeycomb (n, n): 0 in the holes, 1 on the lines; `disorder` bends and breaks it."""
    bend = disorder * period * 0.9
    u = view.u + bend * _noise(rng, view, 24)
    v = view.v + bend * _noise(rng, view, 24)
    angles = rng.uniform(0, np.pi) + np.arange(3) * np.pi / 3
    waves = [np.cos((u * np.cos(a) + v * np.sin(a)) * (2 * np.pi / period)) for a in angles]
    gaps = np.clip(1 - 0.7 * disorder * np.abs(_noise(rng, view, 12)), 0, 1)
    return _step(-(waves[0] + waves[1] + waves[2]), -0.5, 1.4) * gaps


def _weights(canvas: Array, sigma: float) -> Array:
    """Turns an (n, n) uint8 canvas into float32 weights 0..1, blurred by `sigma` pixels."""
    weights = canvas.astype(np.float32) / 255
    return cv2.GaussianBlur(weights, (0, 0), sigma) if sigma > 0.3 else weights


def _strokes(view: View, lines: Sequence[tuple[Array, float]]) -> Array:
    """Draws (points (k, 2), width in lesion radii) lines; ones thinner than a pixel fade."""
    canvas = np.zeros(view.u.shape, np.uint8)
    for points, width in lines:
        pixels = width * view.scale
        shade = (255 * min(1.0, pixels),)
        cv2.polylines(canvas, [view.points(points)], False, shade, max(1, round(pixels)),
                      cv2.LINE_AA, shift=4)  # fmt: skip
    return _weights(canvas, 0.004 * view.scale)


def _outline(rng: np.random.Generator, traits: Traits) -> Array:
    """Lesion radius at 256 angles: a mean radius times random waves around the border."""
    waves = np.zeros(129, complex)
    sizes = np.r_[[traits.asymmetry] * 2, [traits.irregularity * 0.8] * 7] / 2
    waves[2:11] = sizes * (rng.normal(size=9) + 1j * rng.normal(size=9))
    waves[4:11] /= np.sqrt(np.arange(1, 8))
    radius = rng.uniform(0.8, 1.1) * (1 + np.fft.irfft(waves, 256) * 128)
    return 0.95 + 0.5 * np.tanh((radius - 0.95) / 0.5)


def _radius(outline: Array, theta: Array) -> Array:
    """Lesion radius at the angles `theta` in radians."""
    turns = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    return np.interp(theta, turns, outline, period=2 * np.pi)


def _scatter(rng: np.random.Generator, outline: Array, count: int, reach: float) -> Array:
    """(count, 2) points spread evenly over the lesion up to `reach` times its radius."""
    theta = rng.uniform(0, 2 * np.pi, count)
    r = reach * np.sqrt(rng.uniform(0, 1, count)) * _radius(outline, theta)
    return np.stack([r * np.cos(theta), r * np.sin(theta)], -1)


def _dots(
    rng: np.random.Generator, view: View, outline: Array, style: Dots, strength: float
) -> Array:
    """Weights (n, n) of one kind of dots; a stronger sign means more of them."""
    canvas = np.zeros(view.u.shape, np.uint8)
    centres = _scatter(rng, outline, int(rng.poisson(style.count * strength)), style.reach)
    for centre in view.points(centres):
        long = rng.uniform(*style.radii) * view.scale * 16
        axes = (round(long), round(long * rng.uniform(0.55, 1.0)))
        cv2.ellipse(canvas, centre.tolist(), axes, rng.uniform(0, 180), 0, 360,
                    (rng.uniform(140, 255),), -1, cv2.LINE_AA, shift=4)  # fmt: skip
    return style.opacity * _weights(canvas, style.blur * view.scale)


def _branches(
    rng: np.random.Generator, start: Array, angle: float, length: float, width: float
) -> list[tuple[Array, float]]:
    """A vessel tree: a bent stem that forks until the twigs are short."""
    bend = rng.normal(0, 0.25, 5).cumsum() + angle
    steps = np.stack([np.cos(bend), np.sin(bend)], -1) * length / 5
    stem = np.vstack([start, start + steps.cumsum(0)])
    tree = [(stem, width)]
    if length > 0.2:
        for fork in (-0.6, 0.6):
            side = bend[-1] + fork * rng.uniform(0.6, 1.4)
            tree += _branches(rng, stem[-1], side, length * rng.uniform(0.55, 0.8), width * 0.75)
    return tree


def _vessels(rng: np.random.Generator, outline: Array, strength: float) -> list:
    """Vessel trees that enter the lesion from its border."""
    trees = []
    for theta in rng.uniform(0, 2 * np.pi, rng.poisson(3.5 * strength)):
        start = 0.95 * _radius(outline, theta) * np.array([np.cos(theta), np.sin(theta)])
        inward = theta + np.pi + rng.normal(0, 0.4)
        trees += _branches(rng, start, inward, rng.uniform(0.4, 0.65), rng.uniform(0.02, 0.035))
    return trees


def _streaks(rng: np.random.Generator, outline: Array, strength: float) -> list:
    """Radial lines across the border, on one side of the lesion."""
    middle, count = rng.uniform(0, 2 * np.pi), rng.poisson(16 * strength)
    lines = []
    for theta in middle + rng.uniform(-1.3, 1.3, count):
        reach = _radius(outline, theta) * np.linspace(rng.uniform(0.65, 0.85), 1.12, 4)
        bent = theta + np.linspace(0, rng.normal(0, 0.1), 4)
        points = np.stack([np.cos(bent), np.sin(bent)], -1) * reach[:, None]
        width = rng.uniform(0.02, 0.05)
        lines += [(points[:3], width), (points, width / 2)]
    return lines


def _skin(rng: np.random.Generator, view: View, skin: Colour) -> Array:
    """Bare skin (n, n, 3) float32 with patches, grain and fine furrows."""
    light = 5 * _noise(rng, view, 6) + 3 * _noise(rng, view, 70)
    light -= 9 * np.exp(-((_noise(rng, view, 34) / 0.25) ** 2))
    image = np.asarray(skin, np.float32) + light[..., None]
    _blend(image, (214, 130, 120), 0.12 * np.clip(_noise(rng, view, 8), 0, 1.5))
    return image


def _body(rng: np.random.Generator, view: View, traits: Traits, skin: Colour) -> Array:
    """Lesion colours (n, n, 3) without structures; darker skin darkens the lesion too."""
    image = np.empty((*view.u.shape, 3), np.float32)
    image[:] = traits.base
    for colour, rarity in ((traits.second, 1.5), (traits.third, 2.0)):
        edge = rarity - 2.0 * traits.variegation
        _blend(image, colour, 0.9 * _step(_noise(rng, view, 9), edge - 0.8, edge + 0.8))
    image += (4 * _noise(rng, view, 20) + 4 * _noise(rng, view, 60))[..., None]
    return image * np.sqrt(np.mean(skin) / 195)


def _paint(lesion: Lesion, view: View) -> tuple[Array, Array]:
    """Draws skin and lesion: image (n, n, 3) float32 in about 0..255 and mask (n, n) bool."""
    rng, traits = np.random.default_rng(lesion.seed), lesion.traits
    outline = _outline(rng, traits)
    radius = _radius(outline, np.arctan2(view.v, view.u)).astype(np.float32)
    depth = 1 - np.hypot(view.u, view.v) / radius
    depth += 0.6 * traits.irregularity * _noise(rng, view, 26)
    inside = _step(depth, -traits.softness, traits.softness)
    image = _skin(rng, view, lesion.skin)
    body = _body(rng, view, traits, lesion.skin)
    image += (0.92 * inside)[..., None] * (body - image)
    _blend(image, (238, 210, 198), min(0.8, traits.scar) * inside * _step(depth, 0.35, 0.75))
    rim = 1 - min(1.0, traits.ring) * _step(depth, 0.2, 0.5)
    mesh = _mesh(rng, view, rng.uniform(0.17, 0.23), traits.disorder)
    _blend(image, np.multiply(traits.second, 0.65), 0.6 * traits.network * mesh * inside * rim)
    red = _mesh(rng, view, rng.uniform(0.24, 0.30), 0.3)
    _blend(image, (176, 66, 62), 0.4 * traits.strawberry * red * inside)
    _blend(image, (238, 208, 168), 0.25 * traits.strawberry * _step(-red, -0.1, 0) * inside)
    for name, style in DOTS.items():
        weights = _dots(rng, view, outline, style, getattr(traits, name))
        _blend(image, style.colour, weights * inside)
    vessels = _strokes(view, _vessels(rng, outline, traits.vessels))
    _blend(image, (172, 36, 44), 0.65 * vessels)
    streaks = _strokes(view, _streaks(rng, outline, traits.streaks))
    _blend(image, (52, 36, 34), 0.55 * streaks)
    return image, depth > 0


def _hairs(rng: np.random.Generator, view: View) -> Array:
    """Weights (n, n) of a few bent hairs across the frame, often none."""
    lines, main = [], rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 10) if rng.random() < 0.35 else 0):
        angle, middle = main + rng.normal(0, 0.5), rng.uniform(-1.8, 1.8, 2)
        along = np.linspace(-1, 1, 9)[:, None] * rng.uniform(0.6, 2.5)
        across = rng.normal(0, 0.2) * along**2
        way = np.array([np.cos(angle), np.sin(angle)])
        curve = middle + along * way + across * way[::-1] * (1, -1)
        lines.append((curve, rng.uniform(0.012, 0.028)))
    return _strokes(view, lines)


def _light(rng: np.random.Generator, image: Array) -> Array:
    """Applies exposure, colour cast, a light gradient, vignette and the lens' round edge."""
    y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[0] * 1j].astype(np.float32)
    slope = rng.normal(0, 0.06, 2)
    r = np.hypot(x, y)
    gain = 1 + slope[0] * x + slope[1] * y - rng.choice([0, 0.12, 0.3]) * r**3 / 2
    if rng.random() < 0.15:
        gain *= 1 - _step(r, *(rng.uniform(1.05, 1.2) + np.array([0, 0.06])))
    cast = np.exp(rng.normal(0, 0.025, 3) + rng.normal(-0.03, 0.06))
    return image * gain[..., None] * cast.astype(np.float32)


def photograph(rng: np.random.Generator, lesion: Lesion, size: int) -> tuple[Array, Array]:
    """Takes one photograph: image (size, size, 3) uint8 RGB, mask (size, size) uint8 0/255.

    `rng` decides what differs between photographs of a lesion: position, light, hairs, noise.
    """
    n = size * -(-96 // size)  # small sizes are drawn larger, so that thin lines survive
    view = _aim(rng, n)
    image, inside = _paint(lesion, view)
    _blend(image, (58, 44, 38), 0.75 * _hairs(rng, view))
    image = _light(rng, image)
    image = cv2.GaussianBlur(image, (0, 0), n * rng.uniform(0.002, 0.008))
    if n != size:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    mask = cv2.resize(inside.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    grain = rng.standard_normal((size, size, 3), np.float32) * np.float32(rng.uniform(1, 4))
    image = np.clip(image + grain, 0, 255).astype(np.uint8)
    return image, np.where(mask > 0.5, 255, 0).astype(np.uint8)


def draw_lesion(rng: np.random.Generator, *, dx: str, size: int) -> tuple[Array, Array]:
    """Draws one photograph of a new lesion of class `dx`; shapes as in `photograph`."""
    return photograph(rng, new_lesion(rng, dx), size)


AGES = {"nv": 45, "mel": 60, "bkl": 64, "bcc": 66, "akiec": 66, "vasc": 51, "df": 52}
SITES = ("back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest")
PROOFS = {  # how the diagnosis was confirmed; HAM10000's malignant classes are always "histo"
    "nv": ("histo", "follow_up", "consensus"), "bkl": ("histo", "consensus", "confocal"),
    "vasc": ("histo", "consensus"), "df": ("histo", "consensus"),
}  # fmt: skip


def _quota(lesions: int) -> list[str]:
    """One dx a lesion by CLASS_WEIGHTS, at least one of each; what rounding leaves is nv."""
    dx = [d for d, share in CLASS_WEIGHTS.items() for _ in range(max(1, int(share * lesions)))]
    return dx + ["nv"] * (lesions - len(dx))


def _plan(images: int, seed: int) -> pd.DataFrame:
    """The metadata table, one row an image, plus `lesion` (number of the lesion drawn)."""
    rng = np.random.default_rng([seed, 0])
    lesions = images - images // 6  # so a fifth of the lesions is photographed twice
    known = []
    numbers = rng.permutation(lesions)
    for lesion, dx in enumerate(rng.permutation(_quota(lesions)).tolist()):
        age = float(np.clip(5 * np.round(rng.normal(AGES[dx], 14) / 5), 5, 85))
        proof = str(rng.choice(PROOFS.get(dx, ("histo",))))
        sex, site = str(rng.choice(("male", "female"))), str(rng.choice(SITES))
        known.append((f"HAM_{numbers[lesion]:07d}", dx, proof, age, sex, site, lesion))
    shots = np.r_[np.arange(lesions), rng.choice(lesions, images - lesions, replace=False)]
    columns = ["lesion_id", "dx", "dx_type", "age", "sex", "localization", "lesion"]
    table = pd.DataFrame([known[i] for i in rng.permutation(shots)], columns=columns)
    table.insert(1, "image_id", [f"ISIC_{24306 + i:07d}" for i in range(images)])
    return table


def _write_one(job: tuple[int, int, str, Path, Path], *, size: int, seed: int) -> None:
    """Draws and writes one (image number, lesion number, dx, JPEG path, mask path)."""
    number, lesion_number, dx, image_path, mask_path = job
    # A generator for each image keeps its pixels the same whichever process draws it.
    lesion = new_lesion(np.random.default_rng([seed, 1, lesion_number]), dx)
    image, mask = photograph(np.random.default_rng([seed, 2, number]), lesion, size)
    jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    image_path.write_bytes(jpeg.tobytes())
    mask_path.write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def _draw_all(folder: Path, table: pd.DataFrame, size: int, seed: int, workers: int) -> None:
    """Draws every row of the table into the folder, in `workers` processes."""
    for name in (*PARTS, MASKS):
        (folder / name).mkdir()
    jobs = []
    for number, row in enumerate(table.itertuples()):
        image = folder / PARTS[2 * number >= len(table)] / f"{row.image_id}.jpg"
        mask = folder / MASKS / f"{row.image_id}_segmentation.png"
        jobs.append((number, row.lesion, row.dx, image, mask))
    draw = partial(_write_one, size=size, seed=seed)
    with ExitStack() as stack:
        done: Iterable[None] = map(draw, jobs)
        if workers > 1:  # spawned, because a fork of a process that runs TensorFlow can hang
            pool = multiprocessing.get_context("spawn").Pool(workers, cv2.setNumThreads, (1,))
            done = stack.enter_context(pool).imap_unordered(draw, jobs, chunksize=16)
        for _ in tqdm(done, total=len(jobs), desc="draw", unit="image"):
            pass


def _is_done(out: Path, recipe: dict[str, int]) -> bool:
    """Whether `out` holds this very data set; False if it is free.

    Raises:
        UserError: `out` holds anything else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    try:
        if (out / TABLE).is_file() and json.loads((out / STAMP).read_text()) == recipe:
            return True
    except (OSError, ValueError):
        pass
    made = ", ".join(f"{name} {value}" for name, value in recipe.items())
    raise UserError(f"{out} exists and is not the drawn data set with {made}; name another folder")


def write_dataset(
    out: Path | str, *, images: int = 1200, size: int = 128, seed: int = 0,
    workers: int | None = None,
) -> None:  # fmt: skip
    """Writes the data set to `out`, or leaves it alone if it is already there.

    Args:
        out: New or empty folder; filled as `<out>.partial` and renamed at the end.
        images: Number of photographs, at least 10; about five sixths as many lesions.
        size: Height and width in pixels, at least 32.
        seed: 0 or more; on one machine the same seed gives the same bytes, whatever `workers`.
        workers: Processes; None: this one alone, which is quicker up to some thousand images.
            More need the caller's script to have an `if __name__ == "__main__"` guard.

    Raises:
        UserError: A number out of range, or `out` holds anything else.
    """
    out = Path(out)
    recipe = {"images": images, "size": size, "seed": seed, "drawing_version": DRAWING_VERSION}
    for name, least in (("images", MIN_IMAGES), ("size", MIN_SIZE), ("seed", 0)):
        if recipe[name] < least:
            raise UserError(f"{name} is {recipe[name]}, expected at least {least}")
    if _is_done(out, recipe):
        print(f"{out} already holds these {images} drawn images, nothing to do")
        return
    partly = Path(f"{out.absolute()}.partial")
    if partly.exists() and any(partly.iterdir()) and not (partly / STAMP).is_file():
        raise UserError(f"{partly} is in the way and was not written by this command")
    shutil.rmtree(partly, ignore_errors=True)
    partly.mkdir(parents=True)
    (partly / STAMP).write_text(json.dumps(recipe, indent=2) + "\n")
    table = _plan(images, seed)
    _draw_all(partly, table, size, seed, workers or 1)
    table.drop(columns="lesion").to_csv(partly / TABLE, index=False)
    if out.exists():
        out.rmdir()  # empty, and not every system renames onto a folder
    partly.rename(out)
    print(f"wrote {images} drawn images of {table.lesion_id.nunique()} lesions, "
          f"{size} x {size} pixels, to {out}")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code, 1 with one line on stderr if nothing was written."""
    parser = argparse.ArgumentParser(prog="tfrecords.synthetic", description="Draws a data set.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--images", type=int, default=1200, help="number (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args(argv)
    try:
        write_dataset(args.out, images=args.images, size=args.size, seed=args.seed)
    except (UserError, OSError) as error:  # OSError: no room, no permission
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
