"""Sheets of samples: image, perturbation and heatmaps at one epsilon, or at every one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnrobust.report.cells import GAP, LEFT, PAGE, Cell, Row, draw, side_of
from attnrobust.report.figures import INK
from attnrobust.report.pictures import Picture
from attnrobust.report.results import NOTHING, number
from attnrobust.report.samples import Condition, Samples, overlay, scale_perturbation

RIGHT, WRONG = "#0072B2", "#B8430A"  # Told apart by colour-blind readers too.


def grid(samples: Samples, condition: Condition, rows: Sequence[int]) -> tuple[np.ndarray, int]:
    """Clean image, its heatmap, perturbed image, perturbation and heatmap, a row for each sample.

    Args:
        samples: The samples of one run.
        condition: One of `samples.attacked`.
        rows: Which samples, by index.

    Returns:
        As `draw`.
    """
    clean = samples.clean
    lines = []
    for row in rows:
        image, perturbed = clean.images[row], condition.images[row]
        picture, factor = scale_perturbation(image, perturbed)
        note = f"×{factor:,.0f}" if factor else "unchanged"
        cells = (
            Cell(image),
            _heatmap(image, clean.heatmaps[row]),
            Cell(perturbed),
            Cell(picture, note),
            _heatmap(perturbed, condition.heatmaps[row]),
        )
        lines.append(Row(_about(samples, condition, row), cells))
    heads = (
        "clean image",
        "heatmap,\nclean",
        "perturbed image",
        "perturbation,\nscaled",
        "heatmap,\nperturbed",
    )
    return draw(lines, heads, side=side_of(clean.images.shape[1], 192))


def _heatmap(image: np.ndarray, heatmap: np.ndarray, note: str = "", colour: str = INK) -> Cell:
    if not heatmap.any():
        note = f"{note}\nmap is zero" if note else "map is zero"
    return Cell(overlay(image, heatmap), note, colour)


def _about(samples: Samples, condition: Condition, row: int) -> tuple[tuple[str, str], ...]:
    name, label = samples.result.class_name, int(samples.labels[row])
    before, after = int(samples.clean.predictions[row]), int(condition.predictions[row])
    return (
        (samples.ids[row], INK),
        (f"true: {name(label)}", INK),
        (f"clean: {name(before)}", RIGHT if before == label else WRONG),
        (f"→ attacked: {name(after)}", RIGHT if after == label else WRONG),
    )


def strip(samples: Sequence[Samples], sample: str, *, name: str, perturbations: bool) -> Picture:
    """One image at every epsilon, for one or more models.

    Args:
        samples: One for each model.
        sample: Id of the image.
        name: Of the file.
        perturbations: Whether a row of perturbations stands above every row of heatmaps.
    """
    levels = [{condition.epsilon for condition in each.attacked} for each in samples]
    epsilons = _at_most(sorted(set.intersection(*levels) or set.union(*levels)), 8)
    rows = []
    for each in samples:
        row = each.ids.index(sample)
        found = {condition.epsilon: condition for condition in each.attacked}
        conditions = [each.clean, *(found.get(epsilon) for epsilon in epsilons)]
        if perturbations:
            changes = (_change(each.clean.images[row], c, row) for c in conditions)
            rows.append(
                Row(((each.result.label, INK), ("image, perturbations", INK)), tuple(changes))
            )
        maps = (_explained(each, c, row) for c in conditions)
        true = each.result.class_name(int(each.labels[row]))
        lines = ((each.result.label, INK), (f"heatmap, true: {true}", INK))
        rows.append(Row(lines, tuple(maps)))
    heads = ["clean", *(f"ε =\n{number(epsilon)}" for epsilon in epsilons)]
    room = (PAGE - LEFT) // len(heads) - GAP
    size = min(each.clean.images.shape[1] for each in samples)
    pixels, width = draw(rows, heads, side=side_of(size, max(88, min(160, room))))
    told = [f"{each.result.label}: {_course(each, sample)}" for each in samples]
    what = "perturbations and heatmaps" if perturbations else "heatmaps"
    return Picture(
        name=name,
        pixels=pixels,
        alt=f"{sample} at every epsilon, {what}. Predicted class: {'; '.join(told)}.",
        caption=f"{sample}: {what} by ε and model. Below each heatmap the predicted class, blue "
        "where right, red-brown where wrong.",
        width=width,
        photo=True,
    )


def _course(samples: Samples, sample: str) -> str:
    """The classes predicted for an image from no attack to the largest epsilon, in words."""
    row = samples.ids.index(sample)
    conditions = (samples.clean, *samples.attacked)
    return ", ".join(
        f"{samples.result.class_name(int(each.predictions[row]))} at {number(each.epsilon)}"
        for each in conditions
    )


def _at_most(epsilons: Sequence[float], count: int) -> list[float]:
    """At most `count` of them, spread evenly, first and last among them."""
    if len(epsilons) <= count:
        return list(epsilons)
    return [epsilons[i] for i in np.linspace(0, len(epsilons) - 1, count).round().astype(int)]


def _change(clean: np.ndarray, condition: Condition | None, row: int) -> Cell:
    if condition is None:
        return Cell(None, NOTHING)
    if not condition.epsilon:
        return Cell(clean)
    picture, factor = scale_perturbation(clean, condition.images[row])
    return Cell(picture, f"×{factor:,.0f}" if factor else "unchanged")


def _explained(samples: Samples, condition: Condition | None, row: int) -> Cell:
    if condition is None:
        return Cell(None, NOTHING)
    prediction = int(condition.predictions[row])
    words = samples.result.class_name(prediction)
    colour = RIGHT if prediction == samples.labels[row] else WRONG
    return _heatmap(condition.images[row], condition.heatmaps[row], words, colour)


def heading(samples: Samples, condition: Condition) -> str:
    """One line for an epsilon: its size and what it does to the samples."""
    changed = int(samples.changed(condition).sum())
    return (
        f"ε = {number(condition.epsilon)} ({number(255 * condition.epsilon, 3)} of 255): "
        f"{changed} of {len(samples.ids)} predictions changed"
    )


def sample_sheets(
    samples: Samples, condition: Condition, name: str, *, linked: bool
) -> list[Picture]:
    """All samples at one epsilon, eight to a figure; `linked`: the page only names its file."""
    pictures = []
    count, result = len(samples.ids), samples.result
    changed = int(samples.changed(condition).sum())
    for start in range(0, count, 8):
        rows = range(start, min(start + 8, count))
        pixels, width = grid(samples, condition, rows)
        shown = f"samples {rows.start + 1} to {rows.stop} of {count}"
        alt = (
            f"{result.label}, {samples.method}, epsilon {number(condition.epsilon)}, {shown}: "
            f"clean image, clean heatmap, perturbed image, perturbation and heatmap. "
            + "; ".join(_in_words(samples, condition, row) for row in rows)
            + "."
        )
        caption = (
            f"{result.label} at ε = {number(condition.epsilon)}, {shown}; {changed} of "
            f"{count} predictions changed. × is how much larger the perturbation is shown "
            "than it is."
        )
        number_of = start // 8 + 1
        file = f"{name}-{number_of}"
        pictures.append(Picture(file, pixels, alt, caption, width, photo=True, linked=linked))
    return pictures


def _in_words(samples: Samples, condition: Condition, row: int) -> str:
    name = samples.result.class_name
    return (
        f"{samples.ids[row]} true {name(int(samples.labels[row]))}, clean "
        f"{name(int(samples.clean.predictions[row]))}, attacked "
        f"{name(int(condition.predictions[row]))}"
    )
