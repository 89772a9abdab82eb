"""Rare classes and networks on fundus photographs: another paper's Tables 4 and 5 beside our runs.

J. Wu, Robust Training and Interpretability for Fundus Imaging (EPFL 2020), sections 2.4 and 3. Its
numbers, not ours; as shares of 1 where it has per cent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from attnrobust.report.results import NOTHING, Result, once
from attnrobust.report.sections import Section
from attnrobust.report.tables import Table, combine, heads

DATASET = "eyepacs"
METRICS = ("accuracy", "balanced_accuracy", "quadratic_kappa")
COLUMNS = ("Batch size", "Accuracy", "Balanced accuracy", "Kappa", "Training time")
Published = tuple[int, float, float, float, str]
BASELINE = "cross-entropy (baseline)"
BALANCING: dict[str, Published] = {
    BASELINE: (16, 0.852, 0.586, 0.805, "14 h 59 min"),
    "focal loss, γ = 1": (48, 0.847, 0.587, 0.800, "6 h 2 min"),
    "focal loss, γ = 2": (48, 0.848, 0.629, 0.814, "6 h 8 min"),
    "focal loss, γ = 3": (48, 0.843, 0.602, 0.815, "6 h 12 min"),
    "focal loss, γ = 4": (48, 0.842, 0.593, 0.803, "5 h 50 min"),
    "class-balanced loss, β = 0.9": (48, 0.848, 0.597, 0.809, "6 h 5 min"),
    "class-balanced loss, β = 0.99": (48, 0.852, 0.621, 0.802, "6 h 9 min"),
    "class-balanced loss, β = 0.999": (48, 0.848, 0.605, 0.807, "6 h 20 min"),
    "inverse-frequency loss": (16, 0.798, 0.596, 0.764, "14 h 30 min"),
    "oversampling, dropout 0": (16, 0.704, 0.399, 0.612, "46 h 39 min"),
    "oversampling, dropout 0.75": (48, 0.826, 0.555, 0.775, "21 h 37 min"),
    "oversampling, dropout 0.9": (48, 0.780, 0.578, 0.780, "20 h 5 min"),
    "oversampling, restart": (48, 0.760, 0.630, 0.765, "5 h 4 min (5 epochs)"),
    "SMOTE": (16, 0.2111, 0.5038, 0.364, "57 h 37 min"),
}
MODELS: dict[str, Published] = {
    "resnet18, 256 px": (128, 0.812, 0.476, 0.701, "2 h 40 min"),
    "resnet18, 512 px": (64, 0.836, 0.521, 0.760, "8 h 26 min"),
    "resnet50, 256 px": (64, 0.819, 0.519, 0.725, "5 h 59 min"),
    "resnet50, 512 px": (64, 0.826, 0.467, 0.725, "19 h 25 min"),
    "efficientnet_b0, 256 px": (192, 0.815, 0.440, 0.696, "2 h 29 min"),
    "efficientnet_b0, 512 px": (16, 0.852, 0.586, 0.805, "14 h 59 min"),
    "efficientnet_b1, 256 px": (192, 0.817, 0.455, 0.706, "2 h 29 min"),
    "efficientnet_b1, 512 px": (16, 0.850, 0.587, 0.805, "19 h 15 min"),
    "efficientnet_b2, 256 px": (96, 0.823, 0.549, 0.739, "2 h 20 min"),
    "efficientnet_b2, 512 px": (16, 0.852, 0.610, 0.811, "19 h 49 min"),
    "efficientnet_b3, 256 px": (96, 0.828, 0.539, 0.746, "5 h 50 min"),
    "efficientnet_b3, 512 px": (24, 0.851, 0.585, 0.803, "10 h 1 min"),
    "inception_v3, 299 px": (64, 0.816, 0.497, 0.706, "7 h 12 min"),
}
WORDS = (
    "Wu graded fundus photographs (five grades) with several networks and several ways to make the "
    "rare grades count. Rows marked “paper” are Tables 4 and 5 there, 20 epochs unless said "
    "otherwise; the others are ours, on the stored grades of eyepacs.",
    "The paper’s numbers are those of its best epoch on the images by which that epoch was chosen; "
    "ours are of the test split, the epoch chosen on the validation split.",
)
NOTE = (
    "With the paper’s class sizes (18,134 to 480) the class-balanced loss weighs the rarest grade "
    "by less than 1 % more than the commonest at β = 0.9 and 0.99, and 2.6 times as much at 0.999. "
    "Batch sizes differ between the paper’s rows as well."
)


def section(results: Sequence[Result]) -> Section | None:
    """Both tables, or None where no run of ours grades these images after standard training."""
    members = [each for each in once(results) if _fits(each)]
    if not members:
        return None
    plain = [each for each in members if method(each) == BASELINE]
    made = (
        _table(("wu-models", "Networks trained with cross-entropy"), MODELS, plain, network),
        _table(("wu-balancing", "Ways to make rare grades count"), BALANCING, members, method),
    )
    return Section("rare-grades", "Rare grades and networks, after Wu", WORDS, tables=made)


def method(result: Result) -> str:
    """What a run did about rare classes, as the rows of Table 5 are called."""
    training, model = result.run.experiment.training, result.run.experiment.model
    parts = []
    if training.loss == "focal":
        parts.append(f"focal loss, γ = {training.focal_gamma:g}")
    if training.class_weights == "effective_number":
        parts.append(f"class-balanced loss, β = {training.class_balanced_beta:g}")
    if training.class_weights == "inverse_frequency":
        parts.append("inverse-frequency loss")
    if training.sampling == "oversample":
        dropout = 0.0 if model.head == "gap" else model.dropout
        parts.append(f"oversampling, {'restart' if training.start else f'dropout {dropout:g}'}")
    if training.sampling == "smote":
        parts.append("SMOTE")
    return " and ".join(parts) or BASELINE


def network(result: Result) -> str:
    """Network and image size, as the rows of Table 4 are called."""
    experiment = result.run.experiment
    width = "" if experiment.model.width == 1 else f" {experiment.model.width:g}"
    return f"{experiment.model.backbone}{width}, {experiment.data.image_size} px"


def _fits(result: Result) -> bool:
    experiment = result.run.experiment
    training = experiment.training
    if result.dataset != DATASET or training.method != "standard" or training.corruptions:
        return False
    # Corrupted records and fine-tuned networks are no way to balance, nor a baseline.
    started = training.groups is not None or (
        bool(training.start) and training.sampling != "oversample"
    )
    made = result.provenance["dataset"].get("corrupted")
    return not started and not made and not result.run.elsewhere()


def _table(
    words: tuple[str, str],
    published: dict[str, Published],
    members: Sequence[Result],
    row_of: Callable[[Result], str],
) -> Table:
    rows: list[tuple[str, ...]] = []
    records: list[tuple[object, ...]] = []
    ours = [row_of(each) for each in members]
    for row in dict.fromkeys((*published, *ours)):
        if row in published:
            batch, *values, time = published[row]
            rows.append((f"{row}, paper", str(batch), *(f"{value:.3f}" for value in values), time))
            records.append((row, "paper", None, batch, *values, None, None))
        mine = [each for each, own in zip(members, ours, strict=True) if own == row]
        for named, seeds in heads(mine):
            rows.append((f"{row}, {named}", *_cells(seeds)))
            records += _records(row, seeds)
    columns = ["row", "model", "seed", "batch_size", *METRICS, "seconds", "epochs"]
    whole = {"seed": "Int64", "batch_size": "Int64", "epochs": "Int64"}
    return Table(
        name=words[0],
        caption=f"{words[1]}, eyepacs; rows marked “paper” are not ours.",
        columns=("Model, size" if published is MODELS else "Method", *COLUMNS),
        rows=tuple(rows),
        frame=pd.DataFrame(records, columns=columns).astype(whole),
        note=NOTE if published is BALANCING else "",
    )


def _cells(seeds: Sequence[Result]) -> Iterator[str]:
    sizes = sorted({each.run.experiment.training.batch_size for each in seeds})
    yield "–".join(map(str, sizes))
    for metric in METRICS:
        yield combine([each.clean.get(metric) for each in seeds])
    times = [seconds for each in seeds if (seconds := _seconds(each))]
    epochs = sorted({len(each.history) for each in seeds})
    spent = _spoken(sum(times) / len(times)) if times else NOTHING
    yield f"{spent} ({'–'.join(map(str, epochs))} epochs)"


def _records(row: str, seeds: Sequence[Result]) -> Iterator[tuple[object, ...]]:
    for each in seeds:
        found = [each.clean.get(metric) for metric in METRICS]
        values = [one.value if one else math.nan for one in found]
        experiment = each.run.experiment
        yield (
            row,
            each.label,
            experiment.seed,
            experiment.training.batch_size,
            *values,
            _seconds(each),
            len(each.history),
        )


def _seconds(result: Result) -> float | None:
    """Of training; of all epochs at least, since a stage that was cut off knows its last part."""
    epochs = sum(float(row.get("seconds", 0)) for row in result.history)
    return max(result.run.seconds("train") or 0.0, epochs) or None


def _spoken(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
