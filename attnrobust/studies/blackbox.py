"""A paper's transfer tables and figures: its attacks on each model, judged by all."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

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

log = logging.getLogger("attnrobust")

# Images in the figure of examples.
SAMPLES = 3


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
    from attnrobust.attacks import blackbox as crafting
    from attnrobust.attacks import checks, similarity

    every = papers.read().items()
    known = {name: each for name, each in every if each.transfer or each.segmentation}
    found = config.lookup("paper with transfer tables", known, paper)
    names = named(chosen)
    contexts = [Context(run, records_of(records, run.experiment.data)) for run in chosen]
    dataset = contexts[0].dataset()
    kind, theirs = dataset.kind, _theirs(found, chosen, dataset.kind)
    attacks = {
        head: crafting.as_found(_attack(chosen[0].experiment, words, settings))
        for head, words in theirs.attacks.items()
    }
    for attack in attacks.values():
        checks.ready(attack, dataset.classes, kind)
    for run in chosen:
        similarity.require(run.experiment.data.image_size)
    asked = config.with_settings(chosen[0].experiment, settings)
    seed, limit = asked.seed, asked.data.limit
    used = {
        "attacks": {head: dataclasses.asdict(each) for head, each in attacks.items()},
        "paper": paper,
        "seed": seed,
        "limit": limit,
        "version": stamps.version("attack"),
        "models": {
            name: context.weights_digest() for name, context in zip(names, contexts, strict=True)
        },
    }
    folders.claim(out, "transfer", used, inputs=[run.root for run in chosen])
    judges = crafting.Judges(
        {name: context.trained(dataset) for name, context in zip(names, contexts, strict=True)},
        {
            name: dataclasses.replace(run.experiment.data, limit=limit)
            for name, run in zip(names, chosen, strict=True)
        },
        dataset,
        next(iter(attacks.values())).batch_size,
    )
    crafting.clean(judges, out / "clean.npz")
    clean = schemas.load_npz(out / "clean.npz", schemas.judged(names, kind))
    noise = similarity.NOISES[theirs.noise]
    for name in names:
        samples = _samples(clean, name, kind)
        for head, attack in attacks.items():
            place = tables.file_of(out, name, head)
            crafting.craft(
                name, head, attack, judges, place, seed=seed, samples=samples, noise=noise
            )
    heads = _heads(dict(zip(names, chosen, strict=True)), theirs)
    measured = tables.measure(out, names, list(attacks), kind)
    readings = {head: crafting.reading(attack) for head, attack in attacks.items()}
    similar = tables.likeness(out, names, readings, kind)
    made = {
        "table-1": tables.table_1(measured, heads, theirs),
        "table-2": tables.table_2(measured, heads, list(attacks), theirs),
        "likeness": similar.assign(source=similar["source"].map(heads)),
    }
    if task.TASKS[kind].graded:
        _draw_maps(out, names, list(attacks), kind)
    else:
        drawn = _draw(out, heads, list(attacks), classes=dataset.classes, seed=seed)
        made["embedding"] = drawn
    for name, table in {"measured": measured, **made}.items():
        with runs.atomic(out / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    text = _page(made, heads, found.short, theirs.note, count=len(clean["label"]))
    runs.save_text(out / "tables.md", text)
    log.info("%s\ntransfer: %s, %s", text, out / "tables.md", out / "measured.csv")
    return measured


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


def _attack(
    experiment: config.Experiment, words: Sequence[str], settings: Sequence[str]
) -> config.Attack:
    return config.with_settings(experiment, [*words, *settings]).attack


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


def _draw_maps(out: Path, names: Sequence[str], attacks: Sequence[str], kind: str) -> None:
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
        figures.maps(clean, found, name, out / f"maps-{runs.safe_name(name)}.png")


def _page(
    made: Mapping[str, pd.DataFrame],
    heads: Mapping[str, str],
    short: str,
    note: str,
    *,
    count: int,
) -> str:
    """The tables as one Markdown page."""
    moved = ""
    if "embedding" in made:
        moved = f"""
## How far embeddings are moved

Median, as a share of the median distance between images of two classes.

{tables.markdown(made["embedding"])}
"""
    models = "\n".join(f"- {head}: {name}" for name, head in heads.items())
    return f"""# Adversarials of each model, judged by all: as in {short}

{count:,} test images. Rows marked “paper” are not ours. {note}

{models}

## Table 1: clean, noisy and adversarial images

`noise` is the mean over a noisy twin of every adversarial, of the same SSIM; `drop` is in points;
`others` is the average without the attacks on the model itself.

{tables.markdown(made["table-1"])}

## Table 2: each model (rows) under each attack made on each model (columns)

{tables.markdown(made["table-2"])}

## How visible the adversarials are

The share of images that were changed, and of these: SSIM as median, 5 % and 95 %; `noise_apart`,
how far a noisy twin's is from it at most; sizes as medians, in [0, 1] pixel scale. An attack that
is read “as found” stops at the border of its own model, and leaves alone what is wrong already.

{tables.markdown(made["likeness"])}
{moved}"""
