"""Heatmaps of runs that segment: image, where the class is, and the map of its logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from attnrobust import task
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import safe_name
from attnrobust.report import samples
from attnrobust.report.blocks import Asked, Block, Section
from attnrobust.report.figures import INK
from attnrobust.report.galleries import computed, explained
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import Result, number, slug

WORDS = (
    "A heatmap shows what the image tells of one class, by the sum of the class’s logits over all "
    "pixels; it explains {explained}, of class maps the structure with the most pixels. It lies "
    "over the image in grey and is scaled by its own maximum. White is where the label, or the "
    "model, has the class that is explained. In numbers below, an image counts as right from a "
    "Dice of {right} on."
)
HEADS = ("image", "label", "prediction", "heatmap", "adversarial", "its prediction", "its heatmap")
SHOWN = 4


@dataclass(frozen=True)
class State:
    """Sample images of a run under one condition, in their order.

    Attributes:
        ids: (S,).
        images: (S, H, W, 3) in [0, 1].
        labels: Class maps (S, H, W).
        predictions: Likewise.
        targets: Classes that are explained (S,).
        heatmaps: (S, H, W) in [0, 1].
    """

    ids: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    targets: np.ndarray
    heatmaps: np.ndarray


def section(results: Sequence[Result], _: Asked) -> Section | None:
    """A figure for each run, attack and method that was explained; None where none was."""
    pictures = [picture for result in results for picture in _of(result)]
    if not pictures:
        return None
    words = WORDS.format(explained=explained(results), right=number(task.RIGHT_DICE))
    words += computed(results)
    blocks: tuple[Block, ...] = (words, *pictures)
    return Section("heatmaps", "Heatmaps under attack", blocks)


def _of(result: Result) -> Iterator[Picture]:
    for method in result.explanation.methods:
        clean = read(result, method, 0.0)
        attacked = read(result, method, result.epsilons[-1]) if result.epsilons else None
        if clean and attacked:
            yield _figure(result, method, clean, attacked)


def read(result: Result, method: str, epsilon: float) -> State | None:
    """The samples and their maps; None where they were not attacked or not explained yet.

    Raises:
        UserError: A damaged file, or heatmaps of other images than the attack kept.
    """
    attack = runs.attack_file(result.setting.name, epsilon)
    path = result.path("explain", f"{method}-{attack if epsilon else 'clean.npz'}")
    if not path.is_file():
        return None
    found = schemas.load_npz(result.path("attack", attack), schemas.ATTACKED)
    ids = tuple(str(each) for each in found["sample_id"])
    maps = samples.heatmaps(result, method, epsilon, ids)
    kept = schemas.load_npz(path, {**schemas.EXPLAINED, "target": "i N"})
    places = {str(each): place for place, each in enumerate(found["id"])}
    rows = [places[each] for each in ids]
    order = [list(kept["id"]).index(each) for each in ids]
    assert maps is not None, "the file of heatmaps is there"
    return State(
        ids,
        found["sample_image"],
        found["label"][rows],
        task.predict_in(found)[rows],
        kept["target"][order],
        maps,
    )


def _figure(result: Result, method: str, clean: State, attacked: State) -> Picture:
    epsilon, rows = result.epsilons[-1], range(min(SHOWN, len(clean.ids)))
    figure = Figure(
        figsize=(10.4, 1.75 * len(rows) + 0.3), layout=ConstrainedLayoutEngine(w_pad=0.02)
    )
    grid = figure.subplots(len(rows), len(HEADS), squeeze=False)
    for row, axes in zip(rows, grid, strict=True):
        for head, ax, cell in zip(HEADS, axes, _cells(clean, attacked, row), strict=True):
            grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if cell.ndim == 2 else {}
            ax.imshow(cell, **grey, interpolation="nearest")
            ax.set_xticks([])
            ax.set_yticks([])
            if not row:
                ax.set_title(head, fontsize=9, color=INK)
        for ax, state in ((axes[3], clean), (axes[6], attacked)):
            _said(ax, result.class_name(int(state.targets[row])))
    return Picture(
        name=safe_name(f"heatmaps-{slug(result)}-{method}-{result.attack}"),
        pixels=render(figure),
        alt=f"Images of {result.label}, where a class is, and its {method} heatmap, without and "
        "under attack.",
        caption=f"{result.label}: {method} of the class named below each map, without and under "
        f"the attack at ε {number(epsilon)}; layer {result.explanation.layer}.",
        width=1040,
    )


def _cells(clean: State, attacked: State, row: int) -> tuple[np.ndarray, ...]:
    """What stands under HEADS, (H, W, 3) or, of black and white, (H, W)."""
    return (
        clean.images[row],
        clean.labels[row] == clean.targets[row],
        clean.predictions[row] == clean.targets[row],
        samples.overlay(clean.images[row], clean.heatmaps[row]),
        attacked.images[row],
        attacked.predictions[row] == attacked.targets[row],
        samples.overlay(attacked.images[row], attacked.heatmaps[row]),
    )


def _said(ax: Axes, text: str) -> None:
    ax.set_xlabel(text, fontsize=8, color=INK, labelpad=1)
