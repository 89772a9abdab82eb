"""The panel's columns: which maps of which runs stand side by side, from files. No TensorFlow.

One figure, as PNG and PDF. Where the runs are several models or seeds on the same images, tables of
what sets them apart stand beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnrobust import config
from attnrobust.disk import schemas
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.explanations import samples
from attnrobust.explanations.samples import Explained
from attnrobust.report.results import number
from attnrobust.studies import panel_figure, panel_tables
from attnrobust.studies.panel_figure import STYLES, Column

log = logging.getLogger("attnrobust")


@dataclass(frozen=True)
class Asked:
    """What the figure shall show.

    Attributes:
        columns: `models`, `methods`, `conditions` or `seeds`.
        style: Row of STYLES.
        method: Explanation method; empty for the first that the first run has.
        label: Of the attack whose samples they are; empty for the first of each run.
        epsilon: Radius of the attack; 0 for the images as they are.
        images: At most this many.
        ids: These images; empty for the first of the samples.
        correct_only: Only images that every column names rightly.
        shared_scale: One scale for all maps of a row.
    """

    columns: str = "models"
    style: str = "overlay"
    method: str = ""
    label: str = ""
    epsilon: float = 0.0
    images: int = 4
    ids: tuple[str, ...] = ()
    correct_only: bool = False
    shared_scale: bool = False


def panel(runs: Sequence[Run], out: Path, asked: Asked) -> None:
    """Write the figure, and tables where there are several models or seeds.

    Args:
        runs: Explained runs; the first stands left, and is what others are compared with.
        out: File of the figure; its ending is replaced by .png and .pdf.
        asked: What to show.

    Raises:
        UserError: A run without samples, samples that are not the same images, maps that are not
            there or not finite, or nothing left to show.
    """
    config.lookup("style", STYLES, asked.style)
    columns = _columns(runs, asked)
    _say_old(runs, asked)
    _say_unlike(runs, asked)
    _require_same_images(columns, asked.ids)
    chosen = _chosen(columns, asked)
    # Not with_suffix: a name may hold a dot of its own.
    stem = out.with_name(out.name.removesuffix(".png").removesuffix(".pdf"))
    figure = panel_figure.draw(
        columns,
        chosen,
        _classes(runs[0]),
        style=asked.style,
        shared=asked.shared_scale,
        what=_what(runs, asked),
    )
    written = panel_figure.write(figure, stem)
    if asked.columns in ("models", "seeds"):
        written += panel_tables.write(columns, stem)
    for place in written:
        log.info("panel: %s", place)


def _say_old(runs: Sequence[Run], asked: Asked) -> None:
    for run in runs:
        label = _label(run, asked)[0]
        if not samples.current(run, label):
            log.warning(
                "warning: %s: the heatmaps of '%s' are older than their images; run 'explain' "
                "again with --force",
                run.root,
                label,
            )


def _say_unlike(runs: Sequence[Run], asked: Asked) -> None:
    """What sets maps apart beside the models is not what the panel is asked for."""
    first, *others = (samples.setting(run, _label(run, asked)[0]) for run in runs)
    for run, setting in zip(runs[1:], others, strict=True):
        for name, (now, before) in samples.unlike(setting, first).items():
            log.warning(
                "warning: %s: its heatmaps were made with explanation.%s = %s, those of %s with %s",
                run.root,
                name,
                now,
                runs[0].root,
                before,
            )


def _what(runs: Sequence[Run], asked: Asked) -> str:
    """What all maps are of, where the heads of the columns do not say it."""
    method = asked.method or _label(runs[0], asked)[1][0]
    if asked.columns == "methods":
        method = "heat"
    return f"{method} at ε = {number(asked.epsilon)}" if asked.epsilon else method


def _columns(runs: Sequence[Run], asked: Asked) -> list[Column]:
    """The maps of every column."""
    if asked.columns == "methods" and asked.shared_scale:
        raise UserError("--shared-scale: maps of several methods have no scale in common")
    if asked.columns == "conditions" and asked.epsilon:
        raise UserError("--epsilon: --columns conditions shows every one")
    if asked.columns in ("methods", "conditions"):
        if len(runs) > 1:
            raise UserError(f"--columns {asked.columns}: expected one run, {len(runs)} given")
        return _of_run(runs[0], asked)
    _require_alike(runs, asked)
    names = {run.experiment.name for run in runs}
    method = asked.method or _label(runs[0], asked)[1][0]
    made = []
    for run in runs:
        label, methods = _label(run, asked)
        title = seed = f"seed {run.experiment.seed}"
        if asked.columns == "models":
            several = len(runs) > len(names)
            title = f"{run.experiment.name}, {seed}" if several else run.experiment.name
        made.append(
            _column(run, label, method, methods=methods, epsilon=asked.epsilon, title=title)
        )
    return made


def _require_alike(runs: Sequence[Run], asked: Asked) -> None:
    """Raise a UserError unless runs are of one data set and task, each experiment and seed once."""
    first = runs[0]
    known: dict[tuple[str, int], Path] = {}
    for run in runs:
        mine, its = run.experiment, first.experiment
        if (mine.data.dataset, mine.data.task) != (its.data.dataset, its.data.task):
            raise UserError(f"{run.root}: of another data set or task than {first.root}")
        if asked.columns == "seeds" and mine.name != its.name:
            names = ", ".join(sorted({each.experiment.name for each in runs}))
            raise UserError(f"--columns seeds: expected runs of one experiment, got {names}")
        if other := known.get((mine.name, mine.seed)):
            raise UserError(
                f"{run.root}: of the experiment and seed of {other}: expected each once"
            )
        known[mine.name, mine.seed] = run.root


def _of_run(run: Run, asked: Asked) -> list[Column]:
    """Columns of one run: its methods, or the conditions of one of them."""
    label, methods = _label(run, asked)
    if asked.columns == "methods":
        wanted = asked.method.split(",") if asked.method else methods
        return [
            _column(run, label, each, methods=methods, epsilon=asked.epsilon, title=each)
            for each in wanted
        ]
    if label not in run.attacks():
        raise UserError(f"{run.root}: --columns conditions needs an attack, and none was explained")
    return [
        _column(
            run,
            label,
            asked.method or methods[0],
            methods=methods,
            epsilon=epsilon,
            title=f"ε = {number(epsilon)}" if epsilon else "clean",
        )
        for epsilon in (0.0, *run.attacks()[label].epsilons)
    ]


def _label(run: Run, asked: Asked) -> tuple[str, tuple[str, ...]]:
    """The attack whose samples of a run are shown, and the methods that explained them."""
    found = samples.explained(run)
    label = asked.label or next(iter(found), "")
    if label not in found:
        known = f"; explained are those of {', '.join(found)}" if found else ""
        what = f" of '{label}'" if label else ""
        raise UserError(f"{run.root}: no explained samples{what}; run 'explain' first{known}")
    return label, found[label]


def _column(
    run: Run, label: str, method: str, *, methods: Sequence[str], epsilon: float, title: str
) -> Column:
    if method not in methods:
        raise UserError(f"{run.root}: no heatmaps of '{method}'; those of {', '.join(methods)}")
    attack = run.attacks().get(label)
    if epsilon and (attack is None or epsilon not in attack.epsilons):
        known = ", ".join(f"{each:g}" for each in attack.epsilons) if attack else "none"
        raise UserError(f"{run.root}: not attacked at ε {epsilon:g}; known: {known}")
    clean = samples.load(run, label, method)
    shown = samples.load(run, label, method, epsilon) if epsilon else clean
    shown = samples.regioned(shown, clean)
    return Column(title, run, shown, clean)


def _require_same_images(columns: Sequence[Column], ids: Sequence[str]) -> None:
    """Raise a UserError unless all columns hold the same images: all, or those asked for."""
    first = columns[0]
    for each in columns:
        for one, other in ((first, each), (each, first)):
            for id_ in ids or one.clean.ids:
                if id_ not in other.clean.ids:
                    why = "" if ids else f", as it is among those of {one.run.root}; see --ids"
                    raise UserError(f"{other.run.root}: {id_} is not among its samples{why}")
        for id_ in ids or first.clean.ids:
            before, now = (_image(column.clean, id_) for column in (first, each))
            # Of another size they cannot be told apart.
            if before.shape == now.shape and not np.array_equal(before, now):
                raise UserError(f"{each.run.root}: {id_} is another image than in {first.run.root}")


def _image(found: Explained, id_: str) -> np.ndarray:
    return np.asarray(found.images[list(found.ids).index(id_)])


def _chosen(columns: Sequence[Column], asked: Asked) -> list[str]:
    """Ids of the images to show, in the order asked for or of the samples."""
    ids = [str(id_) for id_ in asked.ids or columns[0].clean.ids]
    if asked.correct_only:
        right = [set(map(str, each.clean.ids[each.clean.right])) for each in columns]
        ids = [id_ for id_ in ids if all(id_ in each for each in right)]
        if not ids:
            raise UserError("--correct-only: there is no image that all columns name rightly")
    return ids if asked.ids else ids[: asked.images]


def _classes(run: Run) -> list[str]:
    """Names of the classes; empty where the run does not tell."""
    place = run.path("provenance.json")
    if not place.is_file():
        return []
    found = schemas.load_json(place, schemas.Provenance).get("dataset")
    return list(found["classes"]) if found else []
