"""Draws a `Lesion` as one photograph and its mask, with NumPy and OpenCV alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tfrecords.synthetic_lesions import DOTS, Colour, Dots, Lesion, Traits, new_lesion

Array = np.ndarray


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


def _aim(rng: np.random.Generator, n: int) -> View:
    """Draws rotation, zoom and shift of one photograph of n x n pixels."""
    angle, scale = rng.uniform(0, 2 * np.pi), n * rng.uniform(0.25, 0.34)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = n / 2 + rng.uniform(-0.07, 0.07, 2) * n
    matrix = np.hstack([scale * turn, shift[:, None]])
    y, x = np.mgrid[:n, :n].astype(np.float32)
    across, down = shift.tolist()
    uv = np.stack([x - across, y - down], -1) @ (turn / scale).astype(np.float32)
    return View(np.ascontiguousarray(uv[..., 0]), np.ascontiguousarray(uv[..., 1]), matrix, scale)


def _noise(rng: np.random.Generator, view: View, cells: int) -> Array:
    """Smooth noise (n, n), about unit variance, `cells` grid cells across 6 lesion radii."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32) * 1.4
    step = (cells - 1) / 6
    return cv2.remap(
        grid,
        (view.u + 3) * step,
        (view.v + 3) * step,
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )


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
    ways = [(float(np.cos(angle)), float(np.sin(angle))) for angle in angles]
    waves = [np.cos((u * x + v * y) * (2 * np.pi / period)) for x, y in ways]
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
        cv2.polylines(
            canvas, [view.points(points)], False, shade, max(1, round(pixels)), cv2.LINE_AA, shift=4
        )
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
        cv2.ellipse(
            canvas,
            centre.tolist(),
            axes,
            rng.uniform(0, 180),
            0,
            360,
            (rng.uniform(140, 255),),
            -1,
            cv2.LINE_AA,
            shift=4,
        )
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
    return image * float(np.sqrt(np.mean(skin) / 195))


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
    across, down = rng.normal(0, 0.06, 2).tolist()
    r = np.hypot(x, y)
    gain = 1 + across * x + down * y - float(rng.choice([0, 0.12, 0.3])) * r**3 / 2
    if rng.random() < 0.15:
        edge = rng.uniform(1.05, 1.2)
        gain *= 1 - _step(r, edge, edge + 0.06)
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
