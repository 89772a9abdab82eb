"""Sentences of the report, made from the runs' own numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attnrobust.attacks.methods import reach, settled
from attnrobust.report.results import Estimate, Result, combine, grouped, key, number, once

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


def _kinds(results: Sequence[Result], metric: str = "") -> set[str]:
    """What intervals are made by, of one metric or of all."""
    frames = [each.frame for each in results if "interval" in each.frame]
    mine = [each[each["metric"] == metric] if metric else each for each in frames]
    return {kind for each in mine for kind in each["interval"]}


def made_by(results: Sequence[Result], metric: str = "accuracy") -> str:
    """What intervals of a metric are made by, after a comma; nothing for old measurements."""
    kinds = _kinds(results, metric)
    if "group_bootstrap" in kinds:
        return ", whole groups resampled where a patient or lesion has several images"
    names = {"bootstrap": ", images resampled", "wilson": ", Wilson’s"}
    return next((said for kind, said in names.items() if kind in kinds), "")


def intervals(results: Sequence[Result]) -> str:
    """What the intervals of the page are made by."""
    kinds = _kinds(results)
    if "group_bootstrap" in kinds:
        return (
            "Where a patient or lesion has several test images, these are not independent: "
            "whole groups are resampled (1,000 bootstraps; Wilson’s ends where those of few "
            "groups are narrower). Other proportions have Wilson’s interval."
        )
    said = "" if kinds else " Images of one patient are taken as independent: predict again."
    return "Proportions have Wilson’s interval, other measures 1,000 bootstraps over images." + said
