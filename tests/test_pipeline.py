"""The whole walk and the command line, as a user sees them."""

from __future__ import annotations

import dataclasses
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from training_helpers import leave_uncompiled

from attnrobust import cli as program
from attnrobust import config, stack
from attnrobust.attacks.methods import settled
from attnrobust.config.smoke import smoke
from attnrobust.data import inputs, records
from attnrobust.disk import runs
from attnrobust.run import main
from attnrobust.stages import export, pipeline
from attnrobust.training import fit, strategy
from experiments.demo import resnet18_soft_attention
from experiments.ham10000 import inception_resnet_v2_soft_attention

ROOT = Path(__file__).parents[1]
EXPERIMENT = resnet18_soft_attention.EXPERIMENT


def call(records: Path, runs_folder: Path, *words: str, experiment=EXPERIMENT) -> int:
    return main(
        experiment,
        [
            *words,
            "--smoke",
            "--records",
            str(records),
            "--runs",
            str(runs_folder),
            "--set",
            "data.image_size=32",
            *(["--set", "model.backbone=small"] if "model.backbone" not in str(words) else []),
        ],
    )


def stages(records: Path, folder: Path, *names: str) -> None:
    """Walk them; the report goes below the current folder."""
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(records, folder / "runs", *names) == 0


@pytest.fixture(scope="module")
def trained(one_device, records_folder, shared):
    """A smoke walk that ends after training, in a folder of all test processes."""
    return shared("walk", lambda folder: stages(records_folder, folder, "train"))


@pytest.fixture(scope="module")
def attacked(trained, records_folder, shared):
    """The same folder, a part of the way on."""
    names = ("predict", "attack", "check")
    shared("walk-attacked", lambda _: stages(records_folder, trained, *names))
    return trained


@pytest.fixture(scope="module")
def explained(attacked, records_folder, shared):
    """The same folder, further on."""
    names = ("explain", "evaluate")
    shared("walk-explained", lambda _: stages(records_folder, attacked, *names))
    return attacked


@pytest.fixture(scope="module")
def exported(explained, records_folder, shared):
    """The same folder, with a SavedModel; test_export asks it of a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_compare", lambda *_: 0.0)
        shared("walk-exported", lambda _: stages(records_folder, explained, "export"))
    return explained


@pytest.fixture(scope="module")
def walked(exported, records_folder, shared):
    """The same folder after the whole walk."""
    shared("walk-whole", lambda _: stages(records_folder, exported, "all"))
    return exported


@pytest.fixture
def run(walked) -> runs.Run:
    return runs.find_runs([walked / "runs"])[0]


def test_training_leaves_its_files(trained):
    (run,) = runs.find_runs([trained / "runs"])
    assert run.stamp("train")["finished"]
    assert run.path("train/weights.h5").is_file()


def test_attack_and_check_leave_their_files(attacked):
    (run,) = runs.find_runs([attacked / "runs"])
    for file in (
        "predict/clean.npz",
        "attack/linf_pgd/linf_pgd-0.npz",
        "check/linf_pgd/checks.json",
    ):
        assert run.path(file).is_file(), file


def test_evaluate_and_explain_leave_their_files(explained):
    (run,) = runs.find_runs([explained / "runs"])
    for file in ("evaluate/measurements.csv", "explain/linf_pgd/comparison.csv"):
        assert run.path(file).is_file(), file
    # Both together: the maps that were explained are measured, at every epsilon and without.
    table = pd.read_csv(run.path("evaluate", "measurements.csv"), float_precision="round_trip")
    gini = table[table["metric"] == "gini[grad_cam]"]
    assert set(gini["condition"]) == {"attack"}
    assert sorted(gini["level"]) == [0, *run.experiment.attack.epsilons]
    assert {"deletion[grad_cam]", "heat_inside[grad_cam]"} <= set(table["metric"])


def test_export_leaves_its_files(exported):
    (run,) = runs.find_runs([exported / "runs"])
    assert run.path("export", "saved_model", "saved_model.pb").is_file()


def test_without_an_attack_the_clean_images_are_explained(
    trained, attacked, records_folder, tmp_path, caplog
):
    """The very images that an attack would keep; one that comes later stands beside them."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    (run,) = runs.find_runs([tmp_path / "runs"])
    shutil.rmtree(run.path("attack"), ignore_errors=True)  # What the fixture has come to by now.
    shutil.rmtree(run.path("explain"), ignore_errors=True)
    assert call(records_folder, tmp_path / "runs", "explain") == 0
    assert "no attack has finished: heatmaps of the images as they are alone" in caplog.text
    files = {path.name for path in run.path("explain", "clean").iterdir()}
    assert files == {
        "stage.json",
        "samples.npz",
        "grad_cam-clean.npz",
        "faithfulness-grad_cam-clean.npz",
        "randomisation.json",
    }
    (before,) = runs.find_runs([attacked / "runs"])
    kept = runs.load_npz(before.path("attack", "linf_pgd", "linf_pgd-0.npz"))
    found = runs.load_npz(run.path("explain", "clean", "samples.npz"))
    for name in ("sample_id", "sample_image", "sample_mask"):
        np.testing.assert_array_equal(found[name], kept[name])
    places = [list(kept["id"]).index(each) for each in kept["sample_id"]]
    for name in ("label", "group"):
        np.testing.assert_array_equal(found[name], kept[name][places])
    np.testing.assert_allclose(found["logits"], kept["logits"][places], atol=1e-5)
    maps = runs.load_npz(run.path("explain", "clean", "grad_cam-clean.npz"))
    np.testing.assert_array_equal(maps["id"], kept["sample_id"])
    assert maps["heatmap"].any()
    stamp = run.path("explain", "clean", "stage.json").read_bytes()
    assert call(records_folder, tmp_path / "runs", "explain", "evaluate") == 0
    table = pd.read_csv(run.path("evaluate", "measurements.csv"), keep_default_na=False)
    table = table.set_index("metric").loc[["gini[grad_cam]", "max_sensitivity[grad_cam]"]]
    assert set(table["condition"]) == {"clean"}
    assert set(table["level"]) == set(table["name"]) == {""}
    assert run.path("explain", "clean", "stage.json").read_bytes() == stamp, "kept"
    with pytest.raises(SystemExit):
        call(records_folder, tmp_path / "runs", "attack", "--as", "clean")


def test_a_model_is_exported_without_records(exported, tmp_path, monkeypatch):
    shutil.copytree(exported / "runs", tmp_path / "runs")
    (run,) = runs.find_runs([tmp_path / "runs"])
    monkeypatch.setattr(export, "_compare", lambda *_: 0.0)
    kept = run.path("export", "stage.json").read_bytes()
    assert call(tmp_path / "nowhere", tmp_path / "runs", "export") == 0
    assert run.path("export", "stage.json").read_bytes() == kept
    assert call(tmp_path / "nowhere", tmp_path / "runs", "export", "--force") == 0
    card = runs.load_json(run.path("export", "saved_model", "classes.json"))
    assert card["classes"] == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    assert card["input"].startswith("images: float32 (N, 32, 32, 3)")
    images = export.drawn(8)
    assert images.shape == (8, 8, 8, 3)
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_array_equal(images, export.drawn(8))


def test_every_stage_leaves_its_files(walked, run):
    for stage in pipeline.in_order(["all"]):
        if stage != "report":
            place = f"{stage}/linf_pgd" if stage in ("attack", "check", "explain") else stage
            assert runs.load_json(run.path(place, "stage.json"))["finished"], stage
    for file in (
        "config.json",
        "provenance.json",
        "log.txt",
        "train/weights.h5",
        "train/history.jsonl",
        "predict/clean.npz",
        "attack/linf_pgd/linf_pgd-0.npz",
        "evaluate/measurements.csv",
        "explain/linf_pgd/grad_cam-clean.npz",
        "explain/linf_pgd/comparison.csv",
        "export/saved_model/saved_model.pb",
    ):
        assert run.path(file).is_file(), file
    pages = list((walked / "reports").glob("*/index.html"))
    assert len(pages) == 1
    assert "robust accuracy" in pages[0].read_text().lower()
    provenance = runs.load_json(run.path("provenance.json"))
    assert provenance["dataset"]["classes"] == ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
    assert provenance["packages"]["tensorflow"] == tf.__version__
    assert provenance["keras"] == stack.keras()


def test_measurements_hold_the_clean_and_every_attack_condition(run):
    table = pd.read_csv(run.path("evaluate", "measurements.csv"), float_precision="round_trip")
    attack = table[table["condition"] == "attack"]
    mean = attack[attack["level"].isna()]
    assert set(mean["metric"]) == {"mean_accuracy"}, "over all epsilons, so without one"
    attack = attack.drop(mean.index)
    assert sorted(attack["level"].unique()) == [0, *run.experiment.attack.epsilons]
    accuracy = table[table["metric"] == "accuracy"].set_index("level")["value"]
    clean = runs.load_npz(run.path("predict", "clean.npz"))
    assert accuracy.iloc[0] == pytest.approx((clean["logits"].argmax(1) == clean["label"]).mean())
    assert accuracy.loc[0.0] == accuracy.iloc[0]


def test_masks_reach_the_comparison_and_old_runs_get_it(walked, records_folder, run, tmp_path):
    clean = runs.load_npz(run.path("attack", "linf_pgd", "linf_pgd-0.npz"))
    data = run.experiment.data
    dataset = records.load(records_folder)
    judged = inputs.read(dataset, "test", list(clean["sample_id"]), data=data)
    assert judged["mask"].any()
    np.testing.assert_array_equal(clean["sample_mask"], judged["mask"])
    attacked = runs.load_npz(
        run.path("attack", "linf_pgd", f"linf_pgd-{run.experiment.attack.epsilons[0]:g}.npz")
    )
    assert "sample_mask" not in attacked, "once is enough"
    shutil.copytree(walked / "runs", tmp_path / "runs")
    table = runs.find_runs([tmp_path / "runs"])[0].path("explain", "linf_pgd", "comparison.csv")
    before = table.read_bytes()
    assert b"energy_inside" in before
    table.unlink()
    assert call(records_folder, tmp_path / "runs", "explain") == 0
    assert table.read_bytes() == before


def test_a_second_walk_keeps_everything(walked, records_folder, run, monkeypatch, caplog):
    stamp = run.path("train", "weights.h5").stat().st_mtime_ns
    monkeypatch.chdir(walked)
    assert call(records_folder, walked / "runs", "attack") == 0
    assert "done before, kept" in caplog.text
    assert run.path("train", "weights.h5").stat().st_mtime_ns == stamp


def test_another_configuration_is_refused_by_name(walked, records_folder, capsys):
    assert call(records_folder, walked / "runs", "attack", "--set", "attack.steps=3") == 1
    error = capsys.readouterr().err
    assert "attack.steps 2 (now 3)" in error
    assert "--force" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("stage", ["predict", "attack", "explain", "export"])
@pytest.mark.parametrize("setting", ["model.dropout=0.25", "model.gamma=1", "data.task=x"])
def test_another_network_than_the_trained_one_is_never_measured(
    stage, setting, walked, records_folder, capsys
):
    """Such settings leave the weights' shapes as they are, so loading alone does not notice."""
    assert call(records_folder, walked / "runs", stage, "--force", "--set", setting) == 1
    error = capsys.readouterr().err
    assert setting.split("=")[0] in error or "task" in error
    assert error.count("\n") == 1
    place = f"{stage}/linf_pgd" if stage in ("attack", "check", "explain") else stage
    assert runs.find_runs([walked / "runs"])[0].path(place, "stage.json").is_file(), "kept"


@pytest.mark.usefixtures("one_device")
def test_a_kill_after_training_and_before_its_stamp_loses_no_epoch(
    records_folder, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.provenance, "provenance", lambda **_: interrupt())
        assert call(records_folder, tmp_path, "train") == 130
    run = runs.find_runs([tmp_path])[0]
    weights = run.path("train", "weights.h5").read_bytes()
    assert not run.stamp("train")["finished"]
    monkeypatch.setattr(fit, "_one_epoch", lambda *_, **__: interrupt())
    assert call(records_folder, tmp_path, "train") == 0
    assert run.stamp("train")["finished"]
    assert run.path("train", "weights.h5").read_bytes() == weights
    assert {path.name for path in run.path("train").iterdir()} == {
        "weights.h5",
        "history.jsonl",
        "tensorboard",
        "stage.json",
    }


def interrupt() -> None:
    raise KeyboardInterrupt


def test_force_makes_a_stage_anew(walked, records_folder, run, tmp_path):
    shutil.copytree(walked / "runs", tmp_path / "runs")
    word = ["attack", "--force", "--set", "attack.steps=3"]
    assert call(records_folder, tmp_path / "runs", *word) == 0
    copy = runs.find_runs([tmp_path / "runs"])[0]
    assert copy.experiment.attack.steps == 3


@pytest.fixture(scope="module")
def several(walked, records_folder, shared):
    """A copy of the walk with another attack beside the first; not to be changed."""
    more = ["--as", "pgd-3", "--set", "attack.steps=3", "--set", "model.weights=other.h5"]

    def attack(folder):
        shutil.copytree(walked / "runs", folder / "runs")
        assert call(records_folder, folder / "runs", "attack", *more) == 0

    return shared("walk-several", attack)


def test_one_run_holds_several_attacks_and_remembers_how_it_was_trained(several, run):
    copy = runs.find_runs([several / "runs"])[0]
    assert copy.attacks() == {
        "linf_pgd": settled(run.experiment.attack),
        "pgd-3": settled(dataclasses.replace(run.experiment.attack, steps=3)),
    }
    assert copy.norm("pgd-3") == "linf"
    assert copy.stamp("attack/pgd-3")["command"].startswith("python")
    assert copy.experiment.model == run.experiment.model, "as trained"


@pytest.mark.slow
def test_the_worst_of_several_attacks_is_measured_and_on_the_page(
    several, records_folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(several / "runs", tmp_path / "runs")
    for stage in ("evaluate", "report"):
        assert call(records_folder, tmp_path / "runs", stage) == 0
    copy = runs.find_runs([tmp_path / "runs"])[0]
    place = copy.path("evaluate", "measurements.csv")
    table = pd.read_csv(place, float_precision="round_trip")
    accuracy = table[table["metric"] == "accuracy"].set_index(["condition", "name", "level"])
    for epsilon in copy.experiment.attack.epsilons:
        right = [
            (found["logits"].argmax(1) == found["label"])
            for label in ("linf_pgd", "pgd-3")
            for found in [runs.load_npz(copy.attacked(label) / f"linf_pgd-{epsilon:g}.npz")]
        ]
        worst = accuracy.loc[("worst_case", "linf", epsilon), "value"]
        assert worst == pytest.approx(np.minimum(*right).mean())
    (page,) = tmp_path.glob("reports/*/index.html")
    assert "All L-infinity attacks" in page.read_text(encoding="utf-8")


def test_one_of_several_attacks_is_explained_by_its_name(several, records_folder, tmp_path, capsys):
    shutil.copytree(several / "runs", tmp_path / "runs")
    assert call(records_folder, tmp_path / "runs", "explain", "--as", "pgd-3") == 0
    copy = runs.find_runs([tmp_path / "runs"])[0]
    compared = pd.read_csv(copy.path("explain", "pgd-3", "comparison.csv"))
    assert set(compared["name"]) == {"pgd-3"}
    assert copy.path("explain", "linf_pgd", "comparison.csv").is_file(), "both are kept"
    capsys.readouterr()
    assert call(records_folder, tmp_path / "runs", "explain", "--as", "nope") == 1
    assert "name one of these with --as: linf_pgd, pgd-3" in capsys.readouterr().err


@pytest.mark.parametrize("label", ["", "a/b", ".x", "stage.json", "a b"])
def test_a_label_must_name_a_folder(label, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        call(tmp_path, tmp_path, "attack", "--as", label)
    assert ended.value.code == 2
    assert "expected letters, digits, _ - ." in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call(tmp_path, tmp_path, "evaluate", "--as", "x")
    assert "--as is for attack, check and explain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--set", "training.epoch=2"], "no field 'epoch' in training; known: epochs"),
        (["train", "--set", "training.epochs"], "expected key=value"),
        (["train", "--set", "model.backbone=resnet81"], "did you mean resnet18"),
        (["train", "--set", "model.head=gpa", "--set", "name=x1"], "did you mean gap"),
        (["train", "--set", "training.augmentation=filp", "--set", "name=x2"], "did you mean flip"),
        (["train", "--set", "model.weights=nowhere.h5", "--set", "name=x3"], "no such file"),
        (
            ["train", "--set", "data.task=binary", "--set", "name=x5"],
            "no task 'binary'; demo has none",
        ),
        (["predict", "--set", "name=x4"], "run 'train' first"),
        (["train", "--set", "training.batch_size=4000000", "--set", "name=x6"], "GB are free; try"),
        (["attack", "--set", "attack.epsilons=0.1,0.05"], "rising"),
        (["attack", "--set", "attack.epsilons=8"], "in [0, 1] pixel scale"),
    ],
)
def test_mistakes_end_in_one_clear_line(words, message, records_folder, tmp_path, capsys):
    assert call(records_folder, tmp_path, *words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_missing_records_say_how_to_make_them(tmp_path, capsys):
    assert call(tmp_path / "ham10000", tmp_path, "train") == 1
    assert "attnrobust prepare DATASET --raw DIR" in capsys.readouterr().err


def test_wrong_usage_exits_with_2():
    with pytest.raises(SystemExit) as ended:
        main(EXPERIMENT, ["trian"])
    assert ended.value.code == 2


def test_smoke_keeps_a_grid_and_needs_no_download():
    small = smoke(inception_resnet_v2_soft_attention.EXPERIMENT)
    assert small.model.weights == "none"
    assert small.attack.epsilons == (0.00125, 0.01)
    assert small.name.endswith("-smoke")
    one = config.with_settings(EXPERIMENT, ["attack.epsilons=0.1"])
    assert smoke(one).attack.epsilons == (0.1,)


def test_an_experiment_is_a_command(records_folder, tmp_path, monkeypatch, capsys):
    """As `python -m experiments.demo.resnet18_gap`, in this process and with a small network."""
    name = "experiments.demo.resnet18_gap"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(strategy, "mirrored", tf.distribute.get_strategy)
    leave_uncompiled(monkeypatch)
    words = ["train", "--smoke", "--records", str(records_folder), "--runs", str(tmp_path)]
    for setting in ("data.image_size=32", "model.backbone=small", "training.augmentation="):
        words += ["--set", setting]
    monkeypatch.setattr(sys, "argv", [name, *words])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__")
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert "epoch   1/1" in said.out
    assert said.err == ""
    (run,) = runs.find_runs([tmp_path])
    assert run.experiment.name == "resnet18_gap-smoke"
    assert run.stamp("train")["finished"]
    assert run.path("train", "weights.h5").is_file()


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "experiments.demo.resnet18_gap", "--help"],
        ["-m", "experiments", "demo.resnet18_gap", "--help"],
        ["-m", "attnrobust", "report", "--help"],
    ],
)
def test_help_starts_without_tensorflow(command):
    probe = (
        f"import sys, runpy; sys.argv = {['x', *command[2:]]!r}\n"
        f"try:\n    runpy.run_module({command[1]!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_report_over_many_runs(walked, tmp_path, capsys):
    assert program.main(["report", str(walked / "runs"), "--out", str(tmp_path / "study")]) == 0
    assert (tmp_path / "study" / "index.html").is_file()
    assert program.main(["report", str(tmp_path), "--out", str(tmp_path / "none")]) == 1
    assert "no run there or below" in capsys.readouterr().err


def test_history_and_log_are_readable_as_text(run):
    rows = [
        json.loads(line)
        for line in run.path("train", "history.jsonl").read_text().split("\n")
        if line
    ]
    assert np.isfinite([row["val_loss"] for row in rows]).all()
    assert "clean accuracy" in run.path("log.txt").read_text()
