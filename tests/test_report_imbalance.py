"""Wu's Tables 4 and 5 beside our runs, and confusion matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_helpers import pictures, tables
from test_report import make_run
from test_report_calibration import page_of, predicted, row_of

from attnrobust import config
from attnrobust.disk.runs import Run, load_json, save_json, save_npz, save_text
from attnrobust.report import confusion, paper_tables, papers, reading
from attnrobust.report.blocks import Asked, Section
from attnrobust.report.results import Result

pytestmark = pytest.mark.usefixtures("cheap_pages")
PLAIN = ("training.class_weights=none",)
WU = papers.read()["wu"]
(RARE,) = (chapter for chapter in WU.sections if chapter.anchor == "rare-grades")
BALANCING = next(table for table in RARE.tables if table.name == "wu-balancing")
BASELINE = "cross-entropy (baseline)"


def section(results: list[Result]) -> Section | None:
    return paper_tables.section(WU, RARE, results)


def run_of(root: Path, name: str, *settings: str, seed: int = 0, dataset: str = "eyepacs") -> Run:
    run = predicted(make_run(root, name, dataset=dataset, seed=seed, heatmaps=False))
    changed = config.with_settings(run.experiment, settings)
    save_text(run.path("config.json"), config.to_json(changed))
    return Run.open(run.root)


@pytest.mark.parametrize(
    ("settings", "row"),
    [
        (PLAIN, "cross-entropy (baseline)"),
        ((*PLAIN, "training.loss=focal", "training.focal_gamma=3"), "focal loss, γ = 3"),
        (("training.class_weights=effective_number",), "class-balanced loss, β = 0.99"),
        ((), "inverse-frequency loss"),
        (("training.loss=focal",), "focal loss, γ = 2 and inverse-frequency loss"),
        ((*PLAIN, "training.sampling=oversample", "model.head=gap"), "oversampling, dropout 0"),
        (
            (*PLAIN, "training.sampling=oversample", "model.dropout=0.75"),
            "oversampling, dropout 0.75",
        ),
        ((*PLAIN, "training.sampling=oversample", "training.start=x"), "oversampling, restart"),
        ((*PLAIN, "training.sampling=smote"), "SMOTE"),
    ],
)
def test_a_run_stands_in_the_row_of_its_method(tmp_path: Path, settings, row: str) -> None:
    (result,) = reading.read([run_of(tmp_path, "tiny", *settings)])
    assert papers.place(WU.rows[BALANCING.rows], result) == row
    assert (row in BALANCING.values) == (" and " not in row)


def test_both_tables_stand_beside_ours(tmp_path: Path) -> None:
    run_list = [
        run_of(tmp_path, "plain", *PLAIN, "training.batch_size=16"),
        run_of(tmp_path, "plain", *PLAIN, "training.batch_size=16", seed=1),
        run_of(tmp_path, "focal", *PLAIN, "training.loss=focal"),
        run_of(tmp_path, "robust", *PLAIN, "training.method=adversarial"),
        run_of(tmp_path, "binary", *PLAIN, "data.task=binary"),
        run_of(tmp_path, "other", *PLAIN, dataset="demo"),
    ]
    text = page_of(run_list, tmp_path / "out")
    assert text.count('<section id="rare-grades">') == text.count('href="#rare-grades"') == 1
    balancing, models = (
        pd.read_csv(tmp_path / "out" / "tables" / f"wu-{name}.csv")
        for name in ("balancing", "models")
    )
    ours = balancing[balancing["model"] != "paper"]
    assert list(ours["row"]) == [BASELINE] * 2 + ["focal loss, γ = 2"]
    assert list(ours["seed"]) == [0, 1, 0]
    assert list(ours["batch_size"]) == [16, 16, 32]
    assert set(ours["seconds"]) == {90.0}
    assert set(ours["epochs"]) == {5}
    np.testing.assert_allclose(ours["accuracy"], 0.75)
    assert list(ours["quadratic_kappa"]) == pytest.approx([0.5] * 3)
    smote = balancing[balancing["row"] == "SMOTE"].iloc[0]
    assert list(smote[["batch_size", "accuracy", "balanced_accuracy", "quadratic_kappa"]]) == [
        16,
        0.2111,
        0.5038,
        0.364,
    ]
    assert row_of(text, "SMOTE, paper") == ["16", "0.211", "0.504", "0.364", "57 h 37 min"]
    mine = row_of(text, f"{BASELINE}, plain, 2 seeds")
    assert mine == ["16", "0.750 ± 0.000", "0.750 ± 0.000", "0.500 ± 0.000", "2 min (5 epochs)"]
    assert list(models[models["model"] != "paper"]["row"]) == ["resnet50, 16 px"] * 2
    assert len(models) == 13 + 2


@pytest.mark.parametrize(
    ("settings", "corrupted"),
    [
        ((*PLAIN, "training.start=x"), False),
        ((*PLAIN, "training.groups=2"), False),
        ((*PLAIN, "training.corruptions=jpeg"), False),
        (PLAIN, True),
    ],
)
def test_fine_tuned_and_corrupted_runs_are_no_baseline(
    tmp_path: Path, settings, corrupted: bool
) -> None:
    run = run_of(tmp_path, "tiny", *settings)
    provenance = load_json(run.path("provenance.json"))
    provenance["dataset"]["corrupted"] = {"levels": [1]} if corrupted else {}
    save_json(run.path("provenance.json"), provenance)
    assert section(reading.read([run])) is None


def test_there_is_no_table_without_such_a_run(tmp_path: Path) -> None:
    assert section(reading.read([run_of(tmp_path, "tiny", dataset="demo")])) is None


def test_a_stage_that_was_cut_off_took_at_least_its_epochs(tmp_path: Path) -> None:
    run = run_of(tmp_path, "tiny")
    place = run.path("train", "stage.json")
    save_json(place, {**load_json(place), "seconds": 2.0})
    found = section(reading.read([run]))
    assert found is not None
    frame = tables(found)[1].frame
    assert list(frame[frame["model"] != "paper"]["seconds"]) == [5.0]


@pytest.mark.usefixtures("in_full")
def test_a_confusion_matrix_counts_labels_and_predictions(tmp_path: Path) -> None:
    seeds = [run_of(tmp_path, "tiny", seed=seed) for seed in (0, 1)]
    logits = np.zeros((4, 2), np.float32)
    logits[[0, 1, 2, 3], [0, 1, 1, 1]] = 1
    save_npz(
        seeds[1].path("predict", "clean.npz"),
        id=np.arange(4).astype(str),
        label=np.array([0, 0, 0, 1]),
        logits=logits,
    )
    results = reading.read(seeds)
    np.testing.assert_array_equal(confusion.counts(results[1:]), [[1, 2], [0, 1]])
    # Of the first seed's 20 and 20 images, 0 and 10 are wrong: every fourth, from 3 on.
    np.testing.assert_array_equal(confusion.counts(results), [[21, 2], [10, 11]])
    made = confusion.section(results, Asked())
    assert made is not None
    (picture,) = pictures(made)
    assert "tiny_gap" not in picture.alt
    assert "nevus 0.91, melanoma 0.52" in picture.alt
    assert picture.caption.endswith("Seeds are added up.")
    frame = made.files["confusion-eyepacs"]
    assert list(frame["n"]) == [20, 0, 10, 10, 1, 2, 0, 1]
    assert picture.pixels.shape[1] > 1000


def test_runs_without_predictions_have_no_confusion_matrix(tmp_path: Path) -> None:
    assert confusion.section(reading.read([make_run(tmp_path)]), Asked()) is None


def test_tasks_of_one_data_set_have_a_figure_each(tmp_path: Path) -> None:
    runs_ = [run_of(tmp_path, "one"), run_of(tmp_path, "two", "data.task=binary")]
    made = confusion.section(reading.read(runs_), Asked())
    assert made is not None
    assert [each.name for each in pictures(made)] == [
        "confusion-eyepacs",
        "confusion-eyepacs-binary",
    ]
