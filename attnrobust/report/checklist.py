"""Reporting checklists and a model card, filled with what the files of the runs tell.

CLAIM 2024 Update (Tejani et al., Radiology: Artificial Intelligence 2024; 6(4): e240300) and
TRIPOD+AI (Collins et al., BMJ 2024; 385: e078378), their items in a few words of ours. What no file
tells stays blank: it is the authors'.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from attnrobust.report import facts, model_facts
from attnrobust.report.blocks import Asked, Section
from attnrobust.report.facts import Answer, Fact, Held
from attnrobust.report.results import Result

BLANK = "_not known from the files of this run_"
# Number, what is asked, and what answers it; None: nothing that a run leaves does.
Item = tuple[str, str, Fact | None]
CLAIM: tuple[Item, ...] = (
    ("1", "title: the study is one of AI, and of which kind", None),
    ("2", "structured abstract", None),
    ("3", "background, intended use and clinical role", None),
    ("4", "aims and hypotheses", None),
    ("5", "prospective or retrospective", None),
    ("6", "goal of the study", None),
    ("7", "data sources", facts.source),
    ("8", "inclusion and exclusion criteria", None),
    ("9", "preprocessing", facts.preprocessing),
    ("10", "selection of subsets", facts.subset),
    ("11", "de-identification", None),
    ("12", "missing data", facts.rejects),
    ("13", "image acquisition", None),
    ("14", "definition of the reference standard", None),
    ("15", "why this reference standard", None),
    ("16", "source of annotations, qualification of annotators", None),
    ("17", "how the test set was annotated", None),
    ("18", "variability within and among annotators", None),
    ("19", "how data were assigned to partitions, in which shares", facts.partition),
    ("20", "level at which partitions are disjoint", facts.level),
    ("21", "intended size of the test set", None),
    ("22", "the model", model_facts.model),
    ("23", "software", model_facts.software),
    ("24", "initial parameters", model_facts.start),
    ("25", "training", model_facts.training),
    ("26", "how the final model was selected", model_facts.selection),
    ("27", "ensembling", None),
    ("28", "metrics", model_facts.metrics),
    ("29", "uncertainty and significance", model_facts.intervals),
    ("30", "robustness", model_facts.robustness),
    ("31", "explainability", model_facts.explanations),
    ("32", "testing on internal data", model_facts.performance),
    ("33", "testing on external data", model_facts.elsewhere),
    ("34", "registration, of clinical trials", None),
    ("35", "numbers included and excluded", facts.flow),
    ("36", "demographic and clinical characteristics", None),
    ("37", "performance on all partitions", model_facts.performance),
    ("38", "diagnostic performance and its precision", model_facts.recalls),
    ("39", "analysis of failures", model_facts.failures),
    ("40", "limitations", None),
    ("41", "implications for practice, intended use", None),
    ("42", "protocol or further details", None),
    ("43", "availability of software, model and data", model_facts.code),
    ("44", "funding", None),
)
TRIPOD: tuple[Item, ...] = (
    ("1", "title", None),
    ("2", "abstract", None),
    ("3a", "health-care context", None),
    ("3b", "target population and users", None),
    ("3c", "known health inequalities", None),
    ("4", "objectives: development, evaluation or both", None),
    ("5a", "data sources, of development and evaluation", facts.source),
    ("5b", "dates of the data", None),
    ("6a", "setting, centres", None),
    ("6b", "eligibility", None),
    ("6c", "treatments", None),
    ("7", "data preparation and quality checks", facts.preprocessing),
    ("8a", "outcome", None),
    ("8b", "who assessed the outcome", None),
    ("8c", "blinding of the outcome", None),
    ("9a", "choice of predictors", None),
    ("9b", "definition of predictors", None),
    ("9c", "who assessed predictors", None),
    ("10", "sample size", None),
    ("11", "missing data", facts.rejects),
    ("12a", "use of data for development and evaluation", facts.partition),
    ("12b", "handling of predictors", facts.preprocessing),
    ("12c", "model, its building and internal validation", model_facts.training),
    ("12d", "heterogeneity across clusters", None),
    ("12e", "measures and plots of performance", model_facts.metrics),
    ("12f", "updating of the model", None),
    ("12g", "how predictions are computed", model_facts.output),
    ("13", "class imbalance", model_facts.imbalance),
    ("14", "fairness", None),
    ("15", "output of the model and its thresholds", model_facts.output),
    ("16", "differences of development and evaluation data", model_facts.elsewhere),
    ("17", "ethical approval and consent", None),
    ("18a", "funding", None),
    ("18b", "conflicts of interest", None),
    ("18c", "protocol", None),
    ("18d", "registration", None),
    ("18e", "data sharing", None),
    ("18f", "code sharing", model_facts.code),
    ("19", "involvement of patients and the public", None),
    ("20a", "flow of participants", facts.flow),
    ("20b", "characteristics of participants", None),
    ("20c", "comparison of development and evaluation data", facts.classes),
    ("21", "numbers and events in each analysis", facts.classes),
    ("22", "full specification of the model", model_facts.model),
    ("23a", "performance with intervals", model_facts.performance),
    ("23b", "heterogeneity of performance across clusters", None),
    ("24", "results of updating", None),
    ("25", "interpretation, fairness among it", None),
    ("26", "limitations", None),
    ("27a", "usability: poor or missing inputs", None),
    ("27b", "usability: users and expertise", None),
    ("27c", "next steps, applicability", None),
)
CHECKLISTS = (("CLAIM 2024", CLAIM), ("TRIPOD+AI", TRIPOD))
CARD: tuple[tuple[str, tuple[tuple[str, Fact | None], ...]], ...] = (
    (
        "Model",
        (
            ("network", model_facts.model),
            ("output", model_facts.output),
            ("initial weights", model_facts.start),
            ("software", model_facts.software),
            ("made again by", model_facts.code),
        ),
    ),
    (
        "Intended use",
        (
            ("intended use", None),
            ("intended users", None),
            ("uses it is not meant for", None),
        ),
    ),
    (
        "Data",
        (
            ("source", facts.source),
            ("preprocessing", facts.preprocessing),
            ("subset", facts.subset),
            ("left out", facts.rejects),
            ("splits", facts.flow),
            ("how split", facts.partition),
            ("level of the split", facts.level),
            ("classes", facts.classes),
            ("demography", None),
        ),
    ),
    (
        "Training",
        (
            ("training", model_facts.training),
            ("class imbalance", model_facts.imbalance),
            ("selection", model_facts.selection),
        ),
    ),
    (
        "Evaluation",
        (
            ("metrics", model_facts.metrics),
            ("intervals", model_facts.intervals),
            ("without an attack", model_facts.performance),
            ("of each class", model_facts.recalls),
            ("robustness", model_facts.robustness),
            ("explanations", model_facts.explanations),
            ("failures", model_facts.failures),
            ("external data", model_facts.elsewhere),
        ),
    ),
    (
        "Ethics",
        (
            ("ethical approval", None),
            ("fairness", None),
            ("known harms", None),
        ),
    ),
)


def section(results: Sequence[Result], _: Asked) -> Section:
    """Where the card and the checklist are, and how much of them the files answer."""
    runs = facts.runs_of(list(results))
    known: dict[Path, str] = {}
    rows = [row for run in runs for row in _rows(run, known)]
    frame = pd.DataFrame(rows)
    counts = []
    for name, items in CHECKLISTS:
        mine = frame[(frame["checklist"] == name) & (frame["answer"] != "")]
        counts.append(f"{mine['item'].nunique()} of {len(items)} items of {name}")
    words = (
        "model-card.md and checklist.csv beside this page say what a reader of a paper asks of "
        f"these models. From the files of these runs {' and '.join(counts)} are answered, each "
        "with the file that the answer is from and its SHA-256. What no file tells is blank: it is "
        "for the authors to say, such as who the patients were and what the model is meant for."
    )
    texts = {
        "checklist.csv": frame.to_csv(index=False),
        "model-card.md": "\n".join(line for run in runs for line in _card(run, known)),
    }
    return Section("card", "Model card and checklist", (words,), texts=texts)


def _rows(run: Held, known: dict[Path, str]) -> list[dict[str, Any]]:
    """Every item of both checklists, of one run."""
    experiment = run.result.run.experiment
    rows = []
    for name, items in CHECKLISTS:
        for number, what, fact in items:
            found = fact(run) if fact else None
            files = found.files if found else ()
            rows.append(
                {
                    "checklist": name,
                    "item": number,
                    "asks": what,
                    "dataset": experiment.data.dataset,
                    "experiment": experiment.name,
                    "seed": experiment.seed,
                    "answer": found.text if found else "",
                    "files": "; ".join(map(str, files)),
                    "sha256": "; ".join(_hash(each, known) for each in files),
                }
            )
    return rows


def _hash(path: Path, known: dict[Path, str]) -> str:
    """SHA-256 of a file, each read once; empty where it is not there."""
    if path not in known:
        known[path] = ""
        if path.is_file():
            with path.open("rb") as file:
                known[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return known[path]


def _card(run: Held, known: dict[Path, str]) -> list[str]:
    """The card of one run, in Markdown."""
    lines = [f"# Model card: {_plain(run.result.name)}", ""]
    for heading, items in CARD:
        lines += [f"## {heading}", ""]
        for what, fact in items:
            found = fact(run) if fact else None
            lines.append(f"- **{what}**: {_told(found, known)}")
        lines.append("")
    lines += [
        "## Caveats",
        "",
        "- Robust accuracy is an upper bound: a stronger attack can only lower it.",
        "- Nothing here says whether the model is fit for patients.",
        "",
    ]
    return lines


def _plain(text: str) -> str:
    """Text in Markdown, whatever is in it."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", " ".join(text.split()))


def _told(found: Answer | None, known: dict[Path, str]) -> str:
    if not found:
        return BLANK
    text = _plain(found.text)
    files = ", ".join(f"`{each}` {_hash(each, known)[:16]}".rstrip() for each in found.files)
    return f"{text} ({files})"
