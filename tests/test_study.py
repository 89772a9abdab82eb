"""A study: which experiments a pattern names, what is called, and one page on all of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from attnrobust import cli as __main__
from attnrobust.disk.files import save_text
from attnrobust.errors import UserError
from attnrobust.stages.ready import ready
from attnrobust.studies import study

NAMES = ["a.one", "a.two", "b.one"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a.*"], {"a.one": "", "a.two": ""}),
        (["*.one@x/y", "a.one"], {"a.one": "x/y", "b.one": "x/y"}),
        (["b.one", "a.two@z"], {"b.one": "", "a.two": "z"}),
        (["a.*", "a.two@z"], {"a.one": "", "a.two": "z"}),
    ],
)
def test_patterns_name_experiments_and_their_records(
    patterns: list[str], expected: dict[str, str]
) -> None:
    found = study.chosen(patterns, NAMES)
    assert found == expected
    assert list(found) == list(expected)


def test_a_pattern_without_an_experiment_is_refused() -> None:
    with pytest.raises(UserError, match=r"^c\.\*: no such experiment; attnrobust list"):
        study.chosen(["a.one", "c.*"], NAMES)
    with pytest.raises(UserError, match=r"^c\.one: no such experiment; did you mean .*a\.one"):
        study.chosen(["c.one@x"], NAMES)


def test_records_that_a_pattern_names_are_never_ignored() -> None:
    with pytest.raises(UserError, match=r"^a\.two with records in x and in y: expected one folder"):
        study.chosen(["a.*@x", "a.two@y"], NAMES)
    with pytest.raises(UserError, match=r"^a\.one@: expected a folder of records after @"):
        study.chosen(["a.one@"], NAMES)


def test_a_seed_after_the_other_as_if_called_by_hand() -> None:
    names = {"demo.resnet18_gap": "", "eyepacs.mobilenet_gap": "x"}
    found = study.commands(names, [0, 3], ["train", "predict"], ["training.epochs=2"], Path("r"))
    assert [str(root) for root, _ in found] == [
        "r/demo/resnet18_gap/seed-0",
        "r/eyepacs/mobilenet_gap/seed-0",
        "r/demo/resnet18_gap/seed-3",
        "r/eyepacs/mobilenet_gap/seed-3",
    ]
    assert " ".join(found[3][1]) == (
        "-m attnrobust run eyepacs.mobilenet_gap train predict --seed 3 "
        "--runs r --records x --set training.epochs=2"
    )


def test_experiments_on_another_data_set_are_found_where_they_went() -> None:
    ((root, _),) = study.commands(
        {"covid_cxr.resnet18_augmix": ""},
        [0],
        ["train"],
        ["data.dataset=demo", "data.task="],
        Path("r"),
    )
    assert str(root) == "r/demo/resnet18_augmix/seed-0"


def test_a_setting_that_cannot_be_is_refused_before_anything_is_walked() -> None:
    with pytest.raises(UserError, match="no field 'lr' in training"):
        study.commands({"demo.resnet18_gap": ""}, [0], ["train"], ["training.lr=1"], Path("r"))


def test_a_name_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a study keeps each experiment under its own name"):
        study.study(["demo.*"], tmp_path, seeds=[0], stages=["train"], settings=["name=x"])


@pytest.mark.slow
@pytest.mark.usefixtures("one_device", "cheap_pages")
def test_a_study_trains_goes_on_and_ends_with_a_page(
    records_folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = subprocess.run

    def here(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """The same command line in this process, where the small network is known."""
        if words[:4] != [sys.executable, "-m", "attnrobust", "run"]:
            return real(words, **options)
        return subprocess.CompletedProcess(words, __main__.main(words[3:]))

    monkeypatch.setattr(subprocess, "run", here)
    settings = [
        "data.limit=16",
        "data.image_size=16",
        "model.backbone=small",
        "training.epochs=1",
        "training.batch_size=8",
        "attack.epsilons=0.01",
        "attack.steps=1",
        "attack.rel_stepsize=1",
        "attack.samples=2",
    ]
    words = [
        "study",
        f"demo.resnet18_gap@{records_folder}",
        "--out",
        str(tmp_path / "page"),
        "--runs",
        str(tmp_path / "runs"),
        "--seeds",
        "1",
    ]
    words += [word for each in settings for word in ("--set", each)]
    assert __main__.main([*words, "--set", "attack.name=x"]) == 1
    assert capfd.readouterr().err.startswith("error: demo.resnet18_gap: no attack.name 'x'")
    assert not (tmp_path / "runs").exists()
    assert __main__.main(words) == 0
    assert "resnet18_gap" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    weights = tmp_path / "runs" / "demo" / "resnet18_gap" / "seed-1" / "train" / "weights.h5"
    made = weights.stat().st_mtime_ns
    assert __main__.main(words) == 0
    assert weights.stat().st_mtime_ns == made


def test_each_walk_is_a_process_whose_failure_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "require_ready", lambda *_: None)
    nowhere = f"demo.resnet18_gap@{tmp_path / 'nowhere'}"
    words = ["study", nowhere, "--stages", "evaluate", "--runs", str(tmp_path / "runs")]
    assert __main__.main([*words, "--out", str(tmp_path / "page")]) == 1
    said = capfd.readouterr().err.splitlines()
    assert "resnet18_gap" in said[0], "the process' own line"
    assert said[-1].startswith("error: 1 of 1 runs failed: python -m attnrobust run")


def test_a_study_goes_on_after_a_failure_and_says_which_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs the first fails: the second is made, the page is of it alone."""
    called, written = [], []

    def process(words: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        root = tmp_path / "runs" / "demo" / "resnet18_gap" / f"seed-{len(called)}"
        called.append(words)
        # The first has measurements too, of a former call that did not fail.
        save_text(root / "evaluate" / "measurements.csv", "")
        return subprocess.CompletedProcess(words, len(called) % 2)

    monkeypatch.setattr(study, "require_ready", lambda *_: None)
    monkeypatch.setattr(study.subprocess, "run", process)
    monkeypatch.setattr(study, "find_runs", lambda roots: roots)
    monkeypatch.setattr(study.page, "write", lambda roots, _: written.extend(roots))
    words = ["study", "demo.resnet18_gap", "--seeds", "0", "1", "--runs", str(tmp_path / "runs")]
    assert __main__.main([*words, "--out", str(tmp_path / "page")]) == 1
    assert [root.name for root in written] == ["seed-1"]
    assert len(called) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: 1 of 2 runs failed: python")
    assert "--seed 0" in said
    assert "--seed 1" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stages", "trian"], "no stage 'trian'; did you mean train"),
        (["--stages", "evaluate"], "demo.resnet18_gap: .*run 'predict' first"),
        (["--set", "attack.first_passes=one"], "demo.resnet18_gap: no attack.first_passes 'one'"),
        (["--set", "training.start=other"], "training.start = other: no run"),
    ],
)
def test_what_could_not_begin_is_refused_before_the_first_walk(
    words: list[str],
    message: str,
    records_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a walk has begun"))
    asked = [
        "study",
        f"demo.resnet18_gap@{records_folder}",
        "--out",
        str(tmp_path / "page"),
        "--runs",
        str(tmp_path / "runs"),
        *words,
    ]
    assert __main__.main(asked) == 1
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_walk_may_start_from_one_that_comes_before_it(
    records_folder: Path, tmp_path: Path
) -> None:
    walked = {
        "demo.resnet18_gap": str(records_folder),
        "demo.resnet18_soft_attention": str(records_folder),
    }
    one, two = walked
    start = [f"training.start={one.partition('.')[2]}"]
    with pytest.raises(UserError, match=rf"^{two}: training.start = .*: no run"):
        study.require_ready({two: walked[two]}, [0], ["train"], start, tmp_path)
    runs_of = study.commands(walked, [0], ["train"], [], tmp_path)
    context = study._context(two, walked[two], 0, start, tmp_path)
    ready(context, ["train"], trained=[root for root, _ in runs_of])
