"""What the files of a run tell of its network, its training and its evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from attnrobust import task
from attnrobust.measures.metrics import METRICS
from attnrobust.report.facts import Answer, Held
from attnrobust.report.limits import attacks


def model(run: Held) -> Answer | None:
    """The network."""
    found, made = run.result.provenance, run.result.run.experiment.model
    text = f"{made.backbone}, width {made.width:g}"
    text += f", cut {made.cut}, head {made.head}" if made.head else ""
    text += f", variant {made.variant}" if made.head.startswith("soft_attention") else ""
    files: tuple[Path, ...] = (run.file("config.json"),)
    if "parameters" in found:
        text += f"; {found['parameters']:,} parameters"
        files = (*files, run.file("provenance.json"))
    weights = run.file("train", "weights.h5")
    return Answer(text, (*files, *([weights] if weights.is_file() else [])))


def output(run: Held) -> Answer | None:
    """What it says of an image."""
    names = run.result.classes
    if not names:
        return None
    text = f"a logit for each of {len(names)} classes ({', '.join(names)}); the largest is read"
    return Answer(text, (run.file("provenance.json"),))


def software(run: Held) -> Answer | None:
    """Versions."""
    found = run.result.provenance
    if not found.get("packages"):
        return None
    told = [f"Python {found['python']}"] if "python" in found else []
    told += [f"{name} {version}" for name, version in found["packages"].items()]
    return Answer(", ".join(told), (run.file("provenance.json"),))


def code(run: Held) -> Answer | None:
    """What makes it again."""
    found = run.result.provenance
    if "revision" not in found:
        return None
    text = f"code revision {found['revision']}; {found.get('command', '')}".rstrip("; ")
    return Answer(text, (run.file("provenance.json"),))


def start(run: Held) -> Answer | None:
    """Initial weights."""
    made = run.result.run.experiment
    text = f"weights: {made.model.weights}, seed {made.seed}"
    text += f"; started from the run {made.training.start}" if made.training.start else ""
    files = [run.file("config.json")]
    if digest := (run.result.run.stamp("train") or {}).get("used", {}).get("starting_weights"):
        text += f"; digest {digest}"
        files.append(run.file("train", "stage.json"))
    return Answer(text, tuple(files))


TRAINING = (
    "method",
    "epochs",
    "batch_size",
    "optimizer",
    "learning_rate",
    "schedule",
    "loss",
    "class_weights",
    "sampling",
    "augmentation",
    "corruptions",
)
INNER = ("inner_norm", "inner_epsilon", "inner_steps")


def training(run: Held) -> Answer | None:
    """How the weights were found."""
    made = run.result.run.experiment.training
    names = (*TRAINING, *(INNER if made.method != "standard" else ()))
    values = {name: getattr(made, name) for name in names}
    told = [
        f"{name} {', '.join(value) if isinstance(value, tuple) else value}"
        for name, value in values.items()
        if value not in ((), "none")
    ]
    seeds = f"; {run.result.seeds} seeds" if run.result.seeds > 1 else ""
    return Answer("; ".join(told) + seeds, (run.file("config.json"),))


def imbalance(run: Held) -> Answer | None:
    """What is done about rare classes."""
    made = run.result.run.experiment.training
    text = f"class weights {made.class_weights}, sampling {made.sampling}, loss {made.loss}"
    return Answer(text, (run.file("config.json"),))


def selection(run: Held) -> Answer | None:
    """Which epoch's weights were kept."""
    epoch, count = run.result.best_epoch(), len(run.result.history)
    if epoch is None:
        return None
    text = f"lowest validation loss: epoch {epoch} of {count}"
    return Answer(text, (run.file("train", "history.jsonl"),))


def _measured(run: Held) -> tuple[Path, ...]:
    return (run.file("evaluate", "measurements.csv"),)


def metrics(run: Held) -> Answer | None:
    """What was measured."""
    names = dict.fromkeys(run.result.frame["metric"].str.partition("[")[0])
    return Answer(", ".join(names), _measured(run))


def intervals(run: Held) -> Answer | None:
    """How sure numbers are."""
    if "interval" not in run.result.frame:
        return None
    kinds = [kind for kind in dict.fromkeys(run.result.frame["interval"]) if kind]
    return Answer(f"95 % intervals by {', '.join(kinds)}", _measured(run)) if kinds else None


def performance(run: Held) -> Answer | None:
    """The first numbers without an attack: accuracies, or Dice of a network that segments."""
    first = run.result.headline
    titles = {name: row.title for name, row in METRICS.items() if row.headline}
    told = [
        f"{titles.get(name, name).lower()} {run.result.clean[name]}"
        for name in dict.fromkeys((first, *titles))
        if name in run.result.clean
    ]
    n = run.result.clean[first].n
    return Answer(f"{'; '.join(told)}; n = {n:,} test images", _measured(run))


def recalls(run: Held) -> Answer | None:
    """Of each class."""
    told = [
        f"{name[7:-1]} {found}"
        for name, found in run.result.clean.items()
        if name.startswith("recall[")
    ]
    return Answer(f"recall: {'; '.join(told)}", _measured(run)) if told else None


def robustness(run: Held) -> Answer | None:
    """Attacks and corruptions."""
    told = attacks(run.results)
    told += [f"corruptions: {', '.join(run.result.corrupted)}"] if run.result.corrupted else []
    stamps = [each.path("attack", "stage.json") for each in run.results if each.attack]
    return Answer("; ".join(told), (*_measured(run), *stamps)) if told else None


def explanations(run: Held) -> Answer | None:
    """Heatmaps."""
    places = [each.path("explain", "stage.json") for each in run.results]
    there = tuple(dict.fromkeys(place for place in places if place.is_file()))
    methods = dict.fromkeys(name for each in run.results for name in each.explanation.methods)
    halves = {each.explanation.precision for each in run.results} - {"float32"}
    said = ", ".join((*methods, *(f"computed in {name}" for name in sorted(halves))))
    return Answer(f"heatmaps: {said}", there) if there else None


def elsewhere(run: Held) -> Answer | None:
    """Measured on other records than it was trained on."""
    if not run.result.run.elsewhere():
        return None
    text = "measured on other records than it was trained on"
    return Answer(text, (run.file("predict", "stage.json"), run.file("train", "stage.json")))


def failures(run: Held) -> Answer | None:
    """What is wrong without an attack, and what it is most often taken for."""
    if run.predicted is None or "logits" not in run.predicted:
        return None
    labels, found = run.predicted["label"], task.predict(run.predicted["logits"])
    wrong = found != labels
    if labels.ndim != 1 or not wrong.any():
        return None
    kinds, often = np.unique(np.stack([labels[wrong], found[wrong]]), axis=1, return_counts=True)
    label, said = (run.result.class_name(int(each)) for each in kinds[:, often.argmax()])
    text = (
        f"{int(wrong.sum()):,} of {len(labels):,} test images wrong; most often {label} read as "
        f"{said} ({often.max():,})"
    )
    return Answer(text, (run.file("predict", "clean.npz"),))
