"""Segmentation under attack: curves, tables and predicted maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from attnrobust import task
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import safe_name
from attnrobust.measures.segmentation import MM, PX, SEGMENTATION_METRICS, SIZES
from attnrobust.report import robustness
from attnrobust.report.blocks import Asked, Block, Section, Table
from attnrobust.report.figures import INK, MAPS, colours, name_classes
from attnrobust.report.pictures import Picture, render
from attnrobust.report.results import NOTHING, Estimate, Result, key, number, of_255, once, slug

WORDS = (
    "Dice is the mean over the structures of each image, and then over images, with a 95 % "
    "bootstrap interval by subject; a structure that an image does not have is left out. Under an "
    "attack the worse of the image with and without it counts. Distances are in pixels of the "
    "model’s images (px) where the records do not know their size in mm."
)
# The first metric in more than one way, then all others.
FIRST = next(iter(SEGMENTATION_METRICS))
COLUMNS = {
    FIRST: SEGMENTATION_METRICS[FIRST].title,
    f"{FIRST}_q05": "5 % quantile",
    f"{FIRST}_worst": "Worst 5 %",
    f"{FIRST}_volume": "By subject",
    **{
        row.named(name, unit): f"{row.title} ({unit})" if row.length else row.title
        for name, row in SEGMENTATION_METRICS.items()
        for unit in (MM, PX)
        if name != FIRST
    },
}
SHOWN = 4


def section(results: Sequence[Result], _: Asked) -> Section:
    """Curves of Dice against epsilon, tables, maps of the sample images."""
    said = [
        f"{result.name}: Dice {result.clean['dice']} without an attack"
        + "".join(
            f", {found} at ε = {_radius(result, epsilon)} under {result.named}"
            for epsilon in result.epsilons[-1:]
            if (found := result.under("dice", epsilon))
        )
        for result in results
    ]
    return Section("segmentation", "Segmentation", _blocks(results), summary=tuple(said))


def _blocks(results: Sequence[Result]) -> Iterator[Block]:
    yield WORDS
    yield from robustness.accuracy_curves(results, colours(results))
    yield conditions(results)
    yield from classes(results)
    yield from sizes(results)
    for result in results:
        if result.epsilons:
            yield maps(result)


def conditions(results: Sequence[Result]) -> Table:
    """Every condition of every run."""
    rows, records = [], []
    columns = [metric for metric in COLUMNS if any(metric in each.clean for each in results)]
    for result in once(results):
        cells = [str(result.clean.get(metric, NOTHING)) for metric in columns]
        rows.append((result.name, "no attack", *cells))
        records += _records(result, "clean", "", result.clean)
        for name, found in result.corrupted.items():
            for level in sorted({level for _, level in found if level}):
                mine = {metric: value for (metric, at), value in found.items() if at == level}
                cells = [str(mine.get(metric, NOTHING)) for metric in columns]
                rows.append((result.name, f"{name}, severity {level}", *cells))
                records += _records(result, name, level, mine)
    for result in results:
        for epsilon in result.epsilons:
            mine = {m: v for (m, at), v in result.attacked.items() if at == key(epsilon)}
            cells = [str(mine.get(metric, NOTHING)) for metric in columns]
            rows.append((result.name, f"{result.named}, ε {_radius(result, epsilon)}", *cells))
            records += _records(result, result.named, key(epsilon), mine)
    return Table(
        name="segmentation",
        caption="Segmentation without and with attacks, on the test split.",
        columns=("Model", "Condition", *(COLUMNS[metric] for metric in columns)),
        rows=tuple(rows),
        frame=pd.DataFrame(records),
    )


def _records(
    result: Result, condition: str, level: str, found: Mapping[str, Estimate]
) -> list[dict[str, object]]:
    return [
        {
            "model": result.name,
            "condition": condition,
            "level": level,
            "metric": metric,
            "value": value.value,
            "low": value.low,
            "high": value.high,
            "n": value.n,
        }
        for metric, value in found.items()
    ]


def classes(results: Sequence[Result]) -> Iterator[Table]:
    """Dice of each structure without and under each attack at its largest epsilon."""
    for result in results:
        names = [metric for metric in result.clean if metric.startswith("dice[")]
        if not names or not result.epsilons:
            continue
        last = result.epsilons[-1]
        rows = [
            (
                name[5:-1],
                str(result.clean[name]),
                str(result.under(name, last) or NOTHING),
                f"{result.clean[name].n:,}",
            )
            for name in names
        ]
        yield Table(
            name=f"structures-{_file(result)}",
            caption=f"Dice of each structure, {result.label}, ε {_radius(result, last)}.",
            columns=("Structure", "No attack", "Under attack", "Images"),
            rows=tuple(rows),
            frame=pd.DataFrame(rows, columns=["structure", "clean", "attacked", "images"]),
        )


def sizes(results: Sequence[Result]) -> Iterator[Table]:
    """What structures of each size lose."""
    metrics = [f"dice_drop_{size}" for size in SIZES]
    rows = [
        (
            result.label,
            _radius(result, epsilon),
            *(str(result.under(metric, epsilon) or NOTHING) for metric in metrics),
            str(result.under("size_drop_rank", epsilon) or NOTHING),
        )
        for result in results
        for epsilon in result.epsilons
    ]
    if rows:
        columns = ("Model", "ε", *(f"{size} third" for size in SIZES), "Rank correlation")
        yield Table(
            name="structure-sizes",
            caption="Dice that an attack takes, by the size of the structure in its image.",
            columns=columns,
            rows=tuple(rows),
            frame=pd.DataFrame(rows, columns=list(columns)),
            note="Spearman’s correlation of size and drop: below 0, small structures lose more.",
        )


def maps(result: Result) -> Picture:
    """Sample images, their labels and what the model makes of them, at the largest epsilon."""
    epsilon = result.epsilons[-1]
    clean, attacked = (
        schemas.load_npz(
            result.path("attack", runs.attack_file(result.setting.name, level)), schemas.ATTACKED
        )
        for level in (0.0, epsilon)
    )
    chosen = attacked["sample_id"][:SHOWN]
    rows = [int(np.flatnonzero(clean["id"] == id_)[0]) for id_ in chosen]
    figure = Figure(
        figsize=(10.4, 1.9 * len(rows) + 0.3), layout=ConstrainedLayoutEngine(w_pad=0.02)
    )
    heads = ("image", "label", "prediction", "adversarial", "change", "its prediction")
    grid = figure.subplots(len(rows), len(heads), squeeze=False)
    every = (clean["label"], clean["prediction"], attacked["prediction"])
    most = max(1, *(int(each.max()) for each in every))
    scores = [task.score_in(state) for state in (clean, attacked)]
    for place, (row, axes) in enumerate(zip(rows, grid, strict=True)):
        before, after = clean["sample_image"][place], attacked["sample_image"][place]
        # Of an attack that knows no ball, ε being 1, nothing could be seen in units of ε.
        largest = float(np.abs(after - before).max()) or 1.0
        change = np.clip(0.5 + (after - before) / (2 * largest), 0, 1)
        cells = (
            before,
            clean["label"][row],
            clean["prediction"][row],
            after,
            change,
            attacked["prediction"][row],
        )
        for head, cell, ax in zip(heads, cells, axes, strict=True):
            colours_of = {"cmap": MAPS, "vmin": 0, "vmax": most}
            ax.imshow(cell, **(colours_of if cell.ndim == 2 else {}), interpolation="nearest")
            ax.set_axis_off()
            if not place:
                ax.set_title(head, fontsize=10, color=INK)
        axes[2].text(2, 4, f"{scores[0][row]:.2f}", color="white", va="top", fontsize=8)
        axes[5].text(2, 4, f"{scores[1][row]:.2f}", color="white", va="top", fontsize=8)
    name_classes(figure, [result.class_name(place) for place in range(most + 1)])
    return Picture(
        name=f"maps-{_file(result)}",
        pixels=render(figure),
        alt=f"Images, labels and predicted class maps of {result.label} without and under attack.",
        caption=f"{result.label}: sample images at ε {number(epsilon)}; the change is scaled to "
        "its largest value. Numbers are the Dice of the image.",
        width=1040,
    )


def _radius(result: Result, epsilon: float) -> str:
    return f"{number(epsilon)} ({of_255(result, epsilon)}/255)"


def _file(result: Result) -> str:
    """The name of a run and its attack for files."""
    return safe_name(f"{slug(result)}-{result.attack}")
