"""The report on runs with several attacks: galleries, the inventory, the table of all attacks."""

from __future__ import annotations

import html
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import run_helpers
from test_report import make_run

from attnrobust.disk.runs import Run, load_json, save_json, save_text
from attnrobust.errors import UserError
from attnrobust.report import attacks, figures, galleries, reading, robustness, tables, wording
from attnrobust.report.page import write

pytestmark = pytest.mark.usefixtures("cheap_pages")
EPSILONS = (0.00125, 8 / 255)


def add(
    run: Run, label: str, *, accuracy: float, norm: str = "linf", worst: float | None = None
) -> Run:
    """A further attack, measured at the run's epsilons, without heatmaps."""
    stamp = load_json(run.path("attack", "linf_pgd", "stage.json"))
    stamp["used"]["attack"]["name"] = "noise"
    command = ["python", "-m", "experiments", run.again("train")[0], "attack", "--as", label]
    notes = {"norm": norm, "command": shlex.join([*command, "--set", "attack.name=noise"])}
    save_json(run.path("attack", label, "stage.json"), {**stamp, **notes})
    place = run.path("evaluate", "measurements.csv")
    table = pd.read_csv(place, dtype=str, keep_default_na=False)
    first = table[table["name"] == "linf_pgd"]
    made = [(first, "attack", label, accuracy)]
    if worst is not None:
        made.append((first[first["level"] != "0.0"], "worst_case", norm, worst))
    for rows, condition, name, value in made:
        numbers = {"value": value, "low": value / 2, "high": value * 1.5}
        added = rows.assign(
            condition=condition, name=name, **{k: str(v) for k, v in numbers.items()}
        )
        table = pd.concat([table, added])
    save_text(place, table.to_csv(index=False))
    return run


@pytest.fixture
def several(tmp_path: Path) -> list[Run]:
    """Two models under two L-inf attacks and one L2 attack each."""
    made = []
    for name, accuracy in (("tiny_gap", 0.75), ("tiny_attention", 0.6)):
        run = add(make_run(tmp_path, name, accuracy=accuracy), "weak", accuracy=0.5, worst=0.222)
        made.append(add(run, "round", accuracy=0.45, norm="l2"))
    return made


def test_every_run_stands_once_under_each_attack(several: list[Run]) -> None:
    results = reading.read(several)
    assert [each.attack for each in results] == ["linf_pgd", "weak", "round"] * 2
    assert results[1].label == "tiny_gap, weak"
    assert results[1].name == "tiny_gap"
    assert [each.norm for each in results[:3]] == ["linf", "linf", "l2"]
    assert results[2].under("accuracy", 0.00125).value == 0.45
    assert results[0].worst["accuracy", "0.00125"].value == 0.222
    assert not results[2].worst
    assert len({each.key for each in results}) == 6


def test_all_attacks_of_a_norm_stand_in_one_table_with_the_worst_case(several: list[Run]) -> None:
    (table,) = attacks.tables(reading.read(several))
    assert table.columns == ("ε", "255\u00a0ε", "Model", "linf_pgd", "weak", "worst case")
    assert table.bold == {5}
    assert [row[2] for row in table.rows] == ["tiny_gap", "tiny_attention"] * 2
    assert [row[3][:5] for row in table.rows] == ["0.375", "0.300", "0.250", "0.200"]
    assert {row[4] for row in table.rows} == {"0.500 (0.250–0.750)"}
    assert {row[5] for row in table.rows} == {"0.222 (0.111–0.333)"}
    assert set(table.frame["condition"]) == {"attack", "worst_case"}
    assert "round" not in set(table.frame["name"])


def test_page_of_several_attacks(several: list[Run], tmp_path: Path) -> None:
    text = write(several, tmp_path / "out").read_text(encoding="utf-8")
    plain = html.unescape(text)
    assert plain.count("<b>0.222 (0.111–0.333)</b>") == 4
    assert (
        "0.222 (0.111–0.333) at ε\u00a0=\u00a00.03137 under the worst of 2 L-infinity attacks"
        in plain
    )
    assert "0.450 (0.225–0.675) at ε\u00a0=\u00a00.03137 under round" in plain
    assert "attack --as weak --set attack.name=noise" in plain
    assert "Attacks: linf_pgd with 40 steps" in plain
    assert "weak (noise)" in plain
    made = {path.stem for path in (tmp_path / "out" / "figures").glob("*.png")}
    assert "robust-accuracy-demo-resnet50" in made
    assert not [name for name in made if "weak" in name], "heatmaps only where there are any"
    assert "no heatmaps yet" not in plain
    clean = re.search(r"Without an attack, on the test split.*?</table>", plain, re.S)
    assert clean
    assert clean.group().count("tiny_") == 2, "runs are not repeated where attacks do not matter"
    robust = pd.read_csv(tmp_path / "out" / "tables" / "robust-demo-resnet50-weak.csv")
    assert set(robust["attack"]) == {"weak"}
    measured = pd.read_csv(tmp_path / "out" / "tables" / "measurements.csv")
    assert not measured.duplicated(["experiment", "condition", "name", "level", "metric"]).any()


def test_the_worst_case_names_as_many_attacks_as_ran_at_that_epsilon(several: list[Run]) -> None:
    run = add(several[0], "third", accuracy=0.3)
    place = run.path("evaluate", "measurements.csv")
    rows = place.read_text().splitlines()
    save_text(place, "".join(f"{row}\n" for row in rows if ",third,0.00125," not in row))
    said = wording.summary(reading.read([run]))[0]
    assert "at ε\u00a0=\u00a00.00125 under the worst of 2 L-infinity attacks and " in said
    assert "at ε\u00a0=\u00a00.03137 under the worst of 3 L-infinity attacks" in said


def test_a_seed_without_an_attack_is_counted(tmp_path: Path) -> None:
    first = add(make_run(tmp_path), "weak", accuracy=0.5, worst=0.222)
    second = add(make_run(tmp_path, seed=1), "weak", accuracy=0.4, worst=0.2)
    third = make_run(tmp_path, seed=2)
    results = reading.read([first, second, third])
    (table,) = attacks.tables(results)
    assert table.rows[0][2] == "tiny_gap, 3 seeds"
    assert table.rows[0][4:] == ("0.450 ± 0.071, 2 of 3", "0.211 ± 0.016, 2 of 3")
    said = wording.summary(results)[0]
    assert "0.211 ± 0.016, 2 of 3 at ε\u00a0=\u00a00.03137 under the worst of 2" in said


@pytest.mark.usefixtures("in_full")
def test_curves_have_a_panel_for_each_attack(several: list[Run]) -> None:
    results = reading.read(several)
    (picture,) = robustness.accuracy_curves(results, figures.colours(results))
    single = robustness.accuracy_curves(results[:1], figures.colours(results))[0]
    assert single.name == "robust-accuracy"
    assert picture.pixels.shape[0] > 1.5 * single.pixels.shape[0], "two rows of panels"
    assert "tiny_gap, round: " in picture.alt


@pytest.mark.usefixtures("in_full")
def test_numbers_of_pixels_are_not_scaled(tmp_path: Path) -> None:
    run = add(make_run(tmp_path), "few", accuracy=0.4, norm="l0", worst=0.3)
    results = reading.read([run])
    (table,) = attacks.tables(results)
    assert {row[1] for row in table.rows} == {"–"}
    assert robustness.accuracy_curves(results, figures.colours(results))[0].pixels.std() > 0


def test_steps_are_judged_only_where_an_attack_goes_by_them(several: list[Run]) -> None:
    place = several[0].path("attack", "weak", "stage.json")
    stamp = load_json(place)
    stamp["used"]["attack"]["steps"] = 1
    save_json(place, stamp)
    assert "too weak" not in " ".join(wording.summary(reading.read(several)))
    stamp["used"]["attack"]["name"] = "bim"
    save_json(place, stamp)
    assert "the attack weak on tiny_gap is too weak" in " ".join(
        wording.summary(reading.read(several))
    )


def test_measurements_older_than_an_attack_are_refused(several: list[Run]) -> None:
    run = several[0]
    with run.stage("predict", used={}), run.stage("evaluate", used={}, inputs=""):
        pass
    with pytest.raises(UserError, match="attacks were made after they were measured"):
        reading.read([run])
    place = run.path("evaluate", "stage.json")
    save_json(place, {**load_json(place), "inputs": run.measured()})
    assert len(reading.read([run])) == 3
    run_helpers.age(place.parent)
    with pytest.raises(UserError, match=r"by an earlier version.*run 'evaluate' again"):
        reading.read([run])
    place.unlink()
    shutil.rmtree(run.path("attack", "weak"))
    with pytest.raises(UserError, match=r"'weak' was measured, but is not there.*run 'evaluate'"):
        reading.read([run])


def test_runs_of_when_there_was_one_attack_give_the_same_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "new")
    before = write([run], tmp_path / "out").read_text(encoding="utf-8")
    for stage in ("attack", "explain"):
        below = run.path(stage, "linf_pgd")
        for path in below.iterdir():
            path.rename(run.path(stage, path.name))
        below.rmdir()
    assert write([run], tmp_path / "out").read_text(encoding="utf-8") == before


def test_a_later_report_leaves_nothing_of_an_earlier_one_and_nothing_else_goes(
    several: list[Run], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write(several, out)
    mine = [
        out / "figures" / "mine.png",
        out / "figures" / "notes.txt",
        out / "tables" / "x.csv",
        out / "strip-mine.png",
    ]
    for path in mine:
        path.write_text("mine")
    run = make_run(tmp_path / "other", "alone", heatmaps=False)
    text = write([run], out).read_text(encoding="utf-8")
    assert all(path.read_text() == "mine" for path in mine)
    left = {path.name for path in (out / "figures").glob("*.png")} - {path.name for path in mine}
    assert left == {"robust-accuracy.png", "training-demo-alone-0.png"}
    assert len(left) == text.count("<img ")
    assert not [path for path in (out / "tables").iterdir() if "tiny" in path.read_text()]


def test_pages_bytes_are_shared_among_the_photographs(several: list[Run]) -> None:
    results = reading.read(several)
    # 4 for the strip and comparisons; one sheet, at the telling epsilon, for each of the two runs.
    assert galleries.expected_photos(results) == 4 + 2
    assert [row[0] for row in tables.models(results).rows] == ["tiny_gap", "tiny_attention"]
    assert np.isfinite([each.clean["accuracy"].value for each in results]).all()
