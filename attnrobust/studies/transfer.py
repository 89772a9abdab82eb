"""Adversarials of each trained model, judged by all: the transfer matrix."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from attnrobust import config
from attnrobust.disk import folders, runs, stamps
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.stages.context import Context, records_of

log = logging.getLogger("attnrobust")

# What models that judge each other's adversarials must have been given alike.
ALIKE = ("dataset", "task", "limit")


def transfer(
    chosen: Sequence[Run], records: Path, out: Path, settings: Sequence[str]
) -> pd.DataFrame:
    """Write `transfer.csv`, `transfer.png` and the logits of every pair below `out`.

    Args:
        chosen: Trained runs, of one dataset, task and image size.
        records: Folder of the records, or of several data sets' records.
        out: Folder; goes on where it was cut off.
        settings: `key=value` changes of the first run's attack.

    Raises:
        UserError: Fewer than two runs, runs that do not go together, an attack whose adversarials
            are not of full strength, results of other settings or other files in `out`, or a run.
    """
    from attnrobust.attacks import checks
    from attnrobust.attacks import transfer as crafting
    from attnrobust.studies import transfer_matrix as matrix

    names = named(chosen, alike=(*ALIKE, "image_size"))
    first = config.with_settings(chosen[0].experiment, settings)
    contexts = [Context(run, records_of(records, run.experiment.data)) for run in chosen]
    dataset = contexts[0].dataset()
    # An image that has only just fallen says little about other models.
    attack = crafting.in_full(first.attack)
    checks.ready(attack, dataset.classes, dataset.kind)
    experiment = dataclasses.replace(first, attack=attack)
    used = {
        "attack": dataclasses.asdict(attack),
        "seed": first.seed,
        "version": stamps.version("attack"),
        "models": {
            name: context.weights_digest() for name, context in zip(names, contexts, strict=True)
        },
    }
    folders.claim(out, "transfer", used, inputs=[run.root for run in chosen])
    models = {name: context.trained(dataset) for name, context in zip(names, contexts, strict=True)}
    crafting.clean(models, experiment, dataset, out)
    for name in names:
        log.info("adversarials of %s", name)
        crafting.craft(name, models, experiment, dataset, out)
    table = matrix.measure(out, names, attack.epsilons, dataset.kind)
    with runs.atomic(out / "transfer.csv") as temporary:
        table.to_csv(temporary, index=False)
    matrix.draw(table, names, out / "transfer.png")
    for said in matrix.weaker_at_home(table):
        log.warning("warning: %s", said)
    log.info("transfer: %s, %s", out / "transfer.csv", out / "transfer.png")
    return table


def named(chosen: Sequence[Run], *, alike: Sequence[str] = ALIKE) -> list[str]:
    """A name for each run.

    Args:
        chosen: Runs.
        alike: Settings of `data` that all must share.

    Raises:
        UserError: Fewer than two, runs that do not go together, or two of one name.
    """
    if len(chosen) < 2:
        raise UserError(f"{len(chosen)} run given; transfer needs at least two")
    one = chosen[0]
    for run in chosen[1:]:
        for key in alike:
            mine, others = (getattr(each.experiment.data, key) for each in (one, run))
            if mine != others:
                raise UserError(
                    f"{one.root} has data.{key} {mine!r}, {run.root} {others!r}; adversarials can "
                    "only be judged by a model that sees the same images"
                )
    seeds = {run.experiment.seed for run in chosen}
    names = [
        run.experiment.name + (f"-seed-{run.experiment.seed}" if len(seeds) > 1 else "")
        for run in chosen
    ]
    double = {name for name in names if names.count(name) > 1}
    if double:
        raise UserError(f"two runs are called {double.pop()}; each may be named once")
    return names
