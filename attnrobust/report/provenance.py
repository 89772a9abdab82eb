"""Where the runs come from: what repeats them, what they saw, their settings and machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import pandas as pd

from attnrobust.report import commands
from attnrobust.report.blocks import Asked, Block, Details, Facts, Heading, Section, Table, Verbatim
from attnrobust.report.results import Result, by_dataset, once

WORDS = (
    "These commands repeat everything on this page, with the settings that each run was made with."
)


def section(results: Sequence[Result], asked: Asked) -> Section:
    """Commands, splits, and of every run its folder, machine, minutes and configuration."""
    lines = commands.repeating(
        results, asked.out, baseline=asked.baseline, title=asked.title, claims=asked.claims
    )
    runs = (block for result in once(results) for block in _about(result))
    blocks = (WORDS, Verbatim("\n".join(lines)), *splits(results), *runs)
    return Section("provenance", "Configuration and provenance", blocks)


def _about(result: Result) -> Iterator[Block]:
    """Where a run comes from: folder, configuration, provenance, minutes of its stages."""
    provenance = result.provenance
    run, labels = result.run, list(result.run.attacks())
    ours = {label: f" {label}" if len(labels) > 1 else "" for label in labels}
    stages = [
        ("train", run.seconds("train")),
        ("predict", run.seconds("predict")),
        *((f"attack{ours[label]}", run.seconds(run.place_of("attack", label))) for label in labels),
        ("evaluate", run.seconds("evaluate")),
        *(
            (f"explain{ours[label]}", run.seconds(run.place_of("explain", label)))
            for label in labels
        ),
    ]
    made = [
        (f"attack {label}", (run.stamp(run.place_of("attack", label)) or {}).get("command"))
        for label in labels
    ]
    facts = [
        ("code revision", provenance.get("revision")),
        ("command", provenance.get("command")),
        ("started", provenance.get("started")),
        ("machine", provenance.get("machine")),
        ("devices", ", ".join(map(str, provenance.get("devices", [])))),
        ("Python", provenance.get("python")),
        *provenance.get("packages", {}).items(),
        ("Keras at work", provenance.get("keras")),
        ("dataset hash", provenance.get("dataset_hash")),
        *made,
    ]
    minutes = ", ".join(f"{stage} {seconds / 60:.1f}" for stage, seconds in stages if seconds)
    named = [("folder", result.run.root), *facts, ("minutes", minutes)]
    yield Heading(result.name)
    yield Facts(tuple((name, str(value)) for name, value in named if value))
    settings = json.dumps(asdict(result.run.experiment), indent=2, ensure_ascii=False)
    yield Details("Configuration", (Verbatim(settings),))


def splits(results: Sequence[Result]) -> list[Table]:
    """How many examples of every class each split holds, once for all runs on the same records."""
    made = []
    for members in by_dataset(results).values():
        alike: dict[str, list[Result]] = {}
        for each in members:
            described = each.provenance["dataset"].get("splits", {})
            alike.setdefault(json.dumps(described, sort_keys=True), []).append(each)
        for number, mine in enumerate(alike.values(), 1):
            names = [each.name for each in mine] if len(alike) > 1 else []
            if table := _splits(mine[0], names, number):
                made.append(table)
    return made


def _splits(result: Result, names_of_runs: Sequence[str], number: int) -> Table | None:
    dataset = result.provenance["dataset"]
    parts = dataset.get("splits", {})
    if not parts:
        return None
    names = [name for name in ("train", "validation", "test") if name in parts]
    counts = {name: parts[name].get("class_counts", {}) for name in names}
    classes = result.classes or tuple(dict.fromkeys(c for each in counts.values() for c in each))
    records = [(each, *(counts[name].get(each, 0) for name in names)) for each in classes]
    records.append(("all", *(parts[name]["count"] for name in names)))
    file = f"splits-{result.dataset}" + (f"-{number}" if number > 1 else "")
    whose = f" (records of {', '.join(names_of_runs)})" if names_of_runs else ""
    return Table(
        name=file,
        caption=f"Examples of every class and split, {result.dataset}{whose}.",
        columns=("Class", *names),
        rows=tuple((each, *(f"{count:,}" for count in cells)) for each, *cells in records),
        frame=pd.DataFrame(records, columns=["class", *names]),
    )
