"""Papers as data: what a file may ask of a run, what a wrong one is told, one file a table."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pandas as pd
import pytest
from test_report import make_run

from attnrobust import cli, config, run
from attnrobust.data import corrupted
from attnrobust.errors import UserError
from attnrobust.report import papers
from attnrobust.report.page import write
from attnrobust.report.paper_kinds import Condition, Plain, Where

pytestmark = pytest.mark.usefixtures("cheap_pages")
FILES = sorted(papers.folder().glob("*.toml"))
OURS = """
short = "Ours"
authors = "N. N."
title = "Tiny"
commands = ["python -m experiments.demo.resnet18_gap all"]

[attack]
where = { "attack.name" = "linf_pgd" }
epsilons = ["8/255"]

[rows.heads]
where = { "training.method" = "standard" }
parts = [{ text = "{model.head} at {data.image_size} px" }]

[[sections]]
anchor = "tiny"
title = "After Ours"
words = ["Whose numbers these are."]
runs = { "data.dataset" = "demo" }
left_out = "Left out: "

[[sections.tables]]
name = "ours-1"
caption = "Theirs and ours."
head = "Head"
csv = "head"
rows = "heads"
columns = [{ title = "Clean" }, { title = "Robust", condition = "attack", digits = 2 }]
[sections.tables.values]
"soft_attention at 16 px" = [0.5, 0.25]
"""


def result(**asked: Any) -> Any:
    """As much of a result as conditions ask for."""
    experiment = config.with_settings(
        config.Experiment(
            name="wu_baseline",
            data=config.Data("eyepacs"),
            model=config.Model("resnet18", "gap"),
            training=config.Training(),
            attack=config.Attack(),
        ),
        ["training.inner_epsilon=2.5/255", "training.augmentation=flip,zoom"],
    )
    run = SimpleNamespace(experiment=experiment, elsewhere=lambda: True)
    made = {"dataset": {"corrupted": {"levels": [1, 2], "splits": ["train"]}}}
    setting = config.Attack("linf_pgd", steps=5)
    known = {"run": run, "provenance": made, "setting": setting, "corrupted": {"jpeg": {}}}
    return SimpleNamespace(**{**known, "norm": "linf", **asked})


def ask(**said: Any) -> Condition:
    return msgspec.convert({name.rstrip("_"): value for name, value in said.items()}, Condition)


@pytest.mark.parametrize(
    ("name", "met", "missed"),
    [
        ("name", "wu_baseline", "wu"),
        ("name", ask(starts=["x", "wu_"]), ask(starts=["baseline"])),
        ("data.task", ask(empty=True), ask(empty=False)),
        ("training.groups", ask(empty=True), 0),
        ("training.corruptions", [], ["jpeg"]),
        ("training.augmentation", ask(has="zoom"), ask(has="rotate")),
        ("training.augmentation", ask(same=["zoom", "flip"]), ask(same=["flip"])),
        ("training.augmentation", ["flip", "zoom"], ["zoom", "flip"]),
        ("training.inner_epsilon", "2.5/255", "2/255"),
        ("training.method", ask(one_of=["fast", "standard"]), ask(one_of=["fast"])),
        ("training.method", ask(not_="fast"), ask(not_="standard")),
        ("model.width", 1, 0.5),
        ("model.head", ask(not_=msgspec.to_builtins(ask(starts=["soft"]))), "gap "),
        ("training.tf32", True, False),
        ("attack.steps", 5, 40),
        ("attack.norm", "linf", "l2"),
        ("records.levels", [1, 2], [1]),
        ("records.levels", ask(has=2), ask(has=3)),
        ("records.oversampled", ask(empty=True), True),
        ("records.corrupted", True, False),
        ("measured.corruptions", ask(has="jpeg"), ask(has="hair")),
        ("run.elsewhere", True, False),
    ],
)
def test_what_a_condition_asks(
    name: str, met: Plain | Condition, missed: Plain | Condition
) -> None:
    assert papers.holds({name: met}, result())
    assert not papers.holds({name: missed}, result())
    both: Where = [{name: missed}, {name: met}]
    assert papers.holds(both, result()), "one of several sets"
    assert not papers.holds({name: met, "attack.steps": 6}, result()), "all of a set"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_commands_of_every_paper_can_be_given(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is parsed as by a user; what it would then do is left out."""
    for module in (cli, run, corrupted):
        monkeypatch.setattr(module, "run_command", lambda work, **how: 0)
    for command in papers.load(file).commands:
        program, *words = shlex.split(command)
        assert program == "attnrobust"
        assert cli.main(words) == 0


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("short", "shorts", "unknown field `shorts`|missing required field `short`"),
        ('"N. N."', "3", r"Expected `str`, got `int` - at `\$.authors`"),
        ("[attack]", "[attack", "damaged"),
        (
            '"training.method" =',
            '"training.methd" =',
            r"rows\.heads\.where: no setting 'training.methd'; did you mean training.method",
        ),
        ('"data.dataset" =', '"dta.dataset" =', r"sections\[0\]\.runs: no setting 'dta.dataset'"),
        (
            "{model.head}",
            "{model.heads}",
            r"rows\.heads\.parts\[0\]\.text: no setting 'model.heads'",
        ),
        ("{model.head}", "{model.head", "damaged"),
        (
            'title = "Clean"',
            'title = "Clean", metric = "acuracy"',
            r"sections\[0\]\.tables\[0\] \(ours-1\): column 'Clean': no metric 'acuracy'",
        ),
        (
            'title = "Clean"',
            'title = "Clean", condition = "corruption", name = "jpg", severities = [1]',
            "column 'Clean': no corruption 'jpg'",
        ),
        (
            'title = "Clean"',
            'title = "Clean", condition = "corruption", name = "jpeg"',
            "column 'Clean': severities: expected one",
        ),
        (
            'title = "Clean"',
            'title = "Clean", condition = "setting"',
            "column 'Clean': no setting ''",
        ),
        ('title = "Clean"', 'title = "Clean", condition = "cleen"', "Invalid enum value 'cleen'"),
        ('rows = "heads"', 'rows = "head"', "no rows 'head'; did you mean heads"),
        ('rows = "heads"', 'rows = "heads"\nneeds = ["gap"]', "no row 'gap'"),
        (
            "[0.5, 0.25]",
            "[0.5]",
            "values 'soft_attention at 16 px': 1 of them, expected one a column, 2",
        ),
        ('"8/255"', '"8:255"', r"\$.attack.epsilons"),
        (
            '[attack]\nwhere = { "attack.name" = "linf_pgd" }\nepsilons = ["8/255"]\n',
            "",
            r"no \[attack\] in this file",
        ),
    ],
)
def test_a_wrong_file_ends_in_one_line_that_names_it(
    before: str, after: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(OURS)
    assert papers.load(file).short == "Ours"
    assert before in OURS
    file.write_text(OURS.replace(before, after, 1))
    with pytest.raises(UserError, match=message) as caught:
        papers.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_new_paper_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [
        make_run(tmp_path / "runs", heatmaps=False),
        make_run(tmp_path / "runs", "other", heatmaps=False, method="trades"),
        make_run(tmp_path / "runs", "another", heatmaps=False, dataset="eyepacs"),
    ]
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "ours.toml").write_text(OURS)
    monkeypatch.setattr(papers, "folder", lambda: folder)
    text = write(runs, tmp_path / "out").read_text(encoding="utf-8")
    assert text.count('<section id="tiny">') == text.count('href="#tiny"') == 1
    assert "Left out: demo/other." in text
    table = pd.read_csv(tmp_path / "out" / "tables" / "ours-1.csv")
    assert list(table["model"]) == ["paper", "demo/tiny_gap"]
    # make_run leaves 0.75 / 3 at the second of its two epsilons, which is 8/255.
    assert list(table["Robust"]) == [0.25, 0.25]
    assert list(table["Clean"]) == [0.5, 0.75]
    (folder / "ours.toml").write_text(OURS.replace("training.method", "training.methods"))
    papers._read.cache_clear()
    assert cli.main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 1
    papers._read.cache_clear()
