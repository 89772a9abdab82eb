"""The run directory: nothing half-written, no result taken for that of another configuration."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import run_helpers

from attnrobust import config
from attnrobust.attacks.methods import settled
from attnrobust.disk import places, provenance, runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.report import page
from attnrobust.stages import pipeline
from attnrobust.stages.context import Context

EXPERIMENT = config.Experiment(name="first", data=config.Data(dataset="demo"), seed=3)
USED = {"training": {"epochs": 2, "augmentation": ("flip",)}, "seed": 3}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.of(EXPERIMENT, tmp_path / "runs")


def finish(run: Run, name: str = "train", **changes: object) -> None:
    with run.stage(name, used={**USED, **changes}) as folder:
        assert folder is not None


def write_half(path: Path, error: BaseException) -> None:
    with runs.atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise error


def test_atomic_makes_the_folder_and_leaves_only_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    runs.save_text(path, "old ε")
    runs.save_text(path, "new ε")
    assert path.read_text(encoding="utf-8") == "new ε"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), OSError(5, "I/O")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(type(error)) as caught:
        write_half(path, error)
    assert caught.value is error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("shard-0; No space left on device"),
        OSError("Can't write data (file write failed: errno = 28, error message = 'full')"),
    ],
)
def test_a_full_disk_is_a_user_error_that_names_the_file(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UserError, match="no space left") as caught:
        write_half(path, error)
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_come_back_equal(tmp_path: Path) -> None:
    arrays = {
        "id": np.array(["a", "bé"]),
        "logits": np.array([[0.5, -1.25]], np.float32),
        "label": np.array([1, 2]),
    }
    runs.save_npz(tmp_path / "x.npz", **arrays)
    found = runs.load_npz(tmp_path / "x.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def whole_npz(path: Path) -> bytes:
    runs.save_npz(path, logits=np.random.default_rng(0).normal(size=(50, 7)))
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_cut_npz_is_a_user_error(tmp_path: Path, share: float) -> None:
    path = tmp_path / "clean.npz"
    content = whole_npz(path)
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=re.escape(f"{path}: damaged")):
        runs.load_npz(path)


def test_a_flipped_byte_in_an_npz_changes_nothing_or_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "clean.npz"
    content = whole_npz(path)
    whole, reasons = runs.load_npz(path)["logits"], []
    for position in range(0, len(content), 11):
        flipped = bytearray(content)
        flipped[position] ^= 0xFF
        path.write_bytes(flipped)
        try:
            found = runs.load_npz(path)
        except UserError as error:
            reasons.append(str(error))
        else:  # the time in the archive, say, or a name, which lacks at once
            np.testing.assert_array_equal(found.get("logits", whole), whole)
    assert len(reasons) > 0.8 * len(content) / 11
    assert all(reason.startswith(f"{path}: damaged") for reason in reasons)


def test_objects_in_an_npz_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "clean.npz"
    np.savez(path, id=np.array([{"a": 1}], object))
    with pytest.raises(UserError, match="damaged"):
        runs.load_npz(path)


def test_a_text_that_calls_itself_npz_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "clean.npz"
    path.write_text("id,label\n")
    with pytest.raises(UserError, match="damaged"):
        runs.load_npz(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"clean.npz: not there"):
        runs.load_npz(tmp_path / "clean.npz")
    with pytest.raises(UserError, match=r"dataset.json: not there"):
        runs.load_json(tmp_path / "dataset.json")


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe{}"])
def test_damaged_json_is_a_user_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stage.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"stage.json: damaged \((not JSON|.utf-8.)"):
        runs.load_json(path)


def test_digest_is_of_values_and_of_file_contents(tmp_path: Path) -> None:
    expected = hashlib.sha256(b'{"a": 1, "b": [2]}' + b"weights").hexdigest()[:16]
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    assert runs.digest({"b": (2,), "a": 1}, first) == expected
    assert runs.digest({"a": 1, "b": [2]}, second) == expected
    second.write_bytes(b"other")
    assert runs.digest({"a": 1, "b": [2]}, second) != expected


def test_an_attack_file_is_named_by_attack_and_epsilon() -> None:
    assert runs.attack_file("linf_pgd", 0.00125) == "linf_pgd-0.00125.npz"
    assert runs.attack_file("linf_pgd", 8 / 255) == "linf_pgd-0.0313725.npz"
    assert runs.attack_file("linf_pgd", 0.0) == "linf_pgd-0.npz"


def test_a_run_has_its_place_by_dataset_name_and_seed(tmp_path: Path) -> None:
    run = Run.of(EXPERIMENT, tmp_path)
    assert run.root == tmp_path / "demo" / "first" / "seed-3"
    assert run.path("predict", "clean.npz") == run.root / "predict" / "clean.npz"
    assert not run.root.exists()


def test_a_stage_is_stamped_unfinished_and_then_finished(run: Run) -> None:
    with run.stage("train", used=USED, inputs="abc") as folder:
        assert folder == run.root / "train"
        stamp = json.loads((folder / "stage.json").read_text())
        assert (
            stamp.items()
            >= {
                "used": {"training": {"epochs": 2, "augmentation": ["flip"]}, "seed": 3},
                "inputs": "abc",
                "finished": False,
            }.items()
        )
        with pytest.raises(UserError, match="run 'train' first"):
            run.require("train")
    stamp = json.loads((run.root / "train" / "stage.json").read_text())
    assert stamp["finished"] is True
    assert run.require("train") == run.root / "train"
    assert run.seconds("train") == stamp["seconds"] >= 0
    assert run.seconds("attack") is None
    assert Run.open(run.root).experiment == EXPERIMENT


def test_a_finished_stage_of_the_same_configuration_is_kept(run: Run) -> None:
    finish(run)
    before = (run.root / "train" / "stage.json").read_bytes()
    with run.stage("train", used=USED) as folder:
        assert folder is None
    assert (run.root / "train" / "stage.json").read_bytes() == before


def test_a_stage_of_another_configuration_is_refused_by_the_changed_field(run: Run) -> None:
    finish(run)
    other = {"training": {"epochs": 5, "augmentation": ("flip",)}, "seed": 3}
    with (
        pytest.raises(UserError, match=re.escape("training.epochs 2 (now 5)")) as error,
        run.stage("train", used=other),
    ):
        pytest.fail("the stage was entered")
    assert "--force" in str(error.value)
    assert "augmentation" not in str(error.value)
    assert "seed" not in str(error.value).replace(f"seed-{EXPERIMENT.seed}", "")


def test_a_stage_of_other_inputs_is_refused(run: Run) -> None:
    with run.stage("predict", used=USED, inputs="weights 1"):
        pass
    with (
        pytest.raises(UserError, match="other inputs"),
        run.stage("predict", used=USED, inputs="weights 2"),
    ):
        pytest.fail("the stage was entered")


def test_force_starts_from_an_empty_folder(run: Run) -> None:
    finish(run)
    (run.root / "train" / "weights.h5").write_text("old")
    with run.stage("train", used={**USED, "seed": 4}, force=True) as folder:
        assert folder is not None
        assert [path.name for path in folder.iterdir()] == ["stage.json"]
    assert run.require("train")


def test_an_unfinished_stage_goes_on_with_what_it_had(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.suppress(KeyboardInterrupt), run.stage("train", used=USED) as folder:
        assert folder is not None
        (folder / "half.npz").write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(UserError, match="run 'train' first"):
        run.require("train")
    with caplog.at_level(logging.INFO), run.stage("train", used=USED) as folder:
        assert folder is not None
        assert (folder / "half.npz").read_text() == "half"
    assert "going on where it was cut off" in caplog.text
    assert run.require("train")


def test_the_seconds_of_a_stage_are_those_of_all_its_parts(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(at=1_000_000.0)
    monkeypatch.setattr(time, "monotonic", lambda: now.at)
    monkeypatch.setattr(time, "time", lambda: now.at)

    def part(seconds: float) -> None:
        with run.stage("train", used=USED) as folder:
            assert folder is not None
            os.utime(folder / "stage.json", (now.at, now.at))
            now.at += seconds
            (folder / "history.jsonl").write_text("{}")
            os.utime(folder / "history.jsonl", (now.at, now.at))
            if seconds == 10:
                raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        part(10)
    os.utime(run.path("train", "stage.json"), (now.at, now.at))
    started = run.stamp("train")["started"]
    assert run.seconds("train") is None, "not finished"
    # Killed: 20 s to its last file, 7 s more that left nothing; the next part starts 100 s later.
    before = now.at
    stage = run.stage("train", used=USED)
    folder = stage.__enter__()
    os.utime(run.path("train", "stage.json"), (before, before))
    os.utime(folder / "history.jsonl", (before + 20, before + 20))
    killed = run.path("train", "stage.json").read_bytes()
    stage.gen.close()
    run.path("train", "stage.json").write_bytes(killed)
    os.utime(run.path("train", "stage.json"), (before, before))
    now.at += 127
    part(3)
    assert run.seconds("train") == 10 + 20 + 3
    assert run.stamp("train")["started"] == started, "of the first part"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", started)


def test_predictions_older_than_the_weights_are_refused(run: Run) -> None:
    weights = run.path("train", "weights.h5")
    runs.save_text(weights, "first")
    used = {"attack": {"name": "linf_pgd"}}
    made_with = {"weights": runs.digest(weights)}
    with run.stage("predict", used={}, notes=made_with):
        pass
    with run.stage("attack/linf_pgd", used=used, notes=made_with):
        pass
    run.require_fresh()
    runs.save_text(weights, "second")
    with pytest.raises(UserError, match=r"predict and attack/linf_pgd older than train/weights"):
        run.require_fresh()
    with run.stage("predict", used={}, notes={"weights": runs.digest(weights)}, force=True):
        pass
    with pytest.raises(UserError, match=r": attack/linf_pgd older .*run again with --force"):
        run.require_fresh()
    weights.unlink()
    run.require_fresh()


@pytest.mark.parametrize("place", ["attack/linf_pgd", "check/linf_pgd"])
def test_what_an_earlier_version_made_is_not_kept_as_todays(run: Run, place: str) -> None:
    used = {"attack": {"name": "linf_pgd"}}
    with run.stage(place, used=used):
        pass
    run_helpers.age(run.path(place))
    assert run.outdated() == ["linf_pgd"] * (place == "attack/linf_pgd")
    with pytest.raises(UserError, match=r"made by an earlier version .* --force"):
        run.stage(place, used=used).__enter__()
    with run.stage(place, used=used, force=True) as folder:
        assert folder is not None
    assert run.outdated() == []
    with run.stage(place, used=used) as folder:
        assert folder is None, "kept"


def test_a_run_without_attacks_can_be_measured(run: Run) -> None:
    with pytest.raises(UserError, match="run 'predict' first"):
        run.measured()
    with run.stage("predict", used={}):
        pass
    assert run.measured() == runs.digest(run.path("predict", "stage.json"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("train", "state/epoch-1.h5"),
        ("predict", "clean.npz"),
        ("attack/x", "linf_pgd-0.npz"),
    ],
)
def test_what_was_cut_off_with_a_result_is_refused_to_other_settings(
    run: Run, name: str, file: str
) -> None:
    with contextlib.suppress(KeyboardInterrupt), run.stage(name, used=USED) as folder:
        runs.save_text(folder / file, "an epoch's work")
        raise KeyboardInterrupt
    for refused in (
        lambda: run.stage(name, used={**USED, "seed": 4}).__enter__(),
        lambda: run.refuse_other(name, {**USED, "seed": 4}),
    ):
        with pytest.raises(UserError, match=re.escape("seed 3 (now 4)")):
            refused()
    run.refuse_other(name, USED)


@pytest.mark.parametrize(
    "file",
    [
        "",
        "tensorboard/events.out.tfevents.1",
        "notes.txt",
        "saved_model.partial/saved_model.pb",
        "samples.npz",
    ],
)
def test_what_was_cut_off_without_a_result_counts_as_not_there(
    run: Run, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a mistyped setting: put right, the same command goes on."""
    for name in ("train", "attack/x", "export"):
        with contextlib.suppress(ValueError), run.stage(name, used=USED, inputs="a") as folder:
            if file:
                runs.save_text(folder / file, "begun")
            raise ValueError("no such row")
        run.refuse_other(name, {**USED, "seed": 4})
        with run.stage(name, used={**USED, "seed": 4}, inputs="b", writes=False) as folder:
            assert folder is not None
        with run.stage(name, used={**USED, "seed": 4}, inputs="b") as folder:
            left = [path.name for path in folder.rglob("*") if path.is_file()]
            assert left == ["stage.json"] + ["notes.txt"] * (file == "notes.txt")
        assert run.finished(name)
        assert run.stamp(name)["used"]["seed"] == 4
    assert "going on where it was cut off" not in caplog.text


def test_runs_are_found_below_each_path_once_and_in_order(tmp_path: Path) -> None:
    for seed in (2, 0, 1):
        experiment = config.with_settings(EXPERIMENT, [f"seed={seed}"])
        finish(Run.of(experiment, tmp_path))
    top = tmp_path / "demo"
    found = runs.find_runs([top, top / "first" / "seed-1"])
    assert [run.experiment.seed for run in found] == [0, 1, 2]
    assert [run.root for run in found] == [top / "first" / f"seed-{seed}" for seed in range(3)]
    alone = runs.find_runs([top / "first" / "seed-2"])
    assert [run.experiment.seed for run in alone] == [2]


def test_a_path_without_a_run_is_named(tmp_path: Path, run: Run) -> None:
    finish(run)
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"{path.name}: no run there"):
            runs.find_runs([run.root, path])
        with pytest.raises(UserError, match=f"{path.name}: no run there"):
            Run.open(path)


@pytest.mark.parametrize("foreign", ["{", "[]", '{"compilerOptions": {}}', "\xff"])
def test_what_else_is_called_config_json_is_passed_over(
    run: Run, tmp_path: Path, foreign: str, caplog: pytest.LogCaptureFixture
) -> None:
    finish(run)
    other = tmp_path / "runs" / "tool" / "config.json"
    other.parent.mkdir()
    other.write_bytes(foreign.encode("latin-1"))
    assert [found.root for found in runs.find_runs([tmp_path / "runs"])] == [run.root]
    (warned,) = (each.getMessage() for each in caplog.records if each.levelname == "WARNING")
    assert str(other) in warned
    with pytest.raises(UserError, match=re.escape(str(other))):
        runs.find_runs([other.parent])


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x", "data": {"dataset": "d", "size": 3}}'])
def test_a_config_that_cannot_be_read_is_named(run: Run, text: str) -> None:
    finish(run)
    path = run.root / "config.json"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(str(path))):
        Run.open(run.root)


def test_provenance_tells_command_code_versions_machine_and_data() -> None:
    found = provenance.provenance(dataset_hash="abc", devices=["/device:CPU:0"], started="then")
    assert found.keys() == {
        "command",
        "revision",
        "python",
        "packages",
        "keras",
        "machine",
        "devices",
        "dataset_hash",
        "started",
    }
    assert found["dataset_hash"] == "abc"
    assert found["started"] == "then"
    assert found["devices"] == ["/device:CPU:0"]
    assert found["packages"]["numpy"] == np.__version__
    assert found["packages"].keys() == set(provenance.PACKAGES)
    assert re.fullmatch(r"unknown|[0-9a-f]{12}\+?", found["revision"])
    json.dumps(found)


def test_a_package_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package-anywhere"))
    assert provenance.versions() == {
        "numpy": np.__version__,
        "no-such-package-anywhere": "not installed",
    }


def attacked(run: Run, label: str, place: str = "", **changes: object) -> None:
    used = {"attack": {"name": "linf_pgd", "epsilons": [0.01], **changes}}
    with run.stage(place or f"attack/{label}", used=used) as folder:
        assert folder is not None
        (folder / "file.npz").write_text(label)


def test_every_finished_attack_is_listed_with_its_own_settings(run: Run) -> None:
    assert run.attacks() == {}
    attacked(run, "pgd-100", steps=100)
    attacked(run, "noise", name="noise")
    with contextlib.suppress(KeyboardInterrupt), run.stage("attack/cut", used={"attack": {}}):
        raise KeyboardInterrupt
    found = run.attacks()
    assert list(found) == ["noise", "pgd-100"]
    assert found["pgd-100"] == config.Attack("linf_pgd", epsilons=(0.01,), steps=100)
    assert found["noise"].name == "noise"
    assert run.attacked("pgd-100") == run.root / "attack" / "pgd-100"
    with pytest.raises(UserError, match=r"'cut' has not finished.* --as: noise, pgd-100"):
        run.attacked("cut")


def test_runs_of_when_there_was_one_attack_are_read_and_go_on(run: Run) -> None:
    attacked(run, "old", place="attack")
    attacked(run, "new")
    assert list(run.attacks()) == ["linf_pgd", "new"]
    assert run.attacked("linf_pgd") == run.root / "attack"
    assert run.place_of("explain", "linf_pgd") == "explain"
    assert run.place_of("explain", "new") == "explain/new"
    assert run.norm("linf_pgd") == "linf"
    used = {"attack": {"name": "linf_pgd", "epsilons": [0.02]}}
    with run.stage("attack", used=used, force=True) as folder:
        assert folder is not None
        assert sorted(path.name for path in folder.iterdir()) == ["new", "stage.json"]
    assert (run.root / "attack" / "new" / "file.npz").read_text() == "new"


def test_a_setting_that_came_later_is_no_difference(run: Run) -> None:
    own = {"steps": 40, "rel_stepsize": 1 / 30, "queries": 5000}  # once every attack's defaults
    old = {"attack": {"name": "linf_pgd", "epsilons": [0.01], **own}}
    with run.stage("attack/x", used=old):
        pass
    asked = config.with_settings(EXPERIMENT, ["attack.epsilons=0.01"])
    now = {"attack": json.loads(json.dumps(dataclasses.asdict(settled(asked.attack))))}
    with run.stage("attack/x", used={"attack": now["attack"]}) as folder:
        assert folder is None
    now["attack"]["loss"] = "margin"
    with (
        pytest.raises(UserError, match=r"attack.loss .*cross_entropy.*--as LABEL"),
        run.stage("attack/x", used={"attack": now["attack"]}),
    ):
        pytest.fail("the stage was entered")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "damaged .Expected `object`"),
        ('{"finished": true}', "damaged .*missing required field `used`"),
        (
            '{"used": {}, "inputs": "", "finished": "yes"}',
            r"damaged .*Expected `bool`, got `str` - at `\$.finished`",
        ),
        (
            '{"used": {}, "inputs": "", "finished": true, "seconds": "x"}',
            r"damaged .*got `str` - at `\$.seconds`",
        ),
        ('{"used": {}, "inputs": "", "finished": true}', "attack = None"),
        ('{"used": {"attack": {"setps": 4}}, "inputs": "", "finished": true}', "no field 'setps'"),
        ("{", "not JSON"),
    ],
)
def test_a_damaged_stamp_is_one_clear_line(run: Run, content: str, reason: str) -> None:
    attacked(run, "x")
    place = run.path("attack", "x", "stage.json")
    place.write_text(content)
    with pytest.raises(UserError, match=reason) as error:
        run.attacks()
    assert str(error.value).startswith(f"{place}: ")
    if "attack =" in reason or "setps" in reason:  # a stamp, but not of an attack
        return
    for ask in (run.require, run.seconds):
        with pytest.raises(UserError, match=reason):
            ask("attack/x")
    with pytest.raises(UserError, match=reason), run.stage("attack/x", used={}):
        pytest.fail("the stage was entered")
    attacked_anew = run.stage("attack/x", used={}, force=True)
    with attacked_anew as folder:
        assert folder == place.parent


def test_an_unknown_norm_is_refused(run: Run) -> None:
    attacked(run, "x")
    place = run.path("attack", "x", "stage.json")
    for norm in ("l2", "l0"):
        runs.save_json(place, {**runs.load_json(place), "norm": norm})
        assert run.norm("x") == norm
    runs.save_json(place, {**runs.load_json(place), "norm": "l3"})
    with pytest.raises(UserError, match=r"stage.json: norm = 'l3': expected linf, l2 or l0"):
        run.norm("x")


def test_later_stages_change_only_their_own_sections_of_the_configuration(run: Run) -> None:
    trained = config.with_settings(EXPERIMENT, ["model.weights=start.h5", "training.epochs=9"])
    with Run(run.root, trained).stage("train", used={"training": {}, "model": {}}):
        pass
    later = config.with_settings(EXPERIMENT, ["attack.steps=7", "explanation.layer=x"])
    with Run(run.root, later).stage("attack/a", used={"attack": {}, "data": {}}):
        pass
    expected = config.with_settings(trained, ["attack.steps=7"])
    assert Run.open(run.root).experiment == expected
    with Run(run.root, later).stage("evaluate", used={}):
        pass
    assert Run.open(run.root).experiment == expected
    with Run(run.root, later).stage("train", used={"training": {}, "model": {}}, force=True):
        pass
    assert Run.open(run.root).experiment == later


def left(run: Run, name: str, *files: str, **options: object) -> None:
    with run.stage(name, used={}, **options) as folder:
        assert folder is not None
        for file in files:
            runs.save_text(folder / file, "made")


def test_what_a_stage_did_not_write_is_never_removed(run: Run) -> None:
    left(run, "predict", "clean.npz", "tensorboard/events.out.tfevents.1")
    folder = run.path("predict")
    mine = ("notes.txt", "plots/mine.png", "tensorboard/mine.csv")
    for name in mine:
        runs.save_text(folder / name, "mine")
    runs.save_text(folder / "old.npz", "of another grid, would be taken for a result")
    left(run, "predict", force=True)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert names == sorted([*mine, "stage.json"])
    with contextlib.suppress(KeyboardInterrupt), run.stage("predict", used={"a": 1}, force=True):
        runs.save_text(folder / "half.npz", "half")
        raise KeyboardInterrupt
    left(run, "predict", force=True)
    assert not (folder / "half.npz").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_stage_reached_by_a_link_loses_only_its_own(run: Run, tmp_path: Path) -> None:
    left(run, "train", "weights.h5")
    runs.save_text(tmp_path / "elsewhere" / "mine.h5", "mine")
    run.path("train", "link").symlink_to(tmp_path / "elsewhere")
    left(run, "train", force=True)
    assert (tmp_path / "elsewhere" / "mine.h5").read_text() == "mine"
    assert run.path("train", "link").is_symlink()


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_an_evaluation_that_fails_keeps_the_measurements(run: Run, error: BaseException) -> None:
    def evaluate(text: str, error: BaseException | None = None) -> None:
        with run.stage("evaluate", used={}, inputs=text, renew=True) as folder:
            if error:
                raise error
            runs.save_text(folder / "measurements.csv", text)

    evaluate("first")
    before = {path.name: path.read_bytes() for path in run.path("evaluate").iterdir()}
    with pytest.raises(type(error)):
        evaluate("second", error)
    assert {path.name: path.read_bytes() for path in run.path("evaluate").iterdir()} == before
    assert run.require("evaluate")
    evaluate("third")
    assert run.path("evaluate", "measurements.csv").read_text() == "third"
    assert run.stamp("evaluate")["inputs"] == "third"


def test_the_evaluate_stage_keeps_what_it_had_when_it_fails(run: Run) -> None:
    context = Context(run, Path("nowhere"))
    left(run, "predict", "clean.npz")
    left(run, "evaluate", "measurements.csv", force=True)
    with pytest.raises(UserError):
        pipeline.evaluate(context)
    assert run.path("evaluate", "measurements.csv").read_text() == "made"
    assert run.require("evaluate")


def test_a_finished_stage_whose_files_are_gone_is_made_again(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    left(run, "predict", "clean.npz", "validation.npz", "tensorboard/events.out.tfevents.1")
    left(run, "train", "weights.h5", "history.jsonl", "state/state.npz")
    shutil.rmtree(run.path("train", "state"))
    (run.path("predict", "tensorboard", "events.out.tfevents.1")).unlink()
    for name in ("predict", "train"):
        with run.stage(name, used={}) as folder:
            assert folder is None, "logs and what a resume needs may go"
    run.path("predict", "clean.npz").unlink()
    with pytest.raises(UserError, match=r"predict: clean\.npz gone; run 'predict' again"):
        run.require("predict")
    with run.stage("predict", used={}) as folder:
        assert folder is not None
        assert (folder / "validation.npz").is_file(), "what is there is kept"
        runs.save_text(folder / "clean.npz", "again")
    assert "clean.npz gone; made anew" in caplog.text
    run.path("train", "weights.h5").unlink()
    with run.stage("train", used={}) as folder:
        assert [path.name for path in folder.iterdir()] == ["stage.json"], "from the start"
        runs.save_text(folder / "weights.h5", "again")
    assert run.require("train")


def test_pages_of_two_folders_of_runs_have_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "write", lambda runs, out: names.append(out))
    names: list[Path] = []
    for folder in ("runs", "a/runs", "b/runs", "b/../a/runs"):
        run = Run.of(EXPERIMENT, Path(folder))
        if not run.root.exists():
            finish(run)
        pipeline.report(Context(run, Path("nowhere")))
    assert names[0] == Path("reports/demo-first-seed-3")
    assert len(set(names)) == 3
    assert names[1] == names[3]


def test_one_process_at_a_time_writes_a_folder(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with run.stage("attack/a", used=USED) as folder:
        assert folder is not None
        with (
            pytest.raises(UserError, match="attack/a: another process is writing there"),
            run.stage("attack/a", used=USED, force=True),
        ):
            pytest.fail("the stage was entered")
        with run.stage("attack/b", used=USED) as other:
            assert other is not None, "another folder may be written at the same time"
    with run.stage("attack/a", used=USED) as folder:
        assert folder is None
    assert not list(run.root.rglob(".*"))


def test_a_killed_process_lets_go_and_its_half_written_files_are_removed(run: Run) -> None:
    left(run, "predict", "clean.npz")
    folder, held = run.path("predict"), run.path(".predict.lock")
    half = folder / ".123-abc123-validation.npz"
    runs.save_text(half, "half")
    runs.save_text(folder / ".mine", "mine")
    code = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
        "print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(held)], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with (
            pytest.raises(UserError, match="another process is writing there"),
            run.stage("predict", used={}),
        ):
            pytest.fail("the stage was entered")
        assert half.exists()
        other.kill()
    with run.stage("predict", used={}) as found:
        assert found is None
    assert not half.exists()
    assert (folder / ".mine").exists()


def test_records_lie_below_the_folder_given_or_are_it(tmp_path: Path) -> None:
    data = config.Data("skin")
    assert places.records_of(None, data) == places.RECORDS / "skin"
    assert places.records_of(tmp_path, data) == tmp_path, "its own folder"
    (tmp_path / "skin").mkdir()
    assert places.records_of(tmp_path, data) == tmp_path / "skin", "one of several"
    (tmp_path / "copy").mkdir()
    other = config.Data("skin", records="copy")
    assert places.records_of(tmp_path, other) == tmp_path / "copy"
