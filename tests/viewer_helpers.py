"""Two attacked and explained runs of few, plain images: what the viewer shows is known by hand."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from test_report import make_run

from attnrobust.disk.runs import Run, save_json, save_npz, save_text

EPSILONS = (0.01, 0.02, 0.04)
IDS = tuple(f"image-{i}" for i in range(12))
SAMPLES = (4, 1, 7)
# The level (0: without an attack, then EPSILONS) at which each image falls; 9: at none.
FALLS = {
    "first": (9, 1, 1, 2, 2, 3, 9, 3, 0, 0, 2, 1),
    "second": (9, 9, 1, 2, 3, 3, 9, 2, 0, 9, 2, 1),
}
LABELS = np.arange(12) % 2


def logits(name: str, level: int) -> np.ndarray:
    """What the run says of every image at a level, float32 (12, 2)."""
    fallen = np.array(FALLS[name]) <= level
    said = np.where(fallen, 1 - LABELS, LABELS)
    sure = 0.5 + 0.25 * np.arange(12) + 0.13 * level
    return (np.eye(2)[said] * sure[:, None]).astype(np.float32)


def image(number: int) -> np.ndarray:
    """A clean sample of one colour, float32 (16, 16, 3)."""
    return np.full((16, 16, 3), (100 + 10 * number, 80, 60), np.float32) / 255


def change(epsilon: float) -> np.ndarray:
    """A perturbation: up in the left half, down in the right one."""
    signs = np.ones((16, 16, 3), np.float32)
    signs[:, 8:] = -1
    return signs * np.float32(epsilon)


def heatmap(level: int) -> np.ndarray:
    """All of its evidence in one quarter, by the level."""
    map_ = np.zeros((16, 16), np.float16)
    row, column = divmod(level, 2)
    map_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 2
    return map_


def two_runs(
    root: Path, *, classes: Sequence[str] = ("nevus", "melanoma"), ids: Sequence[str] = IDS
) -> list[Run]:
    """The runs `first` and `second`, with heatmaps of grad_cam."""
    return [_run(root, name, classes, ids) for name in FALLS]


def _run(root: Path, name: str, classes: Sequence[str], ids: Sequence[str]) -> Run:
    run = make_run(root, name, epsilons=EPSILONS, classes=classes)
    shown = np.array(ids)[list(SAMPLES)]
    for level, epsilon in enumerate((0.0, *EPSILONS)):
        clean = np.stack([image(number) for number in SAMPLES])
        save_npz(
            run.path("attack", "linf_pgd", f"linf_pgd-{epsilon:g}.npz"),
            id=np.array(ids),
            label=LABELS,
            logits=logits(name, level),
            linf=np.full(12, epsilon),
            queries=np.full(12, 40),
            sample_id=shown,
            sample_image=(clean + change(epsilon)).astype(np.float32),
        )
        stem = f"grad_cam-linf_pgd-{epsilon:g}" if epsilon else "grad_cam-clean"
        save_npz(
            run.path("explain", "linf_pgd", f"{stem}.npz"),
            id=shown,
            heatmap=np.stack([heatmap(level)] * len(SAMPLES)),
        )
    return run


def dice(name: str, level: int) -> np.ndarray:
    """Dice of every image at a level: a little less at each, and a quarter from its fall on."""
    good = np.linspace(0.9, 0.98, 12) - 0.02 * level
    return np.where(np.array(FALLS[name]) <= level, good / 4, good)


def segmenting_runs(root: Path) -> list[Run]:
    """The same images and falls, of models that segment: a square of 8 by 8 pixels."""
    made = two_runs(root, classes=("background", "lesion"))
    label = np.zeros((12, 16, 16), np.uint8)
    label[:, 4:12, 4:12] = 1
    for name, run in zip(FALLS, made, strict=True):
        shutil.rmtree(run.path("explain"))
        save_json(run.path("predict", "stage.json"), {"used": {}, "inputs": "", "finished": True})
        measured = run.path("evaluate", "measurements.csv")
        save_text(measured, measured.read_text().replace(",accuracy,", ",dice,"))
        places = [(0, run.path("predict", "clean.npz"))]
        places += [
            (level, run.path("attack", "linf_pgd", f"linf_pgd-{epsilon:g}.npz"))
            for level, epsilon in enumerate((0.0, *EPSILONS))
        ]
        for level, place in places:
            arrays = dict(np.load(places[1][1]) if place == places[0][1] else np.load(place))
            for gone in ("logits", "label", "prediction"):
                arrays.pop(gone, None)
            found = np.zeros_like(label)
            for each, size in zip(found, squares(name, level), strict=True):
                each[4:12, 4:12].flat[:size] = 1
            if place == places[0][1]:
                arrays = {"id": arrays["id"]}
            save_npz(place, **arrays, label=label, prediction=found)
    return made


def squares(name: str, level: int) -> np.ndarray:
    """Pixels of 64 that each image's mask has: its Dice is twice that by 64 more."""
    return np.round(64 * dice(name, level) / (2 - dice(name, level))).astype(int)
