"""What the files of a run answer of a reporting checklist, each answer with the files it is from.

A function gives None where no file tells: what is not known stays blank.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attnrobust.disk import schemas
from attnrobust.disk.places import records_of
from attnrobust.errors import UserError
from attnrobust.report.results import Result, grouped


class Answer(NamedTuple):
    """Words, and the files that they are taken from."""

    text: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Held:
    """A run, and the records that it learned from where these are still there.

    Attributes:
        results: The run under each of its attacks.
        records: Content of `dataset.json`, and its path; None where it is not there, or another.
        predicted: Content of `predict/clean.npz`; None where it is gone.
    """

    results: list[Result]
    records: tuple[Mapping[str, Any], Path] | None
    predicted: Mapping[str, np.ndarray] | None

    @property
    def result(self) -> Result:
        """The run under its first attack."""
        return self.results[0]

    def file(self, *parts: str) -> Path:
        """A file of the run."""
        return self.result.run.path(*parts)


Fact = Callable[[Held], Answer | None]


def held(results: list[Result]) -> Held:
    """What is there of a run.

    Args:
        results: The run under each of its attacks.

    Raises:
        UserError: Damaged predictions.
    """
    path = results[0].run.path("predict", "clean.npz")
    predicted = schemas.load_npz(path, schemas.PREDICTED) if path.is_file() else None
    return Held(results, _records(results[0]), predicted)


def _records(result: Result) -> tuple[Mapping[str, Any], Path] | None:
    """The `dataset.json` of the very records that the run learned from, if it is found."""
    words = result.run.again("train")
    given = dict(itertools.pairwise(words)).get("--records")
    folder = records_of(Path(given) if given else None, result.run.experiment.data)
    path = folder / "dataset.json"
    try:
        found = schemas.load_records(path) if path.is_file() else {}
    except UserError:  # Not ours to judge here.
        found = {}
    known = found.get("hash") == result.provenance.get("dataset_hash")
    return (found, path) if found and known else None


def source(run: Held) -> Answer | None:
    """Data source."""
    found, data = run.result.provenance, run.result.run.experiment.data
    if "dataset_hash" not in found:
        return None
    task_ = f", task {data.task}" if data.task else ""
    text = f"{data.dataset}{task_}; records {found['dataset_hash']}"
    return Answer(text, (run.file("provenance.json"),))


def preprocessing(run: Held) -> Answer | None:
    """How raw images become inputs."""
    size = run.result.run.experiment.data.image_size
    text = f"resized to {size} x {size} px, RGB in [0, 1]"
    if not run.records:
        return Answer(text, (run.file("config.json"),))
    found, path = run.records
    told = [f"{key} {found[key]}" for key in ("size", "fit", "filter") if key in found]
    return Answer(f"records: {', '.join(told)}; {text}", (path, run.file("config.json")))


def subset(run: Held) -> Answer | None:
    """Which part of the data."""
    data = run.result.run.experiment.data
    parts = [f"limit {data.limit} images a split"] if data.limit else []
    parts += [f"fold {data.fold} of {data.folds}"] if data.folds else []
    return Answer("; ".join(parts), (run.file("config.json"),)) if parts else None


def rejects(run: Held) -> Answer | None:
    """Images that could not be used."""
    if not run.records or "rejects" not in run.records[0]:
        return None
    found, path = run.records
    listed = path.with_name("rejects.csv")
    text = f"{found['rejects']:,} rows without a usable image or label left out, with reasons"
    return Answer(text, (path, *([listed] if listed.is_file() else [])))


def flow(run: Held) -> Answer | None:
    """Numbers in each split."""
    splits = run.result.provenance["dataset"].get("splits", {})
    if not splits:
        return None
    counts = ", ".join(f"{name} {part['count']:,}" for name, part in splits.items())
    left_out = rejects(run)
    text = f"{counts} images" + (f"; {left_out.text}" if left_out else "")
    files = (run.file("provenance.json"), *(left_out.files if left_out else ()))
    return Answer(text, files)


def classes(run: Held) -> Answer | None:
    """Numbers of each class in each split."""
    splits = run.result.provenance["dataset"].get("splits", {})
    parts = [
        f"{name}: " + ", ".join(f"{key} {n:,}" for key, n in part["class_counts"].items())
        for name, part in splits.items()
        if "class_counts" in part
    ]
    return Answer("; ".join(parts), (run.file("provenance.json"),)) if parts else None


def partition(run: Held) -> Answer | None:
    """How images came into splits."""
    if not run.records or "split_seed" not in run.records[0]:
        return None
    found, path = run.records
    shares = ", ".join(f"{each:g}" for each in found.get("fractions", []))
    text = f"at random, seed {found['split_seed']}" + (f", shares {shares}" if shares else "")
    return Answer(text, (path,))


def level(run: Held) -> Answer | None:
    """What no two splits share."""
    groups = None if run.predicted is None else run.predicted.get("group")
    if groups is None or run.predicted is None:
        return None
    ids, count = run.predicted["id"], len(np.unique(groups))
    whole = "single images" if np.array_equal(ids, groups) else "groups (a patient, a lesion)"
    text = f"{whole}: {len(ids):,} test images of {count:,} groups"
    return Answer(text, (run.file("predict", "clean.npz"),))


def runs_of(results: Sequence[Result]) -> list[Held]:
    """Every run once."""
    return [held(mine) for mine in grouped(results, "run").values()]
