"""What the viewer shows: the files of the runs, as small as a page can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib import colormaps

from attnrobust import task
from attnrobust.disk import schemas
from attnrobust.disk.runs import attack_file
from attnrobust.report import samples
from attnrobust.report.results import Estimate, Result, key, number, of_255
from attnrobust.report.viewer import encoded

# Bytes of pictures before base64 adds a third, and what each kind may take a pixel. Where a page
# would need more, all take less; below LEAST of that, fewer images are shown instead.
BYTES = 6_500_000
IMAGE, CHANGE, HEATMAP = 0.35, 0.6, 0.12
LEAST = 0.2
WORKERS = 2
# Images of a run whose logits the page keeps.
IMAGES = 2000
# A change below this cannot be seen in a picture of 8 bits: the clean one is shown.
STEP = 1 / 255
COLOURS = {"heatmap": samples.COLOUR_MAP, "change": "PuOr", "mask": "turbo"}
# Maps of classes over an image: what the model makes of it, and the label. Few bytes, no loss.
FOUND, TRUE, MASK = "predicted mask", "true mask", 1.0


@dataclass
class Images:
    """The test images of one data set, numbered in the order in which runs name them.

    Attributes:
        classes: Names, in the order of the logits.
        graded: Whether images have a Dice instead of a class.
        number: Of each id.
        labels: True class of each; 0 for all where they have a Dice.
        views: One for each run under each of its attacks.
        levels: Of each epsilon its text, and that of 255 times it.
    """

    classes: tuple[str, ...]
    graded: bool = False
    number: dict[str, int] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    levels: dict[str, tuple[str, str]] = field(default_factory=dict)

    def rows(self, ids: Sequence[str], labels: np.ndarray, first: Sequence[str]) -> list[int]:
        """Which rows of a file the page keeps: those whose pictures it has, then in their order."""
        wanted = {*first, *self.number}
        spare = IMAGES - sum(each in wanted for each in ids)
        kept = []
        for row, each in enumerate(ids):
            if each not in wanted:
                spare -= 1
                if spare < 0:
                    continue
            if each not in self.number:
                self.number[each] = len(self.labels)
                self.labels.append(0 if self.graded else int(labels[row]))
            kept.append(row)
        return kept


def read(results: Sequence[Result]) -> dict[str, Any] | None:
    """All that the viewer needs, of JSON values; None where no run was attacked.

    Raises:
        UserError: A damaged file, or heatmaps of other images than the attack kept.
    """
    shown = [each for each in results if _attacked(each)]
    if not shown:
        return None
    share, count = shares(shown)
    sets: dict[str, Images] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        store = encoded.Store(share, pool)
        for result in shown:
            graded = result.headline == "dice"
            known = sets.setdefault(_set_of(result, sets), Images(result.classes, graded))
            known.views.append(_view(result, known, store, count))
            for epsilon in (0.0, *result.epsilons):
                known.levels[key(epsilon)] = (number(epsilon), of_255(result, epsilon))
        pictures = store.pictures()
    return {
        "colours": {name: _ramp(colours) for name, colours in COLOURS.items()},
        "pictures": pictures,
        "sets": [
            {
                "name": name,
                "classes": known.classes,
                "metric": "Dice" if known.graded else "Accuracy",
                "right": task.RIGHT_DICE if known.graded else None,
                "ids": list(known.number),
                "labels": known.labels,
                "levels": known.levels,
                "views": known.views,
            }
            for name, known in sets.items()
        ],
    }


def _attacked(result: Result) -> bool:
    """Whether the files of the attack are there."""
    place = result.path("attack", attack_file(result.setting.name, 0))
    return bool(result.attack and result.epsilons and place.is_file())


def _set_of(result: Result, sets: dict[str, Images]) -> str:
    """A data set's name; runs with other classes are a set of their own."""
    names = (result.dataset, *(f"{result.dataset} ({n})" for n in range(2, len(sets) + 3)))
    return next(each for each in names if each not in sets or sets[each].classes == result.classes)


def shares(results: Sequence[Result]) -> tuple[float, int]:
    """What part of its bytes each picture gets, and how many images of a run are shown."""
    needed = sum(result.setting.samples * _wanted(result) for result in results)
    most = max((result.setting.samples for result in results), default=0)
    share = min(1.0, BYTES / max(1.0, needed))
    if share >= LEAST:
        return share, most
    count = max(min(4, most), math.floor(most * share / LEAST))
    return min(LEAST, share * most / max(1, count)), count


def _wanted(result: Result) -> float:
    """Bytes that one sample's pictures may take at all epsilons."""
    # The attacked image is a picture of its own only where its change can be seen.
    seen = sum(result.norm != "linf" or epsilon >= STEP for epsilon in result.epsilons)
    levels = 1 + len(result.epsilons)
    a_pixel = (1 + seen) * IMAGE + levels * (CHANGE + HEATMAP * len(result.explanation.methods))
    return result.run.experiment.data.image_size**2 * a_pixel


def _view(result: Result, known: Images, store: encoded.Store, count: int) -> dict[str, Any]:
    """A run under one attack: what it says of every image at every epsilon, and its samples."""
    found = [
        (epsilon, schemas.load_npz(path, schemas.ATTACKED))
        for epsilon in (0.0, *result.epsilons)
        if (path := result.path("attack", attack_file(result.setting.name, epsilon))).is_file()
    ]
    clean = found[0][1]
    ids = [str(each) for each in clean["id"]]
    shown = [str(each) for each in clean["sample_id"]][:count]
    kept = known.rows(ids, clean["label"], shown)
    places = [ids[row] for row in kept]
    target = result.setting.target
    aim = result.classes.index(target) if target in result.classes else None
    view: dict[str, Any] = {
        "run": result.name,
        "attack": result.attack,
        "named": result.named,
        "images": [known.number[each] for each in places],
        "count": len(ids),
        "samples": [known.number[each] for each in shown],
        "explains": result.explanation.target,
        "levels": [key(epsilon) for epsilon, _ in found],
        "curve": [_point(result, epsilon) for epsilon, _ in found],
    }
    level = _graded if known.graded else _level
    parts = [level(arrays, places, aim) for _, arrays in found]
    view |= {name: [part[name] for part in parts] for name in parts[0]}
    view["pictures"] = [
        _pictures(clean["sample_image"][:count], arrays, shown, store) for _, arrays in found
    ]
    masks = {FOUND: "prediction", TRUE: "label"} if known.graded else {}
    view["masks"] = list(masks)
    view["heatmaps"] = {
        name: [_masks(arrays, of, shown, len(result.classes), store) for _, arrays in found]
        for name, of in masks.items()
    }
    for method in result.explanation.methods:
        maps = [_heatmaps(result, method, epsilon, shown, store) for epsilon, _ in found]
        if not masks or any(maps):
            view["heatmaps"][method] = maps
    return view


def _graded(
    arrays: dict[str, np.ndarray], places: Sequence[str], aim: int | None
) -> dict[str, Any]:
    """Dice of these ids in this order, and whether it is too little."""
    row = {str(each): number for number, each in enumerate(arrays["id"])}
    order = [row[each] for each in places]
    scores = task.score_in(arrays)[order]
    fallen = np.where(scores >= task.RIGHT_DICE, task.RIGHT, task.FALLEN)
    return {"scores": encoded.floats(scores), "reached": "".join(map(str, fallen))}


def _masks(
    arrays: dict[str, np.ndarray], of: str, ids: Sequence[str], classes: int, store: encoded.Store
) -> list[int | None]:
    """Of each sample its map of classes, 0 to 255; None where it is background alone."""
    row = {str(each): number for number, each in enumerate(arrays["id"])}
    maps = [arrays[of][row[each]] for each in ids]
    scale = 255 / max(1, classes - 1, *(int(each.max()) for each in maps))
    return [
        store.add((each * scale + 0.5).astype(np.uint8), MASK) if each.any() else None
        for each in maps
    ]


def _point(result: Result, epsilon: float) -> list[float | None] | None:
    """Accuracy or Dice at an epsilon with its interval and n."""
    found: Estimate | None = result.under(result.headline, epsilon)
    found = found or (None if epsilon else result.clean[result.headline])
    if found is None or not math.isfinite(found.value):
        return None
    ends = (found.low, found.high) if found.has_interval else (None, None)
    return [found.value, *ends, found.n]


def _level(arrays: dict[str, np.ndarray], places: Sequence[str], aim: int | None) -> dict[str, Any]:
    """Logits, predictions and what the attack reached, of these ids in this order."""
    row = {str(each): number for number, each in enumerate(arrays["id"])}
    order = [row[each] for each in places]
    logits, labels = arrays["logits"][order], arrays["label"][order]
    reached = task.of(logits).reached(logits, labels, aim)
    return {
        "logits": encoded.floats(logits),
        "predictions": task.predict(logits).tolist(),
        "reached": "".join(map(str, reached)),
    }


def _pictures(
    clean: np.ndarray, arrays: dict[str, np.ndarray], ids: Sequence[str], store: encoded.Store
) -> list[tuple[int, int, bool, str, str] | None]:
    """Of each sample what the page shows of it.

    Its image, its perturbation, whether the image is the clean one because no more can be seen, the
    largest change times 255, and how many times larger it is shown than it is (empty: not at all).
    """
    row = {str(each): number for number, each in enumerate(arrays["sample_id"])}
    found: list[tuple[int, int, bool, str, str] | None] = []
    for image, name in zip(clean, ids, strict=True):
        if name not in row:
            found.append(None)
            continue
        perturbed = arrays["sample_image"][row[name]]
        change = perturbed.astype(np.float32) - image
        largest = float(np.abs(change).max())
        hidden = 0 < largest < STEP
        grey, factor = shown_change(change)
        numbers = (
            store.add(encoded.levels(image if hidden else perturbed), IMAGE),
            store.add(encoded.levels(grey), CHANGE),
        )
        words = number(255 * largest, 3), f"{factor:,.0f}" if factor else ""
        found.append((*numbers, hidden, *words))
    return found


def shown_change(change: np.ndarray) -> tuple[np.ndarray, float]:
    """A perturbation as grey: the mean of its channels, 0.5 where that is 0, by its own maximum.

    Args:
        change: float32 (H, W, 3).

    Returns:
        Grey (H, W) in [0, 1], and how many times larger it shows the mean than it is; 0: no change.
    """
    mean = change.mean(axis=-1)
    peak = float(np.abs(mean).max())
    if peak == 0:
        return np.full_like(mean, 0.5), 0.0
    return np.asarray(0.5 + mean / (2 * peak)), 1 / (2 * peak)


def _heatmaps(
    result: Result, method: str, epsilon: float, ids: Sequence[str], store: encoded.Store
) -> list[int | None] | None:
    """Of each sample its heatmap in grey by its own maximum; None: a map of zeros."""
    maps = samples.heatmaps(result, method, epsilon, ids) if ids else None
    if maps is None:
        return None
    return [store.add(encoded.levels(each), HEATMAP) if each.any() else None for each in maps]


def _ramp(name: str) -> str:
    """The 256 colours of a colour map, RGB bytes."""
    colours = np.asarray(colormaps[name](np.arange(256), bytes=True))
    return encoded.text(colours[:, :3].tobytes())
