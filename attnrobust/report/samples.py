"""Sample images, their perturbations and heatmaps: read from a run, brought to a visible range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps

from attnrobust import task
from attnrobust.disk import schemas
from attnrobust.disk.runs import attack_file
from attnrobust.errors import UserError
from attnrobust.report.results import Result

COLOUR_MAP = "inferno"


@dataclass(frozen=True)
class Condition:
    """The samples at one epsilon.

    Attributes:
        epsilon: In [0, 1] pixel scale; 0 is without an attack.
        images: float32 RGB (S, H, W, 3) in [0, 1].
        predictions: Class predicted for every image (S,).
        heatmaps: Explanation of every image (S, h, w), each in [0, 1] by its own maximum.
    """

    epsilon: float
    images: np.ndarray
    predictions: np.ndarray
    heatmaps: np.ndarray


@dataclass(frozen=True)
class Samples:
    """The sample images of one run under one explanation method.

    Attributes:
        result: The run.
        method: Explanation method.
        ids: Ids of the images (S,).
        labels: True classes (S,).
        clean: Without an attack.
        attacked: At every epsilon that was attacked and explained, rising.
    """

    result: Result
    method: str
    ids: tuple[str, ...]
    labels: np.ndarray
    clean: Condition
    attacked: tuple[Condition, ...]

    def changed(self, condition: Condition) -> np.ndarray:
        """Which predictions the attack changed, bool (S,)."""
        return condition.predictions != self.clean.predictions

    def telling(self) -> Condition | None:
        """The epsilon at which about half of the predictions have changed.

        Below it nearly every pair of heatmaps shows the same class, above it nearly none does.
        """
        if not self.attacked:
            return None
        return min(self.attacked, key=lambda each: abs(float(self.changed(each).mean()) - 0.5))


def read(result: Result, method: str) -> Samples | None:
    """The samples of a run, or None where they were not attacked or not explained yet.

    Raises:
        UserError: A damaged file, or heatmaps of other images than the attack kept.
    """
    clean = _condition(result, method, 0.0)
    if clean is None:
        return None
    ids, labels, condition = clean
    attacked = []
    for epsilon in result.epsilons:
        found = _condition(result, method, epsilon)
        if found is not None and found[0] == ids:
            attacked.append(found[2])
    return Samples(result, method, ids, labels, condition, tuple(attacked))


def _condition(
    result: Result, method: str, epsilon: float
) -> tuple[tuple[str, ...], np.ndarray, Condition] | None:
    attack_path = result.path("attack", attack_file(result.setting.name, epsilon))
    if not attack_path.is_file():
        return None
    attacked = schemas.load_npz(attack_path, schemas.ATTACKED)
    ids = tuple(str(each) for each in attacked["sample_id"])
    maps = heatmaps(result, method, epsilon, ids) if ids else None
    if maps is None:
        return None
    rows = {str(each): row for row, each in enumerate(attacked["id"])}
    order = [rows[each] for each in ids]
    condition = Condition(
        epsilon=epsilon,
        images=attacked["sample_image"],
        predictions=task.predict(attacked["logits"][order]),
        heatmaps=maps,
    )
    return ids, attacked["label"][order], condition


def heatmaps(result: Result, method: str, epsilon: float, ids: Sequence[str]) -> np.ndarray | None:
    """Heatmaps of these samples (S, h, w), each in [0, 1] by its own maximum; None: none made.

    Raises:
        UserError: A damaged file, or heatmaps of other images than the attack kept.
    """
    attack = attack_file(result.setting.name, epsilon)
    path = result.path("explain", f"{method}-{attack if epsilon else 'clean.npz'}")
    if not path.is_file():
        return None
    explained = schemas.load_npz(path, schemas.EXPLAINED)
    places = {str(each): row for row, each in enumerate(explained["id"])}
    if not set(ids) <= places.keys():
        raise UserError(
            f"{path}: heatmaps of other images than in {result.path('attack', attack)}; "
            "run 'explain' again with --force"
        )
    return np.stack([normalise(explained["heatmap"][places[each]]) for each in ids])


def normalise(heatmap: np.ndarray) -> np.ndarray:
    """A heatmap divided by its own maximum: (h, w) >= 0 -> float32 (h, w) in [0, 1].

    A map of zeros stays zero; what is not finite counts as 0.
    """
    heatmap = np.nan_to_num(heatmap.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    heatmap = np.maximum(heatmap, 0)
    peak = heatmap.max(initial=0)
    return heatmap / peak if peak > 0 else heatmap


def scale_perturbation(clean: np.ndarray, perturbed: np.ndarray) -> tuple[np.ndarray, float]:
    """A perturbation made visible: 0 is mid grey, ± its own largest value is the full range.

    Args:
        clean: float32 (H, W, 3) in [0, 1].
        perturbed: Same shape and range.

    Returns:
        Picture (H, W, 3) in [0, 1], and how many times larger it shows differences than they are
        (1 / twice the largest; 0 where nothing was changed).
    """
    difference = perturbed.astype(np.float32) - clean.astype(np.float32)
    peak = float(np.abs(difference).max(initial=0))
    if peak == 0:
        return np.full_like(difference, 0.5), 0.0
    return 0.5 + difference / (2 * peak), 1 / (2 * peak)


def overlay(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """A heatmap in colours over the image in grey.

    Grey, so that every colour in the picture comes from the heatmap.

    Args:
        image: RGB (H, W, 3) in [0, 1].
        heatmap: (h, w) in [0, 1]; resized to the image.

    Returns:
        RGB (H, W, 3) in [0, 1].
    """
    height, width = image.shape[:2]
    if heatmap.shape != (height, width):
        heatmap = cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR)
    grey = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    colour = colormaps[COLOUR_MAP](np.clip(heatmap, 0, 1))[..., :3]
    # Where the map is low the image shows through; where it is high the colour does.
    share = (0.25 + 0.45 * np.clip(heatmap, 0, 1))[..., None]
    return np.clip((1 - share) * grey[..., None] + share * colour, 0, 1)


def choose(samples: Sequence[Samples], count: int) -> list[str]:
    """Ids of the images that show most, for figures of a few images.

    First those that most models name rightly without an attack, get wrong at the largest epsilon,
    but not at once at the smallest; of several true classes rather than of one.

    Args:
        samples: One for each model; images that not all of them hold are left out.
        count: At most this many.
    """
    shared = [i for i in samples[0].ids if all(i in each.ids for each in samples[1:])]
    score: dict[str, int] = {}
    for name in shared:
        points = 0
        for each in samples:
            row = each.ids.index(name)
            right = each.clean.predictions[row] == each.labels[row]
            falls = [bool(each.changed(condition)[row]) for condition in each.attacked]
            points += int(right) * (4 + (2 * falls[-1] + (not falls[0]) if falls else 0))
        score[name] = points
    best = sorted(shared, key=lambda name: -score[name])
    label = dict(zip(samples[0].ids, samples[0].labels, strict=True))
    chosen: list[str] = []
    for name in best:
        if label[name] not in [label[each] for each in chosen]:
            chosen.append(name)
    chosen += [name for name in best if name not in chosen]
    return chosen[:count]
