"""Heatmaps in numbers and the paper's own statements on the page."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_report import make_run

from attnrobust import config
from attnrobust.disk import stamps
from attnrobust.disk.runs import Run, load_npz, save_json, save_npz, save_text
from attnrobust.errors import UserError
from attnrobust.explanations import comparison as stage
from attnrobust.report import comparison, map_tables, reading, statements
from attnrobust.report.blocks import Table
from attnrobust.report.compared import read
from attnrobust.report.page import write

pytestmark = pytest.mark.usefixtures("cheap_pages")


def compared(run: Run, *, masks: bool = False) -> Run:
    """The run with its `comparison.csv`; 3 samples, all fooled, one with an empty map."""
    if masks:
        place = run.path("attack", "linf_pgd", "linf_pgd-0.npz")
        mask = np.zeros((3, 16, 16), bool)
        mask[:, :4] = True
        save_npz(place, **load_npz(place), sample_mask=mask)
    stage.write(run, "linf_pgd")
    return run


def table(run: Run) -> pd.DataFrame:
    return pd.read_csv(
        run.path("explain", "linf_pgd", "comparison.csv"), float_precision="round_trip"
    )


def measured(run: Run) -> Run:
    """The run with rows of its heatmaps in `measurements.csv`: three metrics, made up."""
    place = run.path("evaluate", "measurements.csv")
    frame = pd.read_csv(place, keep_default_na=False, float_precision="round_trip")
    labels = list(run.attacks())
    first = frame.iloc[0].to_dict()
    first |= {"condition": "attack" if labels else "clean", "name": "".join(labels)}
    rows = [
        {**first, "level": level, "metric": name, "value": value, "low": 0, "high": 1, "n": n}
        for level in ((0.0, *run.experiment.attack.epsilons) if labels else ("",))
        for name, value, n in (
            ("gini[grad_cam]", 0.625, 3),
            ("deletion[grad_cam]", 0.375, 3),
            ("entropy[gradient]", 0.5, 2),
        )
    ]
    save_text(place, pd.concat([frame, pd.DataFrame(rows)]).to_csv(index=False))
    return run


def cells(text: str) -> list[str]:
    return [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", text)]


@pytest.mark.usefixtures("in_full")
def test_page_shows_the_numbers_of_the_file(tmp_path: Path) -> None:
    run_list = [
        compared(make_run(tmp_path), masks=True),
        compared(make_run(tmp_path, "tiny_attention")),
    ]
    text = write(run_list, tmp_path / "out").read_text(encoding="utf-8")
    assert text.count('<section id="changes">') == text.count('href="#changes"') == 1
    assert (tmp_path / "out" / "figures" / "heatmaps-grad_cam.png").is_file()
    shown = cells(text)
    for run in run_list:
        frame = table(run)
        for row in frame[frame["subset"] == "all"].itertuples():
            low = max(row.low, 0.0) if row.low > -5e-4 else row.low
            assert f"{row.value:.3f} ({low:.3f}–{row.high:.3f})" in shown
    assert "2 of 3" in shown, "the map of zeros is left out, and said to be"
    assert any(cell.endswith(", n\u00a02") for cell in shown), "by outcome, with n"
    made = tmp_path / "out" / "tables"
    assert (made / "region-demo-tiny_gap-grad_cam.csv").is_file()
    assert not (made / "region-demo-tiny_attention-grad_cam.csv").exists(), "no masks, no table"
    outcome = pd.read_csv(made / "outcome-demo-resnet50-linf_pgd-grad_cam.csv")
    assert set(outcome["subset"]) == {"fooled"}
    numbers = [int(each) for each in re.findall(r"<b>Table (\d+)\.</b>", text)]
    assert numbers == list(range(1, len(numbers) + 1))
    numbers = [int(each) for each in re.findall(r"<b>Figure (\d+)\.</b>", text)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_without_the_file_there_is_no_section(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = write([run], tmp_path / "out").read_text(encoding="utf-8")
    assert "Heatmaps in numbers" not in text
    save_text(run.path("explain", "linf_pgd", "comparison.csv"), "dataset,value\n")
    with pytest.raises(UserError, match=r"comparison\.csv: damaged .*run 'explain' again"):
        write([run], tmp_path / "out")
    save_text(run.path("explain", "linf_pgd", "comparison.csv"), ",".join(stage.COLUMNS) + "\n")
    text = write([run], tmp_path / "out").read_text(encoding="utf-8")
    assert "Heatmaps in numbers" not in text


def test_what_each_map_is_like_stands_by_model_and_method(tmp_path: Path) -> None:
    run = measured(compared(make_run(tmp_path)))
    text = write([run], tmp_path / "out").read_text(encoding="utf-8")
    assert cells(text).count("0.625 (0.000–1.000)") == 3, "clean and at both epsilons"
    made = tmp_path / "out" / "tables" / "maps-demo-tiny_gap-grad_cam.csv"
    frame = pd.read_csv(made)
    assert list(frame["metric"]) == ["gini[grad_cam]", "deletion[grad_cam]"] * 3
    first, second = map_tables.tables(reading.read([run]))
    assert first.columns == ("ε", "255\u00a0ε", "Gini", "Deletion", "n")
    assert [row[0] for row in first.rows] == ["0", "0.00125", "0.03137"]
    assert [row[-1] for row in second.rows] == ["2"] * 3
    several = map_tables.tables(reading.read([run, measured(make_run(tmp_path, seed=1))]))
    assert several[0].rows[0][2] == "0.625 ± 0.000"


def test_maps_of_a_run_without_an_attack_have_their_table(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    shutil.rmtree(run.path("attack"))
    place = run.path("evaluate", "measurements.csv")
    frame = pd.read_csv(place, keep_default_na=False)
    save_text(place, frame[frame["condition"] == "clean"].to_csv(index=False))
    text = write([measured(run)], tmp_path / "out").read_text(encoding="utf-8")
    assert "Heatmaps in numbers" in text
    assert "0.625 (0.000–1.000)" in cells(text)
    assert "without and under" not in text


@pytest.mark.parametrize(("said", "told"), [("", True), ("other", False)])
def test_a_page_does_not_tell_of_heatmaps_that_were_made_anew(
    said: str, told: bool, tmp_path: Path
) -> None:
    run = make_run(tmp_path)
    stamp = {"used": {}, "finished": True, "version": stamps.version("evaluate")}
    save_json(run.path("predict", "stage.json"), {**stamp, "inputs": ""})
    stamp["inputs"] = run.measured()
    place = run.path("evaluate", "stage.json")
    save_json(place, {**stamp, "explained": run.explained()})
    assert reading.read([run])
    save_json(place, {**stamp, "explained": said})
    if told:
        assert reading.read([run]), "measured before there were heatmaps"
        return
    with pytest.raises(UserError, match=r"heatmaps were made after .* run 'evaluate' again"):
        reading.read([run])


@pytest.mark.usefixtures("in_full")
def test_seeds_are_taken_together(tmp_path: Path) -> None:
    run_list = [compared(make_run(tmp_path, seed=seed)) for seed in range(2)]
    held = read(reading.read(run_list))
    model, outcome = comparison.tables(held)
    assert "2 seeds" in model.caption
    assert all("±" in cell for cell in model.rows[0][2:4])
    assert len(outcome.rows) == 2
    assert comparison.curves(held, {("demo", "tiny_gap"): ("#000000", "o")})[0].pixels.std() > 0


def test_maps_that_are_all_empty_leave_a_dash_and_a_line_at_zero(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for path in run.path("explain", "linf_pgd").glob("*.npz"):
        arrays = load_npz(path)
        save_npz(path, **{**arrays, "heatmap": np.zeros_like(arrays["heatmap"])})
    text = write([compared(run)], tmp_path / "out").read_text(encoding="utf-8")
    assert "0 of 3" in cells(text)


def paper(run: Run) -> list[Table]:
    found = reading.read([run])
    return statements.tables(found, read(found))


def test_the_papers_numbers_stand_beside_the_same_condition(tmp_path: Path) -> None:
    run = make_run(tmp_path, dataset="ham10000", epsilons=(0.00125, 0.01))
    (found,) = paper(compared(run))
    assert found.name == "published-ham10000-resnet50-linf_pgd"
    rows = {row[0].replace("\u00a0", " "): row[1:] for row in found.rows}
    # The run has soft attention: clean 0.75, then 0.75 / 2 and 0.75 / 3.
    assert rows["accuracy without an attack, with attention"] == (
        "0.88",
        "4.1, fig. 3",
        "tiny_gap",
        "0.750 (0.600–0.825)",
    )
    assert rows["accuracy without an attack, without attention"] == (
        "0.905",
        "4.1, fig. 3",
        "–",
        "–",
    )
    assert rows["accuracy at ε = 0.00125, without attention"][0] == "reduced by 24 %"
    assert rows["accuracy at ε = 0.00125, with attention"][-1].startswith("0.375 (")
    assert rows["accuracy at ε = 0.01, with attention"][-1].startswith("0.250 (")
    correlation = table(run).set_index(["level", "subset", "metric"])
    value = correlation.loc[(0.01, "all", "correlation"), "value"]
    ours = rows["heatmaps, clean and attacked at ε = 0.01, both models"][-1]
    assert ours.startswith(f"{value:.3f} (")
    text = write([run], tmp_path / "out").read_text(encoding="utf-8")
    assert "Wasserman, from the paper" in text


def test_what_was_not_run_gets_no_number_of_ours(tmp_path: Path) -> None:
    run = make_run(tmp_path, dataset="ham10000", epsilons=(0.002,), heatmaps=False)
    (found,) = paper(run)
    assert [row[-1] for row in found.rows if "at ε" in row[0]] == ["–"] * 6
    plain = config.with_settings(run.experiment, ["model.head=gap"])
    save_text(run.path("config.json"), config.to_json(plain))
    (found,) = paper(Run.open(run.root))
    assert found.rows[0][-1].startswith("0.750")
    assert found.rows[1][-1] == "–"


@pytest.mark.parametrize(("dataset", "backbone"), [("demo", "resnet50"), ("ham10000", "mobilenet")])
def test_other_data_and_backbones_have_no_published_table(
    dataset: str, backbone: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path, dataset=dataset, backbone=backbone)
    assert not paper(run)
    assert "Wasserman" not in write([run], tmp_path / "out").read_text(encoding="utf-8")
