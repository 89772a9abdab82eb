"""A study: which experiments a pattern names, what is called, and one page on all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from attnrobust import __main__, study
from attnrobust.errors import UserError

NAMES = ["a.one", "a.two", "b.one"]


def test_every_experiment_file_is_known() -> None:
    found = experiments.known()
    assert "demo.resnet18_gap" in found
    assert len(found) == len(list(Path("experiments").glob("*/[!_]*.py")))
    assert found == sorted(found)


@pytest.mark.parametrize(("patterns", "expected"), [
    (["a.*"], {"a.one": "", "a.two": ""}),
    (["*.one@x/y", "a.one"], {"a.one": "x/y", "b.one": "x/y"}),
    (["b.one", "a.two@z"], {"b.one": "", "a.two": "z"}),
])  # fmt: skip
def test_patterns_name_experiments_and_their_records(
    patterns: list[str], expected: dict[str, str]
) -> None:
    found = study.chosen(patterns, NAMES)
    assert found == expected
    assert list(found) == list(expected)


def test_a_pattern_without_an_experiment_is_refused() -> None:
    with pytest.raises(UserError, match=r"^c\.\*: no such experiment; expected some of a\.one"):
        study.chosen(["a.one", "c.*"], NAMES)


def test_a_seed_after_the_other_as_if_called_by_hand() -> None:
    found = study.commands({"a.one": "", "b.two": "x"}, [0, 3], ["train", "predict"],
                           ["training.epochs=2"], Path("r"))  # fmt: skip
    assert [str(root) for root, _ in found] == [
        "r/a/one/seed-0", "r/b/two/seed-0", "r/a/one/seed-3", "r/b/two/seed-3"
    ]  # fmt: skip
    assert " ".join(found[3][1]) == ("-m experiments.b.two train predict --seed 3 --runs r "
                                     "--records x --set training.epochs=2")  # fmt: skip


def test_a_name_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a study keeps each experiment under its own name"):
        study.study(["demo.*"], tmp_path, seeds=[0], stages=["train"], settings=["name=x"])


def test_a_study_trains_goes_on_and_ends_with_a_page(
    records_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = ["data.limit=16", "data.image_size=16", "model.width=0.1", "training.epochs=1",
                "training.batch_size=8", "attack.epsilons=0.01", "attack.steps=1",
                "attack.rel_stepsize=1", "attack.samples=2"]  # fmt: skip
    words = ["study", f"demo.resnet18_gap@{records_folder}", "--out", str(tmp_path / "page"),
             "--runs", str(tmp_path / "runs"), "--seeds", "1"]  # fmt: skip
    words += [word for each in settings for word in ("--set", each)]
    assert __main__.main([*words, "--set", "training.lr=1"]) == 1
    assert "training.lr=1 failed; the same study goes on there" in capfd.readouterr().err
    assert __main__.main(words) == 0
    assert "resnet18_gap" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    weights = tmp_path / "runs" / "demo" / "resnet18_gap" / "seed-1" / "train" / "weights.h5"
    made = weights.stat().st_mtime_ns
    again = [sys.executable, "-m", "attnrobust", *words]
    assert subprocess.run(again, check=False).returncode == 0
    assert weights.stat().st_mtime_ns == made
