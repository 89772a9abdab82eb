"""Runs that count as trained and attacked, made of stamps alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attnrobust import config
from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.stages.context import Context


def made(
    experiment: config.Experiment,
    records: Path,
    folder: Path,
    *settings: str,
    label: str = "linf_pgd",
    **notes: Any,
) -> Context:
    """A run of the experiment with these settings below `folder`.

    Args:
        experiment: What it does.
        records: Folder of its records.
        folder: Where runs are kept.
        settings: `key=value`.
        label: What its attack is called.
        notes: Of the attack's stamp.
    """
    context = Context(
        Run.of(config.with_settings(experiment, settings), folder), records, name=label
    )
    with context.run.stage(
        "train", used=context.used("model", "training"), inputs=context.dataset().hash
    ) as place:
        runs.save_text(place / "weights.h5", str(settings))
    attack(context, **notes)
    return context


def attack(context: Context, **notes: Any) -> None:
    """Attack it (anew)."""
    with context.run.stage(
        f"attack/{context.label}",
        used=context.used("attack"),
        force=True,
        inputs=context.weights_digest(),
        notes={"norm": "linf", **notes},
    ):
        pass


def age(folder: Path) -> None:
    """Make a stage's stamp that of a time when stamps named no version."""
    place = folder / "stage.json"
    stamp = runs.load_json(place)
    del stamp["version"]
    runs.save_json(place, stamp)
