"""The photographs of the page: heatmaps of every run, and models side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from markupsafe import Markup

from attnrobust.disk.runs import safe_name
from attnrobust.report import commands, samples, sheets
from attnrobust.report.blocks import Asked, Block, Details, Heading, Section
from attnrobust.report.results import Result, grouped, key, slug

WORDS = (
    "Each heatmap is scaled by its own maximum and laid over the image in grey; dark is 0, pale "
    "yellow is the maximum. It explains {explained}. A perturbation is shown with 0 as mid grey "
    "and ± its own largest value as the full range; the factor below it says how much larger it "
    "is shown than it is. Text in blue is a right prediction, in red-brown a wrong one. Images "
    "stand here at the ε that splits the samples most evenly; of other ε they are in the viewer, "
    "and in files beside this page."
)
ALONE = "There is nothing to set side by side: this takes two models with heatmaps on one dataset."


def section(results: Sequence[Result], _: Asked) -> Section:
    """Heatmaps of every run under each attack, and one image at every epsilon."""
    photos = expected_photos(results)
    return Section("heatmaps", "Heatmaps under attack", _blocks(results), photos=photos)


def side_by_side(results: Sequence[Result], _: Asked) -> Section:
    """A few images under all models."""
    return Section("comparison", "Models side by side", _compared(results))


def _blocks(results: Sequence[Result]) -> Iterator[Block]:
    yield WORDS.format(explained=explained(results)) + computed(results)
    full = _shown_fully(results)
    for result in _with_heatmaps(results):
        for order, method in enumerate(result.explanation.methods):
            # Further methods and seeds at one epsilon, or the page would grow beyond reading.
            yield from _gallery(result, method, everything=order == 0 and result.key in full)
    for number, (where, members) in enumerate(_together(results).items()):
        if not number:
            yield Heading("One image at every ε")
        for sample in samples.choose(members, 4)[:1]:
            yield sheets.strip(members, sample, name=f"strip-{where}", perturbations=True)


def _gallery(result: Result, method: str, *, everything: bool) -> Iterator[Block]:
    yield Heading(f"{result.label}, {method}")
    found = samples.read(result, method)
    telling = found.telling() if found else None
    if found is None or telling is None:
        made = commands.heatmaps(result)
        yield Markup("There are no heatmaps yet; this makes them: <code>{}</code>").format(made)
        return
    for condition in found.attacked if everything else (telling,):
        name = f"samples-{slug(result)}-{method}-{result.attack}-{key(condition.epsilon)}"
        shown = condition is telling
        pictures = tuple(sheets.sample_sheets(found, condition, name, linked=not shown))
        yield Details(sheets.heading(found, condition), pictures, shown)


def _compared(results: Sequence[Result]) -> Iterator[Block]:
    alone = True
    for where, members in _together(results).items():
        chosen = samples.choose(members, 4) if len(members) > 1 else []
        for order, sample in enumerate(chosen[1:] or chosen, start=1):
            name = f"compare-{where}-{order}"
            yield sheets.strip(members, sample, name=name, perturbations=False)
            alone = False
    if alone:
        yield ALONE


def _together(results: Sequence[Result]) -> dict[str, list[samples.Samples]]:
    """One set of samples an experiment to compare models by, by data set and attack."""
    together: dict[str, list[samples.Samples]] = {}
    full = _shown_fully(results)
    for result in _with_heatmaps(results):
        found = None
        if result.key in full and result.explanation.methods:
            found = samples.read(result, result.explanation.methods[0])
        if found and found.telling():
            dataset, _, attack = result.panel
            together.setdefault(safe_name(f"{dataset}-{attack}"), []).append(found)
    return together


def explained(results: Sequence[Result]) -> str:
    """Which class the heatmaps explain, in words."""
    words = {
        "prediction": "the class that the model predicts for that very image",
        "label": "the true class",
    }
    targets = {result.explanation.target for result in results}
    return " or (by run) ".join(
        words.get(target, f"the class {target}") for target in sorted(targets, reverse=True)
    )


def computed(results: Sequence[Result]) -> str:
    """Which runs' maps are not of float32, in words; empty where all are."""
    found: dict[str, list[str]] = {}
    for result in results:
        if _explained(result) and result.explanation.precision != "float32":
            found.setdefault(result.explanation.precision, []).append(result.label)
    return "".join(
        f" Maps of {', '.join(labels)} were computed in {name}." for name, labels in found.items()
    )


def _explained(result: Result) -> bool:
    return any(
        result.path("explain", f"{method}-clean.npz").is_file()
        for method in result.explanation.methods
    )


def _with_heatmaps(results: Sequence[Result]) -> list[Result]:
    """Every result that has heatmaps, and the first of each run that has none."""
    chosen = []
    for mine in grouped(results, "run").values():
        chosen += [each for each in mine if _explained(each)] or mine[:1]
    return chosen


def _shown_fully(results: Sequence[Result]) -> set[tuple[Path, str]]:
    """Keys of those shown at every epsilon: an experiment's first seed, its first attack."""
    return {mine[0].key for mine in grouped(_with_heatmaps(results), "group").values()}


def expected_photos(results: Sequence[Result]) -> int:
    """About how many photographic figures there will be, to share the page's bytes among."""
    full, shown = _shown_fully(results), _with_heatmaps(results)
    # A strip and three comparisons for each dataset and attack.
    count = 4 * len({result.panel[::2] for result in shown if result.key in full})
    for result in shown:
        count += len(result.explanation.methods) * math.ceil(result.setting.samples / 8)
    return max(1, count)
