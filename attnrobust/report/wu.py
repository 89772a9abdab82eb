"""Training on corrupted and on adversarial fundus images: Wu's Tables 6 to 9 beside our runs.

Wu, EPFL 2020, sections 4 and 5. Its numbers, not ours; as shares of 1 where it has per cent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from attnrobust.corruptions import RANDOM
from attnrobust.report import wu_figures
from attnrobust.report.figures import Look
from attnrobust.report.results import Estimate, Result, key, once
from attnrobust.report.sections import Section
from attnrobust.report.tables import Table, combine, heads

DATASET = "eyepacs"
PREFIXES = ("wu_baseline", "wu_corrupted", "wu_adversarial", "wu_oversampled")
BASELINE, ADVERSARIAL = "baseline", "adv-trained @ ε = 2.5"
# What Table 8 is measured on, and its severity as text: one of the four, at 1 to 4.
MIXTURE, HIGHEST = "mixture", "4"
COLUMNS = ("Accuracy", "Balanced accuracy", "Cohen kappa")
METRICS = ("accuracy", "balanced_accuracy", "quadratic_kappa")
# By table: of each row its numbers.
PUBLISHED: dict[int, dict[str, tuple[float, ...]]] = {
    6: {
        BASELINE: (0.852, 0.586, 0.805),
        "1": (0.812, 0.475, 0.701),
        "1–2": (0.817, 0.497, 0.725),
        "1–3": (0.826, 0.500, 0.718),
        "1–4": (0.817, 0.515, 0.731),
    },
    7: {
        BASELINE: (0.704, 0.399, 0.612),
        "1": (0.806, 0.477, 0.705),
        "1–2": (0.812, 0.471, 0.703),
        "1–3": (0.807, 0.481, 0.707),
        "1–4": (0.803, 0.466, 0.695),
    },
    8: {
        BASELINE: (0.764, 0.391, 0.501, 0.088),
        "1": (0.778, 0.417, 0.575, 0.034),
        "1–2": (0.785, 0.446, 0.619, 0.032),
        "1–3": (0.776, 0.393, 0.586, 0.050),
        "1–4": (0.791, 0.403, 0.598, 0.026),
    },
    9: {BASELINE: (0.852, 0.586, 0.805), ADVERSARIAL: (0.800, 0.464, 0.668)},
}
CAPTIONS = {
    6: "Trained on corrupted images, the classes as common as they are; judged on clean images.",
    7: "Trained on corrupted images, every class equally common; judged on clean images.",
    8: "The models of Table 6 judged on corrupted images (levels 1–4).",
    9: "Trained on adversarials, judged on clean images.",
}
WORDS = (
    "Wu trained EfficientNet-B0 at 512 px on EyePACS’ five grades. Rows marked “paper” are its "
    "Tables 6 to 9, on its validation set; the others are ours, on the test split. Kappa has "
    "quadratic weights. A row is named by the levels that our run’s training records say.",
    "Success rate, as there: the share of all predictions that PGD with 5 steps changes. Five "
    "steps are a weak attack: no robust accuracy is to be quoted from it. Its curves are not given "
    "as numbers. The paper’s pixels are in [-1, 1], and it does not say in which scale its ε is: "
    "its 2.5/255 may be 1.25/255 here.",
)
NOTE = (
    "Wu’s corruptions are Zeiss’ own, its preprocessing, network and size differ: compare rows of "
    "one kind with each other."
)
DROPPED = (
    "Accuracy drop: accuracy on the clean less that on the corrupted images; its interval is over "
    "pairs of the same image. What becomes of a test image is the same for every model."
)

# Results by whether they were trained on equally common classes, and by row.
Sorted = dict[tuple[bool, str], list[Result]]


def section(results: Sequence[Result], look: Look) -> Section | None:
    """Tables 6 to 9 and Figures 5 and 6, those that there are runs for; None without such runs.

    Args:
        results: Of all runs.
        look: Colours.
    """
    ours = [
        each for each in results if each.group[0] == DATASET and each.group[1].startswith(PREFIXES)
    ]
    of: Sorted = {}
    for each in ours:
        if (place := trained_on(each)) is not None:
            of.setdefault(place, []).append(each)
    if not ours:
        return None
    tables = [table for number in PUBLISHED if (table := _table(number, of))]
    words = list(WORDS)
    if out := list(dict.fromkeys(each.name for each in ours if trained_on(each) is None)):
        words.append(
            "Left out, since their records or their training are no row of these tables: "
            f"{', '.join(out)}."
        )
    ranges = [*PUBLISHED[6]]
    curves = {
        "figure-5": {row: of.get((False, row), []) for row in ranges},
        "figure-5-balanced": {row: of.get((True, row), []) for row in ranges},
        "figure-6": {row: of.get((False, row), []) for row in PUBLISHED[9]},
    }
    pictures = [
        made for name, rows in curves.items() if (made := wu_figures.draw(name, rows, look))
    ]
    return Section(
        "wu",
        "Corrupted and adversarial training, after Wu",
        tuple(words),
        tuple(pictures),
        tuple(tables),
    )


def trained_on(result: Result) -> tuple[bool, str] | None:
    """Whether on equally common classes, and the row; None for what no row stands for.

    From the training's settings and from what its records said of themselves, not from its name.
    """
    experiment = result.run.experiment
    training = experiment.training
    made = result.provenance["dataset"].get("corrupted", {})
    if experiment.data.task or training.corruptions or "test" in made.get("splits", ()):
        return None
    if result.run.elsewhere() or training.groups is not None or training.start:
        return None
    plain = training.loss == "cross_entropy" and training.class_weights == "none"
    if not plain or training.sampling not in ("none", "oversample"):
        return None
    row = _levels(made) if "train" in made.get("splits", ()) else BASELINE
    # Wu corrupts instead of augmenting: a run of that kind on other records is no baseline.
    if bool(training.augmentation) != (row == BASELINE):
        return None
    balanced = training.sampling == "oversample" or bool(made.get("oversampled"))
    if training.method == "adversarial":
        theirs = (
            training.inner_norm,
            key(255 * training.inner_epsilon),
            training.inner_steps,
            training.clean_share,
        ) == ("linf", "2.5", 5, 0.5)
        return (False, ADVERSARIAL) if theirs and row == BASELINE and not balanced else None
    return (balanced, row) if training.method == "standard" and row else None


def _levels(made: Mapping[str, object]) -> str:
    """A row of Table 6 for Wu's four corruptions; empty for other corruptions or levels."""
    names, levels = made.get("corruptions"), made.get("levels")
    rows = {(1,): "1", (1, 2): "1–2", (1, 2, 3): "1–3", (1, 2, 3, 4): "1–4"}
    if not isinstance(names, list) or not isinstance(levels, list) or set(names) != set(RANDOM):
        return ""
    return rows.get(tuple(levels), "")


def _table(number: int, of: Sorted) -> Table | None:
    """One of the tables, or None where no run of ours belongs to it beside the baseline's."""
    corrupted, published = number == 8, PUBLISHED[number]
    of_rows = {row: once(of.get((number == 7, row), [])) for row in published}
    if corrupted:
        of_rows = {
            row: [each for each in members if MIXTURE in each.corrupted]
            for row, members in of_rows.items()
        }
    if not any(of_rows.values()) or (number == 9 and not of_rows[ADVERSARIAL]):
        return None
    columns = (*COLUMNS, "Accuracy drop") if corrupted else COLUMNS
    rows: list[tuple[str, ...]] = []
    records: list[tuple[object, ...]] = []
    for row, numbers in published.items():
        rows.append((f"{row}, paper", *(f"{value:.3f}" for value in numbers)))
        records.append((row, "paper", None, *numbers))
        for head, seeds in heads(of_rows[row]):
            cells = [_corrupted(each) if corrupted else _clean(each) for each in seeds]
            rows.append((f"{row}, {head}", *map(combine, zip(*cells, strict=True))))
            for each, found in zip(seeds, cells, strict=True):
                values = [cell.value if cell else math.nan for cell in found]
                records.append((row, each.label, each.run.experiment.seed, *values))
    frame = pd.DataFrame(records, columns=["training", "model", "seed", *columns])
    return Table(
        name=f"wu-table-{number}",
        caption=f"After Wu’s Table {number}. {CAPTIONS[number]} Rows marked “paper” are not ours.",
        columns=("Corruption levels in training" if number < 9 else "Training", *columns),
        rows=tuple(rows),
        frame=frame.astype({"seed": "Int64"}),
        note=f"{DROPPED} {NOTE}" if corrupted else NOTE,
    )


def _clean(result: Result) -> list[Estimate | None]:
    return [result.clean.get(metric) for metric in METRICS]


def _corrupted(result: Result) -> list[Estimate | None]:
    found = result.corrupted[MIXTURE]
    return [found.get((metric, HIGHEST)) for metric in (*METRICS, "accuracy_drop")]
