"""Calibration, corruptions and the other paper's table: sections of the page."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import command_helpers
import numpy as np
import pandas as pd
import pytest
from page_helpers import tables, words
from test_report import COLUMNS, make_run

from attnrobust import cli as command_line
from attnrobust import config
from attnrobust.disk.runs import Run, load_json, load_npz, save_json, save_npz, save_text
from attnrobust.errors import UserError
from attnrobust.measures import calibration as measures
from attnrobust.measures import metrics
from attnrobust.report import corruptions, figures, paper_tables, papers, reading, reliability
from attnrobust.report.blocks import Asked, Section
from attnrobust.report.page import write
from attnrobust.report.results import Result
from attnrobust.stages import evaluation

pytestmark = pytest.mark.usefixtures("cheap_pages")
# Three of four images right, each 1 ahead: confidence e / (e + 1) = 0.731.
WRONG = np.arange(40) % 4 == 3


def predicted(run: Run, *, validation: float | None = 2.0, wrong: bool = True) -> Run:
    """The run evaluated with predictions; validation images so far ahead, some wrong or none."""
    ids, label = np.array([f"image-{i}" for i in range(40)]), np.arange(40) % 2
    logits = np.eye(2, dtype=np.float32)[np.where(WRONG, 1 - label, label)]
    save_json(run.path("predict", "stage.json"), {"used": {}, "inputs": "", "finished": True})
    save_npz(run.path("predict", "clean.npz"), id=ids, label=label, logits=logits)
    place = run.path("attack", "linf_pgd", "linf_pgd-0.npz")
    save_npz(place, **{**load_npz(place), "logits": logits})
    if validation is not None:
        said = np.where(WRONG & wrong, 1 - label, label)
        save_npz(
            run.path("predict", "validation.npz"),
            id=ids,
            label=label,
            logits=validation * np.eye(2, dtype=np.float32)[said],
        )
    evaluation.evaluate(run, run.path("evaluate"))
    return run


def corrupted(run: Run, accuracies: Mapping[str, Mapping[int, float]]) -> Run:
    """The run with such accuracies of corruptions by severity, and their mean."""
    place = run.path("evaluate", "measurements.csv")
    frame = pd.read_csv(place, dtype=str, keep_default_na=False)
    rows = []
    for name, found in accuracies.items():
        mean = float(np.mean(list(found.values())))
        for level, metric, value in (
            *((str(severity), "accuracy", value) for severity, value in found.items()),
            ("", "mean_accuracy", mean),
        ):
            numbers = (value, value - 0.05, value + 0.06, 40)
            rows.append(
                [*frame.iloc[0, :3], "test", "corruption", name, level, metric, *map(str, numbers)]
            )
    frame = pd.concat([frame, pd.DataFrame(rows, columns=list(COLUMNS))])
    save_text(place, frame.to_csv(index=False))
    return run


def page_of(run_list: Sequence[Run], out: Path, **options: Any) -> str:
    return html.unescape(write(run_list, out, **options).read_text(encoding="utf-8"))


def row_of(text: str, head: str, *, last: bool = False) -> list[str]:
    """Cells of the one row of that head, without the bold."""
    found = re.findall(rf'<tr><th scope="row">{re.escape(head)}</th>(.*?)</tr>', text)
    assert len(found) == 1 or last, found
    return re.findall(r"<td>(?:<b>)?(.*?)(?:</b>)?</td>", found[-1])


@pytest.mark.usefixtures("in_full")
def test_calibration_stands_on_the_page_as_measured(tmp_path: Path) -> None:
    run = predicted(make_run(tmp_path))
    text = page_of([run], tmp_path / "out")
    assert text.count('<section id="calibration">') == text.count('href="#calibration"') == 1
    # Right 3 of 4: the validation images, 2 ahead, want T = 2 / log 3.
    assert row_of(text, "Temperature T") == ["1.000", f"{2 / np.log(3):.3f}"]
    sure = np.e / (np.e + 1)
    scaled = 1 / (1 + np.exp(-np.log(3) / 2))
    assert row_of(text, "ECE") == [f"{0.75 - sure:.3f}", f"{0.75 - scaled:.3f}"]
    accuracy = row_of(text, "Accuracy")
    assert accuracy[0] == accuracy[1]
    assert accuracy[0].startswith("0.750 (")
    table = pd.read_csv(tmp_path / "out" / "tables" / "calibration-demo.csv")
    assert {f"{name}_scaled" for name in measures.CALIBRATION} < set(table["metric"])
    assert "T was fitted on 40 images." in text
    assert (tmp_path / "out" / "figures" / "calibration.png").is_file()
    bins = pd.read_csv(tmp_path / "out" / "tables" / "calibration-bins.csv")
    full = bins[bins["count"] > 0].set_index("scaled")
    assert list(full["count"]) == [40, 40]
    assert list(full["confidence"]) == pytest.approx([sure, scaled])
    # Wilson for 30 of 40 by hand: centre (.75 + .04802) / 1.09604, half 1.95996 * .07191 / 1.09604.
    assert list(full.loc["no", ["accuracy", "low", "high"]]) == pytest.approx(
        [0.75, 0.5981, 0.8581], abs=1e-3
    )


def test_runs_from_before_keep_working_and_the_page_says_how_to_mend_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = predicted(make_run(tmp_path), validation=None)
    text = page_of([run], tmp_path / "out")
    assert (
        "No temperature is known for tiny_gap: predict did not keep the validation split’s logits"
        in text
    )
    called = [
        each
        for each in command_helpers.all_of(text, monkeypatch).values()
        if each.stages == ["predict", "evaluate"]
    ]
    (again,) = called
    assert again.context.force
    assert again.context.run.root == run.root
    assert row_of(text, "Temperature T") == ["1.000", "–"]
    assert row_of(text, "ECE")[1] == "–"
    assert row_of(text, "Accuracy")[1] == "–"
    run.path("predict", "clean.npz").unlink()
    text = page_of([run], tmp_path / "out")
    assert '<section id="calibration">' in text
    assert not (tmp_path / "out" / "figures" / "calibration.png").exists(), "no predictions, none"
    run.path("predict", "clean.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"clean\.npz: damaged"):
        write([run], tmp_path / "out")


def test_a_temperature_that_means_nothing_is_said(tmp_path: Path) -> None:
    run = predicted(make_run(tmp_path), wrong=False)
    text = page_of([run], tmp_path / "out")
    assert "No temperature is best for tiny_gap" in text
    assert "from 0.01 to 100; do not use it" in text


def test_at_most_six_diagrams_are_drawn_first_seeds_first() -> None:
    labels, probability = np.array([0, 1]), np.array([[0.9, 0.1], [0.7, 0.3]])
    found = reliability.bins(labels, probability)
    made = [
        SimpleNamespace(name=f"{model} seed {seed}", group=("demo", model), clean={})
        for model in ("first", "second")
        for seed in range(4)
    ]
    clean = {"ece": SimpleNamespace(value=0.4)}
    measured = pd.DataFrame({"metric": ["accuracy"], "interval": ["group_bootstrap"]})
    for each in made:
        each.clean, each.frame = clean, measured
    look = figures.colours(made)
    picture = reliability.draw([reliability.Diagram(each, found, None) for each in made], look)
    assert picture.caption.endswith("Not drawn: first seed 3, second seed 3.")
    assert "95 % intervals, whole groups resampled where a patient" in picture.caption
    assert "second seed 2: expected calibration error 0.400." in picture.alt


ERRORS = {"jpeg": {1: 0.8, 2: 0.6}, "hair": {1: 0.5, 2: 0.3}}
BETTER = {"jpeg": {1: 0.9, 2: 0.8}, "hair": {1: 0.5, 2: 0.3}}


@pytest.mark.slow
@pytest.mark.usefixtures("in_full")
def test_corruptions_stand_beside_the_clean_accuracy(tmp_path: Path) -> None:
    run_list = [
        corrupted(make_run(tmp_path), ERRORS),
        corrupted(make_run(tmp_path, "tiny_attention"), BETTER),
    ]
    text = page_of(run_list, tmp_path / "out")
    assert text.count('<section id="corruptions">') == text.count('href="#corruptions"') == 1
    assert row_of(text, "none") == ["–", *["0.750 (0.600–0.825)"] * 2]
    assert row_of(text, "jpeg") == ["1, 2", "0.700 (0.650–0.760)", "0.850 (0.800–0.910)"]
    # (0.3 / 0.6 + 1.2 / 1.2) / 2, and the baseline against itself.
    assert row_of(text, "mean corruption error") == ["–", "1.000", "0.750"]
    assert "The baseline of the mean corruption error is tiny_gap." in text
    text = page_of(run_list, tmp_path / "out", baseline="tiny_attention")
    assert row_of(text, "mean corruption error") == ["–", "1.500", "1.000"]
    assert "--baseline tiny_attention" in text
    made = tmp_path / "out" / "tables"
    severities = pd.read_csv(made / "corruptions-demo-severities.csv")
    assert list(severities["severity"]) == [1, 2] * 4
    assert list(severities["value"])[:2] == [0.8, 0.6]
    ratios = pd.read_csv(made / "corruptions-demo.csv")
    ratios = ratios[ratios["metric"] == "error_relative_to_tiny_attention"]
    assert list(ratios["value"]) == pytest.approx([2, 1, 1.5, 1, 1, 1])
    assert (tmp_path / "out" / "figures" / "corruptions-demo.png").is_file()


def test_seeds_of_the_baseline_are_averaged_before_the_ratio(tmp_path: Path) -> None:
    run_list = [
        corrupted(make_run(tmp_path, seed=0), {"jpeg": {1: 0.9}}),
        corrupted(make_run(tmp_path, seed=1), {"jpeg": {1: 0.7}}),
        corrupted(make_run(tmp_path, "tiny_attention"), {"jpeg": {1: 0.6}}),
    ]
    text = page_of(run_list, tmp_path / "out")
    # Errors .1 and .3 over .2 each, then .4 over .2.
    assert row_of(text, "mean corruption error") == ["–", "1.000 ± 0.707", "2.000"]


def test_what_runs_do_not_share_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_list = [
        corrupted(make_run(tmp_path), {"jpeg": {1: 0.8, 3: 0.6}, "hair": {1: 0.5}}),
        corrupted(make_run(tmp_path, "tiny_attention"), {"jpeg": {1: 0.9}}),
        make_run(tmp_path, "tiny_never"),
    ]
    text = page_of(run_list, tmp_path / "out")
    assert row_of(text, "jpeg") == ["1", "0.800", "0.900 (0.850–0.960)"], "of 1 and 3 no interval"
    assert row_of(text, "hair") == ["1", "0.500 (0.450–0.560)", "–"]
    assert row_of(text, "mean corruption error") == ["–", "1.000", "0.500"]
    assert "It leaves out what not all runs have: hair." in text
    assert "Without corruptions: tiny_never. This measures them: python -m" in text
    (called,) = (
        each
        for each in command_helpers.all_of(text, monkeypatch).values()
        if each.stages == ["predict", "evaluate"]
    )
    assert called.context.run.root == run_list[2].root
    assert called.context.experiment.corruptions.names == ("jpeg", "hair")
    assert called.context.force
    for name in ("other", "tiny_never"):
        with pytest.raises(UserError, match=f"--baseline {name}: expected a run .*: tiny_gap, tin"):
            write(run_list, tmp_path / "out", baseline=name)


def test_a_baseline_without_errors_gives_no_mean(tmp_path: Path) -> None:
    run_list = [
        corrupted(make_run(tmp_path), {"jpeg": {1: 1.0}}),
        corrupted(make_run(tmp_path, "tiny_attention"), {"jpeg": {1: 0.9}}),
    ]
    text = page_of(run_list, tmp_path / "out")
    assert row_of(text, "mean corruption error") == ["–", "–", "–"]
    assert "No mean corruption error: corruption jpeg: the baseline loses nothing" in text


def test_runs_without_a_common_corruption_have_no_mean(tmp_path: Path) -> None:
    run_list = [
        corrupted(make_run(tmp_path), {"jpeg": {1: 0.8}}),
        corrupted(make_run(tmp_path, "tiny_attention"), {"hair": {1: 0.9}}),
    ]
    text = page_of(run_list, tmp_path / "out")
    assert "No mean corruption error: there is no corruption that all runs have" in text


def test_one_model_has_no_baseline(tmp_path: Path) -> None:
    (result,) = reading.read([corrupted(make_run(tmp_path), ERRORS)])
    found = corruptions.section([result], Asked())
    assert isinstance(found, Section)
    assert [row[0] for row in tables(found)[0].rows] == ["none", "jpeg", "hair"]
    assert "Hendrycks" not in " ".join(words(found))


def test_the_command_line_takes_a_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = corrupted(make_run(tmp_path), ERRORS)
    words = ["report", str(run.root), "--out", str(tmp_path / "out"), "--baseline"]
    assert command_line.main([*words, "nobody"]) == 1
    assert "error: --baseline nobody: expected a run of this page" in capsys.readouterr().err
    assert command_line.main([*words, "tiny_gap"]) == 0


FIVE = tuple(step / 255 for step in range(1, 6))
NOISES = ("gaussian_noise", "salt_and_pepper", "speckle")


def martinez(results: Sequence[Result]) -> Section | None:
    paper = papers.read()["martinez"]
    return paper_tables.section(paper, paper.sections[0], results)


def covid(root: Path, name: str = "plain", settings: Sequence[str] = (), **values: Any) -> Run:
    """A run on COVID-19 X-rays, attacked by PGD with 20 steps unless the settings say otherwise."""
    run = make_run(root, name, dataset="covid_cxr", **values)
    run = Run(
        run.root,
        config.with_settings(run.experiment, ["data.task=covid", "attack.steps=20", *settings]),
    )
    save_text(run.path("config.json"), config.to_json(run.experiment))
    stamp = load_json(run.path("attack", "linf_pgd", "stage.json"))
    save_json(
        run.path("attack", "linf_pgd", "stage.json"),
        {**stamp, "used": dataclasses.asdict(run.experiment)},
    )
    return run


def rows_of(run: Run) -> tuple[str, ...]:
    """First cells of our rows in the first table, and all words."""
    found = martinez(reading.read([run]))
    if found is None:
        return ()
    ours = (row[0] for row in tables(found)[0].rows if "paper" not in row[0])
    return *ours, *words(found)[1:]


@pytest.mark.parametrize(
    ("settings", "head"),
    [
        ((), "Standard, plain"),
        (("attack.steps=1",), "Standard, plain, linf_pgd (linf_pgd, 1 steps)"),
        (
            ("attack.target=nevus",),
            "Standard, plain, linf_pgd (linf_pgd, 20 steps targeted at nevus)",
        ),
    ],
)
def test_an_attack_unlike_the_papers_is_named(
    settings: Sequence[str], head: str, tmp_path: Path
) -> None:
    assert rows_of(covid(tmp_path, settings=settings, epsilons=FIVE)) == (head,)


@pytest.mark.parametrize(
    "setting",
    [
        "training.corruptions=speckle",
        "training.start=other",
        "training.groups=2",
    ],
)
def test_a_run_trained_in_another_way_is_left_out(setting: str, tmp_path: Path) -> None:
    assert rows_of(covid(tmp_path, settings=[setting], epsilons=FIVE)) == ()
    both = [covid(tmp_path, "other", epsilons=FIVE), Run.open(tmp_path / "covid_cxr/plain/seed-0")]
    found = martinez(reading.read(both))
    assert found is not None
    assert words(found)[-1].endswith("measured elsewhere: plain.")


def test_runs_with_other_classes_have_tables_and_sentences_of_their_own(tmp_path: Path) -> None:
    run_list = [
        corrupted(predicted(covid(tmp_path, name, [f"data.task={task}"])), {"jpeg": {1: 0.5}})
        for name, task in (("two", "covid"), ("all", ""))
    ]
    text = page_of(run_list, tmp_path / "out")
    for dataset, name in (("covid_cxr-covid", "two"), ("covid_cxr", "all")):
        for kind in ("calibration", "corruptions"):
            frame = pd.read_csv(tmp_path / "out" / "tables" / f"{kind}-{dataset}.csv")
            assert set(frame["experiment"]) == {name}
        assert f"1 model on {dataset}, measured on 40 test images." in text
        assert (tmp_path / "out" / "figures" / f"corruptions-{dataset}.png").is_file()


def test_runs_on_all_findings_are_not_the_papers(tmp_path: Path) -> None:
    assert rows_of(covid(tmp_path, settings=["data.task="], epsilons=FIVE)) == ()


def test_the_other_papers_table_stands_beside_ours(tmp_path: Path) -> None:
    noises = {name: {1: 0.7, 2: 0.6, 3: 0.5, 4: 0.5, 5: 0.4} for name in NOISES}
    run_list = [
        corrupted(predicted(covid(tmp_path, "plain", epsilons=FIVE)), noises),
        covid(tmp_path, "robust", epsilons=(0.01,), method="adversarial"),
        make_run(tmp_path, "elsewhere", method="adversarial"),
    ]
    text = page_of(run_list, tmp_path / "out")
    assert text.count('<section id="martinez">') == text.count('href="#martinez"') == 1
    made = [
        pd.read_csv(tmp_path / "out" / "tables" / f"martinez-{kind}.csv")
        for kind in ("accuracy", "calibration")
    ]
    frame = made[0].merge(made[1], on=["method", "model", "seed"], validate="one_to_one")
    assert list(frame["model"]) == [
        "paper",
        "covid_cxr/plain",
        "paper",
        "covid_cxr/robust",
        "paper",
        "paper",
    ]
    theirs = frame[frame["model"] == "paper"].set_index("method")
    assert list(theirs.loc["RobustAugMix"])[2:] == [
        0.9627,
        0.8210,
        0.8356,
        0.6975,
        0.9486,
        0.0232,
        4.09,
    ]
    plain = frame.iloc[1]
    assert plain["Clean"] == 0.75
    assert plain["Adversarial"] == 0, "every image is turned at each of the five"
    assert plain["S&P"] == pytest.approx(0.54)
    other = frame.iloc[3]
    assert other["Clean"] == 0.75
    assert np.isnan(other["Adversarial"]), "another ε than the five"
    assert row_of(text, "RobustAugMix, paper", last=True) == ["0.0232", "4.09"]
    assert row_of(text, "Robust, robust", last=True) == ["–", "–"]
    assert row_of(text, "Standard, plain", last=True)[0].startswith(
        f"{plain['Calibration error']:.3f}"
    )


def test_mean_robust_accuracy_is_that_of_the_five(tmp_path: Path) -> None:
    epsilons = (*FIVE, 8 / 255)
    run = covid(tmp_path, epsilons=epsilons, accuracy=0.6)
    found = martinez(reading.read([run]))
    assert found is not None
    # make_run has 0.6 / 2 … 0.6 / 6 at the five, and something else at 8 / 255.
    expected = 0.6 * np.mean([1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6])
    assert tables(found)[0].frame.iloc[1]["Adversarial"] == pytest.approx(expected)
    assert martinez(reading.read([make_run(tmp_path, method="trades")])) is None


def test_the_bins_of_a_diagram_know_the_groups() -> None:
    # Confidence 0.9, 8 of 12 right: patients of four images, two wholly right, one wholly wrong.
    labels, probability = np.repeat([0, 0, 1], 4), np.tile([0.9, 0.1], (12, 1))
    groups = np.arange(12) // 4
    alone, together = (reliability.bins(labels, probability, each) for each in (None, groups))
    full = int(np.flatnonzero(alone["count"])[0])
    assert alone["upper"][full] == pytest.approx(14 / 15), "from 13/15 = 0.867 on"
    assert alone["accuracy"][full] == pytest.approx(2 / 3)
    assert (alone["low"][full], alone["high"][full]) == pytest.approx(metrics.wilson(8, 12))
    found = metrics.proportion(labels == 0, groups=groups)
    assert (together["low"][full], together["high"][full]) == found[1:3]
    assert found.interval == "group_bootstrap"
    assert np.isnan(np.delete(alone["low"], full)).all()
