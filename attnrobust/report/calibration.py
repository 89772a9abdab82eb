"""How far the probabilities of every run can be believed, as trained and with a temperature."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pandas as pd

from attnrobust.measures import calibration as measures
from attnrobust.measures import metrics
from attnrobust.report import reliability
from attnrobust.report.blocks import Asked, Section, Table
from attnrobust.report.commands import again
from attnrobust.report.figures import colours
from attnrobust.report.results import Result, by_dataset, combine, heads, once

WORDS = (
    "A model is calibrated if 80 % of the images that it is 80 % sure of are right. Temperature "
    "scaling (Guo et al. 2017) divides the logits by one number T, fitted on the validation split "
    "by its likelihood; no prediction changes. T above 1 says that the model was too sure.",
)
NOTE = (
    "ECE: expected calibration error of the predicted class in 15 bins of equal width; adaptive: "
    "of equally many images. Both are too large for few images, so they have no interval. RMSCE: "
    "root mean square calibration error over all classes, debiased (Kumar et al. 2019). NLL: "
    "negative log-likelihood. Smaller is better. Entropy, in nats as NLL, only says how spread out "
    "the probabilities are."
)


def section(results: Sequence[Result], _: Asked) -> Section | None:
    """Reliability diagrams and a table, or None where nothing of it was measured."""
    members = [each for each in once(results) if "ece" in each.clean]
    if not members:
        return None
    diagrams = [found for each in members if (found := reliability.read(each))]
    frames = [reliability.table(each) for each in diagrams]
    pictures = [reliability.draw(diagrams, colours(results))] if diagrams else []
    tables = (table(part) for part in by_dataset(members).values())
    return Section(
        "calibration",
        "Calibration",
        (*WORDS, *_left_out(members), *pictures, *tables),
        {"calibration-bins": pd.concat(frames)} if frames else {},
    )


def _left_out(members: Sequence[Result]) -> list[str]:
    """What must be said of runs without a temperature, or with one that means nothing."""
    said = []
    without = [each for each in members if "temperature" not in each.clean]
    if without:
        made = [
            again(each.run, "predict evaluate", place="predict", more="--force") for each in without
        ]
        said.append(
            f"No temperature is known for {_names(without)}: predict did not keep the validation "
            f"split’s logits when they were made. This makes them: {' && '.join(made)}"
        )
    fitted = [each for each in members if "temperature" in each.clean]
    ends = [each for each in fitted if measures.is_at_end(each.clean["temperature"].value)]
    if ends:
        said.append(
            f"No temperature is best for {_names(ends)}: the validation split is all right, or no "
            "better than chance. T stands at an end of the range searched, from "
            f"{' to '.join(f'{end:g}' for end in measures.TEMPERATURES)}; do not use it."
        )
    return said


def _names(members: Sequence[Result]) -> str:
    return ", ".join(each.name for each in members)


def table(members: Sequence[Result]) -> Table:
    """A row a metric and two columns an experiment, as trained and scaled, of one dataset."""
    dataset, columns = members[0].dataset, heads(members)
    temperatures = [
        combine([each.clean.get("temperature") for each in seeds]) for _, seeds in columns
    ]
    rows = [("Temperature T", *(cell for found in temperatures for cell in ("1.000", found)))]
    shown = {"accuracy": metrics.METRICS["accuracy"], **measures.CALIBRATION}
    for metric, head in ((name, row.title) for name, row in shown.items() if row.title):
        both = ((_as_trained(seeds, metric), _scaled(seeds, metric)) for _, seeds in columns)
        rows.append((head, *itertools.chain.from_iterable(both)))
    frame = pd.concat([each.frame for each in members])
    every = {f"{name}{end}" for name in measures.CALIBRATION for end in ("", "_scaled")}
    wanted = frame["metric"].isin({*every, "accuracy", "temperature"})
    counts = sorted(
        {each.clean["temperature"].n for each in members if "temperature" in each.clean}
    )
    images = f" T was fitted on {' or '.join(f'{n:,}' for n in counts)} images." if counts else ""
    return Table(
        name=f"calibration-{dataset}",
        caption=f"Calibration without an attack, as trained and with the temperature: {dataset}.",
        columns=("", *("as trained", "scaled") * len(columns)),
        rows=tuple(rows),
        frame=frame[wanted & (frame["condition"] == "clean")].astype(
            {"seed": "Int64", "n": "Int64"}
        ),
        groups=(("", 1), *((head, 2) for head, _ in columns)),
        note=NOTE + images,
    )


def _as_trained(seeds: Sequence[Result], metric: str) -> str:
    return combine([each.clean.get(metric) for each in seeds])


def _scaled(seeds: Sequence[Result], metric: str) -> str:
    """With the temperature; the largest logit stays the largest, so accuracy does not change."""
    name = metric if metric == "accuracy" else f"{metric}_scaled"
    return combine([each.clean.get(name) for each in seeds if "temperature" in each.clean])
