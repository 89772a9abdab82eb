"""Sentences and commands of the report, made from the runs' own numbers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attnrobust.report.results import Result, grouped, number
from attnrobust.report.tables import combine
from attnrobust.runs import attack_file

STAGES = ("train", "predict", "attack", "evaluate", "explain")


def title(results: Sequence[Result]) -> str:
    """A heading for the page."""
    datasets = " and ".join(dict.fromkeys(result.group[0] for result in results))
    names = list(grouped(results, "group"))
    what = names[0][1] if len(names) == 1 else f"{len(names)} models"
    return f"Robustness of {what} on {datasets}"


def summary(results: Sequence[Result]) -> list[str]:
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
            sentences.append(
                f"Always naming the commonest class would give an accuracy of {rate.value:.3f}."
            )
        for (_, name), seeds in groups.items():
            sentences += _findings(name, seeds)
    for members in grouped(results, "panel").values():
        sentences += _difference(members)
    return sentences + _too_weak(results)


def _too_weak(results: Sequence[Result]) -> list[str]:
    """What must be said before anybody quotes the numbers of an attack that stops short."""
    weak = {
        result.group[1]: result.run.experiment.attack
        for result in results
        if result.run.experiment.attack.reach < 1
    }
    return [
        f"Warning: the attack on {name} is too weak to be quoted; its {attack.steps} steps reach "
        f"{attack.reach:.2f} of the ball, so robust accuracy comes out too high."
        for name, attack in weak.items()
    ]


def _findings(name: str, seeds: Sequence[Result]) -> list[str]:
    spread = f" (mean ± standard deviation of {len(seeds)} seeds)" if len(seeds) > 1 else ""
    clean = combine([each.clean["accuracy"] for each in seeds])
    found = [f"{name}: accuracy {clean} without an attack{spread}"]
    epsilons = seeds[0].epsilons
    attack = seeds[0].run.experiment.attack.name
    if epsilons:
        shown = dict.fromkeys((epsilons[(len(epsilons) - 1) // 2], epsilons[-1]))
        values = [
            f"{combine([each.under('accuracy', epsilon) for each in seeds])} "
            f"at ε\u00a0=\u00a0{number(epsilon)}"
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
    names = " and ".join(each.group[1] for each in members)
    apart = abs(first.value - second.value)
    return [
        f"At ε\u00a0=\u00a0{number(epsilon)} {names} differ by {apart:.3f}; "
        f"their 95 % intervals {'overlap' if overlap else 'do not overlap'}."
    ]


def missing(result: Result) -> str:
    """The commands that make a run's heatmaps."""
    attack = result.run.experiment.attack.name
    stages = ["explain"] if result.run.path("attack", attack_file(attack, 0)).is_file() else [
        "attack", "evaluate", "explain"]  # fmt: skip
    return " && ".join(command(result, stage) for stage in stages)


def about(result: Result) -> dict[str, Any]:
    """Where a run comes from: folder, configuration, provenance, minutes of its stages."""
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


def command(result: Result, stage: str) -> str:
    """The command line of one stage of a run."""
    experiment = result.run.experiment
    module = f"experiments.{experiment.data.dataset}.{experiment.name}"
    return f"python -m {module} {stage} --seed {experiment.seed}"


def commands(results: Sequence[Result], out: Path) -> list[str]:
    """The command lines that repeat every run and the report."""
    folders = " ".join(shlex.quote(str(result.run.root)) for result in results)
    report = f"python -m attnrobust report {folders} --out {shlex.quote(str(out))}"
    return [*(command(result, "all") for result in results), report]


def attacks(results: Sequence[Result]) -> list[str]:
    """The attacks in words, each once."""
    found = []
    for result in results:
        attack = result.run.experiment.attack
        restarts = "1 start" if attack.restarts == 1 else f"{attack.restarts} starts"
        where = "at random in the ball" if attack.random_start else "at the image"
        found.append(f"{attack.name} with {attack.steps} steps of {number(attack.rel_stepsize, 3)} "
                     f"ε each and {restarts} {where}")  # fmt: skip
    return list(dict.fromkeys(found))


def half_width(results: Sequence[Result]) -> str:
    """Half the widest interval of the clean accuracies, as text; empty if none is known."""
    known = [result.clean["accuracy"] for result in results]
    widths = [(each.high - each.low) / 2 for each in known if each.has_interval]
    return f"{max(widths):.3f}" if widths else ""


def explained(results: Sequence[Result]) -> str:
    """Which class the heatmaps explain, in words."""
    words = {
        "prediction": "the class that the model predicts for that very image",
        "label": "the true class",
    }
    targets = {result.run.experiment.explanation.target for result in results}
    return " or (by run) ".join(words[target] for target in sorted(targets, reverse=True))
