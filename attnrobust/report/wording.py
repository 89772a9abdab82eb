"""Sentences of the report, made from the runs' own numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from attnrobust.attacks.methods import departures, reach, settled
from attnrobust.config import Attack
from attnrobust.report.results import Estimate, Result, grouped, key, number, once
from attnrobust.report.tables import combine

# By metric and epsilon as text.
Estimates = dict[tuple[str, str], Estimate]
NORMS = {"linf": "L-infinity", "l2": "L2", "l0": "L0"}


def title(results: Sequence[Result]) -> str:
    """A heading for the page."""
    *most, last = dict.fromkeys(result.group[0] for result in results)
    datasets = f"{', '.join(most)} and {last}" if most else last
    names = list(grouped(results, "group"))
    what = names[0][1] if len(names) == 1 else f"{len(names)} models"
    return f"Robustness of {what} on {datasets}"


def summary(results: Sequence[Result]) -> list[str]:
    """What was found, made from the numbers: a paragraph a data set, one on what lies between."""
    paragraphs = []
    for dataset, members in grouped(results, "dataset").items():
        groups = grouped(members, "group")
        counts = sorted({result.clean["accuracy"].n for result in members})
        models = "1 model" if len(groups) == 1 else f"{len(groups)} models"
        images = " or ".join(f"{count:,}" for count in counts)
        sentences = [f"{models} on {dataset}, measured on {images} test images."]
        if rates := majority_rates(members):
            sentences.append(
                f"Always naming the commonest class would give an accuracy of {rates}"
                f"{', by run' * ('–' in rates)}."
            )
        for (_, name), seeds in groups.items():
            sentences += _findings(name, seeds)
        for panel in grouped(members, "panel").values():
            sentences += _difference(panel)
        paragraphs.append(" ".join(sentences))
    return [*paragraphs, *_too_weak(results), *_through_softmax(results), *_elsewhere(results)]


def majority_rates(members: Sequence[Result]) -> str:
    """The accuracy of always naming the commonest class; a range where runs differ."""
    found = [each.clean["majority_rate"].value for each in members if "majority_rate" in each.clean]
    return "–".join(sorted({f"{min(found):.3f}", f"{max(found):.3f}"})) if found else ""


def _too_weak(results: Sequence[Result]) -> list[str]:
    """What must be said before anybody quotes the numbers of an attack that stops short."""
    weak = {
        (result.group[1], result.attack): result.setting
        for result in results
        if result.attack and reach(result.setting) < 1
    }
    return [
        f"Warning: the attack {label} on {name} is too weak to be quoted; its "
        f"{settled(attack).steps} steps reach {reach(attack):.2f} of the ball, so robust accuracy "
        "comes out too high."
        for (name, label), attack in weak.items()
    ]


def _through_softmax(results: Sequence[Result]) -> list[str]:
    """Readings of a paper that must not be taken for measurements."""
    found = dict.fromkeys(
        (each.group[1], each.attack)
        for each in results
        if each.attack and each.setting.outputs != "logits"
    )
    return [
        f"Warning: what {label} leaves of {name} is not the model’s robustness; it attacks through "
        "the softmax, whose gradient vanishes where the model is sure, as stock Foolbox does with "
        "a model that ends in one."
        for name, label in found
    ]


def _elsewhere(results: Sequence[Result]) -> list[str]:
    """Runs whose test images may have been trained on."""
    return [
        f"Warning: {result.name} was measured on other records than it was trained on (or, if it "
        "was made by an early version, before its weights changed); test images may have been in "
        "its training."
        for result in once(results)
        if result.run.elsewhere()
    ]


def _findings(name: str, members: Sequence[Result]) -> list[str]:
    """Of the results of one experiment: the seeds' accuracies without and under attacks."""
    seeds = once(members)
    spread = f" (mean ± standard deviation of {len(seeds)} seeds)" if len(seeds) > 1 else ""
    clean = combine([each.clean["accuracy"] for each in seeds])
    found = [f"{name}: accuracy {clean} without an attack{spread}"]
    for norm, mine in grouped([each for each in members if each.attack], "norm").items():
        worst = [each.worst for each in once(mine)]
        at = sorted(
            {float(level) for each in worst for metric, level in each if metric == "accuracy"}
        )
        missing: list[Estimates] = [{}] * (len(seeds) - len(worst))
        if at:
            found.append(
                _robust(
                    [*worst, *missing],
                    {
                        epsilon: f"the worst of {_ran(mine, epsilon)} {NORMS[norm]} attacks"
                        for epsilon in at
                    },
                )
            )
        else:
            for attack, every in grouped(mine, "named").items():
                missing = [{}] * (len(seeds) - len(every))
                epsilons = sorted({key(e): e for each in every for e in each.epsilons}.values())
                if epsilons:
                    found.append(
                        _robust(
                            [*(each.attacked for each in every), *missing],
                            dict.fromkeys(epsilons, attack),
                        )
                    )
    return [f"{'; '.join(found)}."]


def _ran(results: Sequence[Result], epsilon: float) -> str:
    """How many attacks of a run were made at an epsilon, where several were; a range by seed."""
    counts = [
        sum(each.under("accuracy", epsilon) is not None for each in mine)
        for mine in grouped(results, "run").values()
    ]
    several = sorted({str(count) for count in counts if count > 1}, key=int)
    return "–".join(dict.fromkeys((several[0], several[-1])))


def _robust(seeds: Sequence[Estimates], under: Mapping[float, str]) -> str:
    """Robust accuracy at the middle and the largest epsilon of `under`, which names the attacks."""
    epsilons = list(under)
    chosen = dict.fromkeys((epsilons[(len(epsilons) - 1) // 2], epsilons[-1]))
    parts: dict[str, list[str]] = {}
    for epsilon in chosen:
        value = combine([each.get(("accuracy", key(epsilon))) for each in seeds])
        parts.setdefault(under[epsilon], []).append(f"{value} at ε\u00a0=\u00a0{number(epsilon)}")
    said = [f"{' and '.join(values)} under {attack}" for attack, values in parts.items()]
    return f"robust accuracy {' and '.join(said)}"


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
    under = f" under {members[0].named}" if members[0].label != members[0].name else ""
    overlap = first.low <= second.high and second.low <= first.high
    names = " and ".join(each.group[1] for each in members)
    apart = abs(first.value - second.value)
    return [
        f"At ε\u00a0=\u00a0{number(epsilon)}{under} {names} differ by {apart:.3f}; "
        f"their 95 % intervals {'overlap' if overlap else 'do not overlap'}."
    ]


def about(result: Result) -> dict[str, Any]:
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
        ("dataset hash", provenance.get("dataset_hash")),
        *made,
    ]
    return {
        "label": result.name,
        "folder": str(result.run.root),
        "config": json.dumps(asdict(result.run.experiment), indent=2, ensure_ascii=False),
        "facts": [(name, str(value)) for name, value in facts if value],
        "minutes": [(stage, f"{seconds / 60:.1f}") for stage, seconds in stages if seconds],
    }


def attacks(results: Sequence[Result]) -> list[str]:
    """The attacks in words, each once."""
    found = []
    for result in results:
        attack = settled(result.setting)
        if not result.attack:
            continue
        words = attack.name if result.attack == attack.name else f"{result.attack} ({attack.name})"
        words += f" targeted at {attack.target}" if attack.target else ""
        if reach(attack) < math.inf:
            restarts = "1 start" if attack.restarts == 1 else f"{attack.restarts} starts"
            where = "at random in the ball" if attack.random_start else "at the image"
            words += f" with {attack.steps} steps of {_size(attack)} each and {restarts} {where}"
        elif other := departures(attack):
            words += f" with {', '.join(other)}"
        if attack.outputs != "logits":
            words += ", through the softmax: what it leaves is not the model’s robustness"
        if result.asked_scale != 1:
            words += ", its ε given in the numbers of the model’s first layer"
        found.append(words)
    return list(dict.fromkeys(found))


def _size(attack: Attack) -> str:
    if attack.abs_stepsize is not None:
        return number(attack.abs_stepsize, 3)
    return f"{number(attack.rel_stepsize, 3)} ε"


def intervals(results: Sequence[Result]) -> str:
    """What the intervals of the page are made by."""
    kinds = {
        kind
        for result in once(results)
        if "interval" in result.frame
        for kind in result.frame["interval"]
    }
    if "group_bootstrap" in kinds:
        return (
            "Where a patient or lesion has several test images, these are not independent: "
            "whole groups are resampled (1,000 bootstraps; Wilson’s ends where those of few "
            "groups are narrower). Other proportions have Wilson’s interval."
        )
    said = "" if kinds else " Images of one patient are taken as independent: predict again."
    return "Proportions have Wilson’s interval, other measures 1,000 bootstraps over images." + said


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
    targets = {result.explanation.target for result in results}
    return " or (by run) ".join(
        words.get(target, f"the class {target}") for target in sorted(targets, reverse=True)
    )
