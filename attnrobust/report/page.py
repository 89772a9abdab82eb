"""REPORT: runs to one self-contained HTML page, its figures as PNG and its tables as CSV."""

from __future__ import annotations

import base64
import json
import logging
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from attnrobust.report import figures, samples, sheets, tables
from attnrobust.report.results import Estimate, Result, grouped, number, read
from attnrobust.runs import Run, atomic, save_text

log = logging.getLogger("attnrobust")

# Bytes of photographs on the page before base64 adds a third: a page mailed or opened from a
# server stays below 15 MB. The PNG files beside it are not limited.
PHOTO_BYTES = 10_000_000
STAGES = ("train", "predict", "attack", "evaluate", "explain")


@dataclass(frozen=True)
class Embedded:
    """A figure as the template prints it."""

    number: int
    source: str
    alt: str
    caption: str
    width: int
    height: int


@dataclass
class Album:
    """Writes every figure to a file and hands it back for the page, numbered.

    Attributes:
        folder: Where the PNG files go.
        limit: Bytes that a photograph may take on the page.
        count: Figures so far.
    """

    folder: Path
    limit: int
    count: int = 0

    def add(self, picture: figures.Picture | None) -> list[Embedded]:
        """The figure for the page, as a list of one; an empty list for None."""
        if picture is None:
            return []
        with atomic(self.folder / f"{picture.name}.png") as temporary:
            temporary.write_bytes(figures.png(picture.pixels))
        kind, data = figures.embed(picture, self.limit)
        source = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
        height, width = picture.pixels.shape[:2]
        self.count += 1
        shown = round(height * picture.width / width)
        return [Embedded(self.count, source, picture.alt, picture.caption, picture.width, shown)]


@dataclass
class Gallery:
    """The heatmap figures of one run and method.

    Attributes:
        heading: Run and method.
        missing: A sentence that says how to make them, where there are none.
        levels: One for each epsilon shown: summary, whether it is open, figures.
    """

    heading: str
    missing: str = ""
    levels: list[tuple[str, bool, list[Embedded]]] = field(default_factory=list)


def write(run_list: Sequence[Run], out: Path, *, title: str | None = None) -> Path:
    """Write `index.html`, `figures/*.png` and `tables/*.csv` below `out`.

    The same runs give the same bytes: the page holds no time of its own.

    Args:
        run_list: Evaluated runs, of one or several experiments and seeds.
        out: Folder; made where missing.
        title: Heading of the page; made from the runs if None.

    Returns:
        Path of the page.

    Raises:
        UserError: No run, a run that was not evaluated, a damaged file, or a full disk.
    """
    results = read(run_list)
    album = Album(out / "figures", limit=PHOTO_BYTES // _expected_photos(results))
    look = figures.colours(results)
    headline = album.add(figures.accuracy_curves(results, look))
    training = [
        each
        for result in results
        for each in album.add(
            figures.training_curves(result, look[result.group][0], name=f"training-{_slug(result)}")
        )
    ]
    galleries, held = _galleries(results, album)
    strips, comparisons = _side_by_side(held, album)
    page_tables = _tables(results, out / "tables")
    text = _template().render(
        title=title or _title(results),
        summary=_summary(results),
        headline=headline,
        tables=page_tables[0],
        training=training,
        galleries=galleries,
        strips=strips,
        comparisons=comparisons,
        splits=page_tables[1],
        runs=[_about(result) for result in results],
        commands=_commands(results, out),
        attacks=_attacks(results),
        carry=any(result.run.experiment.attack.mode == "carry" for result in results),
        smallest=min(result.clean["accuracy"].n for result in results),
        half=_half_width(results),
    )
    path = out / "index.html"
    save_text(path, text)
    log.info("report: %s (%.1f MB)", path, path.stat().st_size / 1e6)
    return path


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _expected_photos(results: Sequence[Result]) -> int:
    """About how many photographic figures there will be, to share the page's bytes among."""
    sheets_of = [
        math.ceil(result.run.experiment.attack.samples / 8)
        * (len(result.epsilons) + len(result.run.experiment.explanation.methods) - 1)
        for result in results
    ]
    return max(1, sum(sheets_of) + 4 * len({result.group[0] for result in results}))


def _slug(result: Result) -> str:
    experiment = result.run.experiment
    return re.sub(r"[^\w.-]", "-", f"{experiment.data.dataset}-{experiment.name}-{experiment.seed}")


def _title(results: Sequence[Result]) -> str:
    datasets = " and ".join(dict.fromkeys(result.group[0] for result in results))
    names = list(grouped(results, "group"))
    what = names[0][1] if len(names) == 1 else f"{len(names)} models"
    return f"Robustness of {what} on {datasets}"


def _summary(results: Sequence[Result]) -> list[str]:
    """What was found, in sentences made from the numbers."""
    sentences = []
    for dataset in dict.fromkeys(result.group[0] for result in results):
        members = [result for result in results if result.group[0] == dataset]
        groups = grouped(members, "group")
        counts = sorted({result.clean["accuracy"].n for result in members})
        models = "1 model" if len(groups) == 1 else f"{len(groups)} models"
        images = " or ".join(f"{count:,}" for count in counts)
        sentences.append(f"{models} on {dataset}, measured on {images} test images.")
        rate = members[0].clean.get("majority_rate")
        if rate:
            sentences.append(f"Always naming the commonest class would give {rate.value:.3f}.")
        for (_, name), seeds in groups.items():
            sentences += _findings(name, seeds)
    for members in grouped(results, "panel").values():
        sentences += _difference(members)
    return sentences


def _findings(name: str, seeds: Sequence[Result]) -> list[str]:
    spread = f" (mean ± standard deviation of {len(seeds)} seeds)" if len(seeds) > 1 else ""
    clean = tables.combine([each.clean["accuracy"] for each in seeds])
    found = [f"{name}: accuracy {clean} without an attack{spread}"]
    epsilons = seeds[0].epsilons
    attack = seeds[0].run.experiment.attack.name
    if epsilons:
        shown = dict.fromkeys((epsilons[(len(epsilons) - 1) // 2], epsilons[-1]))
        values = [
            f"{tables.combine([each.under('accuracy', epsilon) for each in seeds])} "
            f"at ε = {number(epsilon)}"
            for epsilon in shown
        ]
        found.append(f"robust accuracy {' and '.join(values)} under {attack}")
    return [f"{'; '.join(found)}."]


def _difference(members: Sequence[Result]) -> list[str]:
    """How far two models lie apart at the middle epsilon, where there are just two."""
    if len(members) != 2 or members[0].group == members[1].group:
        return []
    shared = [epsilon for epsilon in members[0].epsilons if epsilon in members[1].epsilons]
    if not shared:
        return []
    epsilon = shared[(len(shared) - 1) // 2]
    first, second = (each.under("accuracy", epsilon) for each in members)
    if first is None or second is None or not (first.has_interval and second.has_interval):
        return []
    overlap = first.low <= second.high and second.low <= first.high
    return [
        f"At ε = {number(epsilon)} the two differ by {abs(first.value - second.value):.3f}; their "
        f"95 % intervals {'overlap' if overlap else 'do not overlap'}."
    ]


def _tables(
    results: Sequence[Result], folder: Path
) -> tuple[list[tuple[int, tables.Table]], list[tuple[int, tables.Table]]]:
    """Write every table as CSV; numbered, those of the measurements and those of the splits."""
    measured = [tables.clean(results), *tables.recall(results), *tables.robust(results),
                *tables.attack(results), tables.models(results)]  # fmt: skip
    first = {result.group[0]: result for result in reversed(results)}
    counted = [table for result in first.values() if (table := tables.splits(result))]
    for table in (*measured, *counted):
        save_text(folder / f"{table.name}.csv", table.frame.to_csv(index=False))
    everything = pd.concat([result.frame for result in results])
    save_text(folder / "measurements.csv", everything.to_csv(index=False))
    numbered = list(enumerate((*measured, *counted), start=1))
    return numbered[: len(measured)], numbered[len(measured) :]


def _galleries(
    results: Sequence[Result], album: Album
) -> tuple[list[Gallery], list[samples.Samples]]:
    """Heatmap figures of every run, and one set of samples an experiment to compare models by."""
    galleries, held, groups = [], [], set()
    for result in results:
        for order, method in enumerate(result.run.experiment.explanation.methods):
            gallery = Gallery(f"{result.label}, {method}")
            galleries.append(gallery)
            found = samples.read(result, method)
            if found is None or not found.attacked:
                gallery.missing = _missing(result)
                continue
            telling = found.telling()
            for condition in found.attacked:
                # Further methods are shown at one epsilon, or the page would grow beyond reading.
                if order and condition is not telling:
                    continue
                name = f"samples-{_slug(result)}-{method}-{number(condition.epsilon)}"
                shown = [each for picture in sheets.sample_sheets(found, condition, name)
                         for each in album.add(picture)]  # fmt: skip
                gallery.levels.append((_level(found, condition), condition is telling, shown))
            if not order and result.group not in groups:
                groups.add(result.group)
                held.append(found)
    return galleries, held


def _level(found: samples.Samples, condition: samples.Condition) -> str:
    changed = int(found.changed(condition).sum())
    return (f"ε = {number(condition.epsilon)} ({number(255 * condition.epsilon, 3)} of 255): "
            f"{changed} of {len(found.ids)} predictions changed")  # fmt: skip


def _missing(result: Result) -> str:
    attack = result.run.experiment.attack.name
    stages = ["explain"] if result.run.path("attack", f"{attack}-0.npz").is_file() else [
        "attack", "evaluate", "explain"]  # fmt: skip
    return " && ".join(_command(result, stage) for stage in stages)


def _side_by_side(
    held: Sequence[samples.Samples], album: Album
) -> tuple[list[Embedded], list[Embedded]]:
    """One image at every epsilon, and heatmaps of a few images under all models, by dataset."""
    strips: list[Embedded] = []
    comparisons: list[Embedded] = []
    by_dataset: dict[str, list[samples.Samples]] = {}
    for each in held:
        by_dataset.setdefault(each.result.group[0], []).append(each)
    for dataset, members in by_dataset.items():
        chosen = samples.choose(members, 4)
        for sample in chosen[:1]:
            strips += album.add(sheets.strip(members, sample, name=f"strip-{dataset}",
                                             perturbations=True))  # fmt: skip
        if len(members) > 1:
            for order, sample in enumerate(chosen[1:] or chosen, start=1):
                name = f"compare-{dataset}-{order}"
                picture = sheets.strip(members, sample, name=name, perturbations=False)
                comparisons += album.add(picture)
    return strips, comparisons


def _about(result: Result) -> dict[str, Any]:
    provenance = result.provenance
    stages = [(stage, result.run.seconds(stage)) for stage in STAGES]
    facts = [
        ("code revision", provenance.get("revision")),
        ("command", provenance.get("command")),
        ("started", provenance.get("started")),
        ("machine", provenance.get("machine")),
        ("devices", ", ".join(map(str, provenance.get("devices", [])))),
        ("Python", provenance.get("python")),
        *provenance.get("packages", {}).items(),
        ("dataset hash", provenance.get("dataset_hash")),
    ]
    return {
        "label": result.label,
        "folder": str(result.run.root),
        "config": json.dumps(asdict(result.run.experiment), indent=2, ensure_ascii=False),
        "facts": [(name, str(value)) for name, value in facts if value],
        "minutes": [(stage, f"{seconds / 60:.1f}") for stage, seconds in stages if seconds],
    }


def _command(result: Result, stage: str) -> str:
    experiment = result.run.experiment
    module = f"experiments.{experiment.data.dataset}.{experiment.name}"
    return f"python -m {module} {stage} --seed {experiment.seed}"


def _commands(results: Sequence[Result], out: Path) -> list[str]:
    folders = " ".join(shlex.quote(str(result.run.root)) for result in results)
    report = f"python -m attnrobust report {folders} --out {shlex.quote(str(out))}"
    return [*(_command(result, "all") for result in results), report]


def _attacks(results: Sequence[Result]) -> list[str]:
    """The attacks in words, each once."""
    found = []
    for result in results:
        attack = result.run.experiment.attack
        restarts = "1 start" if attack.restarts == 1 else f"{attack.restarts} starts"
        where = "at random in the ball" if attack.random_start else "at the image"
        found.append(f"{attack.name} with {attack.steps} steps of {number(attack.rel_stepsize, 3)} "
                     f"ε each and {restarts} {where}")  # fmt: skip
    return list(dict.fromkeys(found))


def _half_width(results: Sequence[Result]) -> str:
    """Half the widest interval of the clean accuracies, as text; empty if none is known."""
    known: list[Estimate] = [result.clean["accuracy"] for result in results]
    widths = [(each.high - each.low) / 2 for each in known if each.has_interval]
    return f"{max(widths):.3f}" if widths else ""
