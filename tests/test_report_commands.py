"""Commands of the page, of a run that the command line itself made."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import command_helpers
import numpy as np
import pytest
from command_helpers import NAME
from tensorflow import keras
from test_report import make_run

from attnrobust import config
from attnrobust.attacks import sweep
from attnrobust.attacks.methods import settled
from attnrobust.disk.runs import Run, attack_file, load_json, save_json, save_npz, save_text
from attnrobust.report import commands, reading
from attnrobust.report.page import write
from attnrobust.run import main
from attnrobust.stages import pipeline, prediction
from attnrobust.stages.context import Context
from attnrobust.studies import unfreezing
from attnrobust.training import fit
from experiments.demo.resnet18_gap import EXPERIMENT

pytestmark = pytest.mark.usefixtures("cheap_pages")
FOUND = {
    "id": np.array(["a", "b", "c"]),
    "group": np.array(["p", "p", "q"]),
    "label": np.array([0, 1, 2]),
    "logits": np.eye(7, dtype=np.float32)[[0, 1, 1]],
}


class Swept(sweep.Sweep):
    """Files of an attack under which all stand."""

    def __init__(self, experiment, *_) -> None:
        self.setting = experiment.attack

    def run(self, folder: Path) -> None:
        for epsilon in (0.0, *self.setting.epsilons):
            size = np.zeros(3)
            shown = {"sample_id": FOUND["id"][:1], "sample_image": np.zeros((1, 8, 8, 3), "f4")}
            save_npz(folder / attack_file(self.setting.name, epsilon), **FOUND, **shown, linf=size)


@pytest.fixture
def without_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that write at once what would take minutes; all around them is real."""
    model = keras.Sequential(
        [keras.layers.Input((8, 8, 3)), keras.layers.Rescaling(2.0, name="preprocessing")]
    )

    def train(experiment, dataset, folder, spread):
        save_text(folder / "weights.h5", "weights")
        return model

    monkeypatch.setattr(fit, "train", train)
    monkeypatch.setattr(
        prediction,
        "predict",
        lambda experiment, dataset, folder, replicas: save_npz(folder / "clean.npz", **FOUND),
    )
    monkeypatch.setattr(sweep, "Sweep", Swept)
    monkeypatch.setattr(Context, "trained", lambda context, dataset: None)


@pytest.mark.usefixtures("without_work")
def test_a_run_is_called_again_with_its_name_folder_records_and_settings(
    records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = [
        "--runs",
        "my runs",
        "--records",
        str(records_folder),
        "--seed",
        "2",
        "--smoke",
        "--set",
        "name=other",
        "--set",
        "model.width=0.5",
    ]
    attacks = (
        ["--as", "strong", "--set", "attack.steps=7"],
        ["--as", "aimed", "--set", "attack.target=nv"],
    )
    for words in (["train", "predict"], *(["attack", *each] for each in attacks), ["evaluate"]):
        command = [*words, *where]
        monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "experiments", NAME, *command])
        assert main(EXPERIMENT, command) == 0
    run = Run.open(Path("my runs/demo/other/seed-2"))
    started = run.stamp("train")["started"]
    assert load_json(run.path("provenance.json"))["started"] == started
    text = write([run], Path("page")).read_text(encoding="utf-8")
    called = command_helpers.all_of(text, monkeypatch)
    assert command_helpers.roots(called) == {run.root}
    assert {each.context.records for each in called.values()} == {records_folder}
    made = {
        (tuple(each.stages), each.context.label): each.context.experiment
        for each in called.values()
    }
    # What repeats the run, then what its stages were called by; --as counts for attacks alone.
    assert {stages for stages, _ in made} >= {("train", "predict"), ("attack",), ("evaluate",)}
    trained = made[("train", "predict"), "linf_pgd"]
    assert trained.model == run.experiment.model
    assert trained.training == run.experiment.training
    for label, attack in run.attacks().items():
        assert settled(made[("attack",), label].attack) == attack
    assert run.attacks()["strong"].steps == 7
    assert run.attacks()["aimed"].target == "nv"


@pytest.mark.usefixtures("without_work")
def test_predictions_alone_have_a_page_whose_commands_attack_them(
    records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = ["--records", str(records_folder), "--set", "attack.target=nv"]
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "experiments", NAME, "train", *where])
    assert main(EXPERIMENT, ["train", "predict", "evaluate", *where]) == 0
    run = Run.of(EXPERIMENT, Path("runs"))
    text = write([run], Path("page")).read_text(encoding="utf-8")
    assert "No attack has been measured yet" in text
    assert "targeted at nv" not in text
    called = command_helpers.all_of(text, monkeypatch)
    assert command_helpers.roots(called) == {run.root}
    stages = [each.stages for each in called.values()]
    assert ["attack", "explain", "evaluate"] in stages
    assert pipeline.in_order(["all"]) in stages


@pytest.mark.usefixtures("without_work")
def test_a_resumed_training_started_when_its_first_part_did(
    records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "--runs", str(tmp_path), "--records", str(records_folder)]
    finished = fit.train

    def cut_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "train", cut_off)
    assert main(EXPERIMENT, words) == 130
    run = Run.of(EXPERIMENT, tmp_path)
    stamp = run.path("train", "stage.json")
    then = "2025-01-01T00:00:00+0000"
    save_text(stamp, stamp.read_text().replace(load_json(stamp)["started"], then))
    monkeypatch.setattr(fit, "train", finished)
    assert main(EXPERIMENT, words) == 0
    assert load_json(run.path("provenance.json"))["started"] == then
    assert run.stamp("train")["started"] == then


def test_an_attack_of_any_settings_can_be_put_into_words() -> None:
    attack = config.Attack(
        name="bim",
        abs_stepsize=None,
        first_passes=(),
        early_stop=False,
        epsilons=(8 / 255, 0.1 / 3),
        target="nv",
    )
    assert EXPERIMENT.attack != attack
    made = config.with_settings(EXPERIMENT, unfreezing._texts(attack))
    assert made.attack == attack


def test_heatmaps_of_other_words_than_the_attack_are_repeated_by_theirs(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    words = command_helpers.again(run.experiment)
    lines = lambda: commands.repeating(reading.read([run]), Path("page"))  # noqa: E731
    assert [" all " in each for each in lines()] == [True, False]
    stamp = run.path("explain", "linf_pgd", "stage.json")
    half = ["--set", "explanation.precision=bfloat16"]
    save_json(stamp, {**load_json(stamp), "again": [*words, *half]})
    stages = [shlex.split(each)[5:7] for each in lines()]
    assert [each[0] for each in stages] == ["train", "attack", "explain", "evaluate", "--out"]
    assert stages[1][1] == "--seed", "without 'explain'"
    assert [half[1] in each for each in lines()] == [False, False, True, False, False]
    save_json(run.path("check", "linf_pgd", "stage.json"), load_json(stamp))
    assert shlex.split(lines()[1])[5:7] == ["attack", "check"]
    run.path("check", "linf_pgd", "stage.json").unlink()
    save_json(stamp, {name: each for name, each in load_json(stamp).items() if name != "again"})
    assert [" all " in each for each in lines()] == [True, False], "stamps of long ago"
