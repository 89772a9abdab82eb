"""A paper's transfer tables and figures: its attacks on each model, judged by all."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from attnrobust import config, task
from attnrobust.disk import folders, runs, schemas, stamps
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.report import papers
from attnrobust.report.paper_kinds import Paper, Transfer
from attnrobust.stages.context import Context, records_of
from attnrobust.studies import blackbox_tables as tables
from attnrobust.studies.transfer import ALIKE, named

if TYPE_CHECKING:
    from attnrobust.data.records import Dataset

log = logging.getLogger("attnrobust")

# Images in the figure of examples.
SAMPLES = 3


@dataclass(frozen=True)
class Asked:
    """What a paper's tables ask of runs.

    Attributes:
        name: Of the paper's file.
        paper: What stands in it.
        theirs: Its tables of models of this task.
        chosen: The runs, by the name of their model.
        contexts: Likewise.
        dataset: Records of the first run, whose classes all share.
        attacks: Of the paper, each as it is found, by the paper's word.
        seed: Of attacks and noise.
        limit: At most so many images.
    """

    name: str
    paper: Paper
    theirs: Transfer
    chosen: Mapping[str, Run]
    contexts: Mapping[str, Context]
    dataset: Dataset
    attacks: Mapping[str, config.Attack]
    seed: int
    limit: int | None

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return list(self.chosen)

    @property
    def heads(self) -> list[str]:
        """Of the attacks, as the paper calls them."""
        return list(self.attacks)

    @property
    def kind(self) -> str:
        """The row of task.TASKS that all models are of."""
        return self.dataset.kind

    def used(self) -> dict[str, object]:
        """What the results depend on."""
        return {
            "attacks": {head: dataclasses.asdict(each) for head, each in self.attacks.items()},
            "paper": self.name,
            "seed": self.seed,
            "limit": self.limit,
            "version": stamps.version("attack"),
            "models": {name: each.weights_digest() for name, each in self.contexts.items()},
        }


def blackbox(
    chosen: Sequence[Run], records: Path, out: Path, settings: Sequence[str], paper: str
) -> pd.DataFrame:
    """Write `tables.md`, the tables behind it and the figures below `out`.

    Args:
        chosen: Trained runs, of one dataset and task; each attacked at its own image size, its
            adversarials resized for the others.
        records: Folder of the records, or of several data sets' records.
        out: Folder; goes on where it was cut off.
        settings: `key=value` changes of every attack; `seed` and `data.limit`, too.
        paper: Whose attacks and tables these are, by the name of its file.

    Returns:
        What was measured, as in `measured.csv`.

    Raises:
        UserError: No such paper, fewer than two runs, runs that do not go together, an attack that
            cannot be taken as it is found, results of other settings or other files in `out`.
    """
    asked = _asked(chosen, records, settings, paper)
    folders.claim(out, "transfer", asked.used(), inputs=[run.root for run in chosen])
    number = _craft(asked, out)
    made = _tables(asked, out)
    for name, table in made.items():
        with runs.atomic(out / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    heads = _heads(asked.chosen, asked.theirs)
    text = tables.page(made, heads, asked.paper.short, asked.theirs.note, count=number)
    runs.save_text(out / "tables.md", text)
    log.info("%s\ntransfer: %s, %s", text, out / "tables.md", out / "measured.csv")
    return made["measured"]


def _asked(chosen: Sequence[Run], records: Path, settings: Sequence[str], paper: str) -> Asked:
    """Everything that can be known before a model is loaded.

    Raises:
        UserError: As `blackbox`.
    """
    from attnrobust.attacks import blackbox as crafting
    from attnrobust.attacks import checks, similarity

    every = papers.read().items()
    known = {name: each for name, each in every if each.transfer or each.segmentation}
    found = config.lookup("paper with transfer tables", known, paper)
    names = named(chosen)
    contexts = [Context(run, records_of(records, run.experiment.data)) for run in chosen]
    dataset, first = contexts[0].dataset(), chosen[0].experiment
    theirs = _theirs(found, chosen, dataset.kind)
    attacks = {
        head: crafting.as_found(config.with_settings(first, [*words, *settings]).attack)
        for head, words in theirs.attacks.items()
    }
    for attack in attacks.values():
        checks.ready(attack, dataset.classes, dataset.kind)
    for run in chosen:
        similarity.require(run.experiment.data.image_size)
    asked = config.with_settings(first, settings)
    return Asked(
        paper,
        found,
        theirs,
        dict(zip(names, chosen, strict=True)),
        dict(zip(names, contexts, strict=True)),
        dataset,
        attacks,
        asked.seed,
        asked.data.limit,
    )


def _craft(asked: Asked, out: Path) -> int:
    """Attack every model and ask all of them, unless the files are there; the number of images."""
    from attnrobust.attacks import blackbox as crafting
    from attnrobust.attacks import similarity

    judges = crafting.Judges(
        {name: context.trained(asked.dataset) for name, context in asked.contexts.items()},
        {
            name: dataclasses.replace(run.experiment.data, limit=asked.limit)
            for name, run in asked.chosen.items()
        },
        asked.dataset,
        next(iter(asked.attacks.values())).batch_size,
    )
    crafting.clean(judges, out / "clean.npz")
    clean = schemas.load_npz(out / "clean.npz", schemas.judged(asked.names, asked.kind))
    noise = similarity.NOISES[asked.theirs.noise]
    for name in asked.names:
        samples = _samples(clean, name, asked.kind)
        for head, attack in asked.attacks.items():
            place = tables.file_of(out, name, head)
            crafting.craft(
                name, head, attack, judges, place, seed=asked.seed, samples=samples, noise=noise
            )
    return len(clean["label"])


def _tables(asked: Asked, out: Path) -> dict[str, pd.DataFrame]:
    """All tables by name, from the files in `out`; the figures are drawn."""
    from attnrobust.attacks import blackbox as crafting

    names, attacks, theirs = asked.names, asked.heads, asked.theirs
    heads = _heads(asked.chosen, theirs)
    measured = tables.measure(out, names, attacks, asked.kind)
    readings = {head: crafting.reading(attack) for head, attack in asked.attacks.items()}
    similar = tables.likeness(out, names, readings, asked.kind)
    made = {
        "measured": measured,
        "table-1": tables.table_1(measured, heads, theirs),
        "table-2": tables.table_2(measured, heads, attacks, theirs),
        "likeness": similar.assign(source=similar["source"].map(heads)),
    }
    if task.TASKS[asked.kind].graded:
        _draw_maps(out, names, attacks, asked.kind, asked.dataset.classes)
        return made
    drawn = _draw(out, heads, attacks, classes=asked.dataset.classes, seed=asked.seed)
    return {**made, "embedding": drawn}


def _theirs(found: Paper, chosen: Sequence[Run], kind: str) -> Transfer:
    """The paper's tables of models of that task.

    Raises:
        UserError: It has none; class maps of different sizes.
    """
    theirs = found.segmentation if kind == "segment" else found.transfer
    if theirs is None:
        raise UserError(f"{found.short}: no transfer tables of models that {kind}")
    if kind == "segment":
        named(chosen, alike=(*ALIKE, "image_size"))
    return theirs


def _heads(chosen: Mapping[str, Run], paper: Transfer) -> dict[str, str]:
    """The paper's word for each model where it has one, and but one run stands for it."""
    words = {model.backbone: model.name for model in paper.models}
    backbones = [run.experiment.model.backbone for run in chosen.values()]
    return {
        name: words[backbone] if backbone in words and backbones.count(backbone) == 1 else name
        for (name, _), backbone in zip(chosen.items(), backbones, strict=True)
    }


def _samples(clean: Mapping[str, np.ndarray], name: str, kind: str) -> list[str]:
    """Images for the figure of examples: right, each of another class, as far as there are such.

    Of class maps those with the most structures.
    """
    labels = clean["label"]
    if task.TASKS[kind].graded:
        number = [len(np.unique(each)) for each in labels]
        return [str(id_) for id_ in clean["id"][np.argsort(number, kind="stable")[::-1][:SAMPLES]]]
    right = np.flatnonzero(task.right(clean[f"logits-{name}"], labels))
    first = {labels[place]: place for place in right[::-1]}
    places = sorted(first.values())[:SAMPLES] or range(min(SAMPLES, len(labels)))
    return [str(clean["id"][place]) for place in places]


def _draw(
    out: Path,
    heads: Mapping[str, str],
    attacks: Sequence[str],
    *,
    classes: Sequence[str],
    seed: int,
) -> pd.DataFrame:
    """Both figures of each model; how far its embeddings were moved by the first attack."""
    from attnrobust.studies import blackbox_figures as figures

    names, rows = list(heads), []
    clean = schemas.load_npz(out / "clean.npz", schemas.judged(names))
    for name, head in heads.items():
        found = {
            attack: schemas.load_npz(tables.file_of(out, name, attack), schemas.crafted(names))
            for attack in attacks
        }
        safe = runs.safe_name(name)
        figures.examples(clean, found, name, classes, out / f"examples-{safe}.png")
        moved = figures.embedding(
            clean,
            found[attacks[0]],
            name,
            attack=attacks[0],
            classes=classes,
            seed=seed,
            file=out / f"embedding-{safe}.png",
        )
        rows.append({"model": head, "attack": attacks[0], **moved})
    return pd.DataFrame(rows, columns=["model", "attack", "noise", "adversarial"])


def _draw_maps(
    out: Path, names: Sequence[str], attacks: Sequence[str], kind: str, classes: Sequence[str]
) -> None:
    """The figure of each model: what it makes of noise and of each attack."""
    from attnrobust.studies import blackbox_figures as figures

    clean = schemas.load_npz(out / "clean.npz", schemas.judged(names, kind))
    for name in names:
        found = {
            attack: schemas.load_npz(
                tables.file_of(out, name, attack), schemas.crafted(names, kind)
            )
            for attack in attacks
        }
        figures.maps(clean, found, name, classes, out / f"maps-{runs.safe_name(name)}.png")
