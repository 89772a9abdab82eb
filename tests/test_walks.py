"""Smoke walks of the experiments on fundus photographs and X-rays, on drawn images."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from data_helpers import SIZE, make_chestxray14, make_eyepacs

from attnrobust import pipeline, runs
from attnrobust.data import shards, writing
from tfrecords import chestxray14, eyepacs

FAST = ("eyepacs.mobilenet_soft_attention", "chestxray14.mobilenet_gap")
SLOW = [
    f"{dataset}.{backbone}_{head}"
    for dataset in ("eyepacs", "chestxray14")
    for backbone in ("resnet50", "inception_resnet_v2")
    for head in ("gap", "soft_attention")
]


@pytest.fixture(scope="module")
def shards_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of both data sets."""
    root, raw = tmp_path_factory.mktemp("shards"), tmp_path_factory.mktemp("raw")
    how = shards.Preparation(size=SIZE, workers=1)
    rows, rejects = eyepacs.read(make_eyepacs(raw / "eyepacs", patients=40))
    writing.write(root / "eyepacs", name="eyepacs", classes=eyepacs.CLASSES, rows=rows,
                  rejects=rejects, how=how, tasks=eyepacs.TASKS)  # fmt: skip
    rows, rejects = chestxray14.read(make_chestxray14(raw / "chestxray14", patients=40))
    writing.write(root / "chestxray14", name="chestxray14", classes=chestxray14.CLASSES, rows=rows,
                  rejects=rejects, how=how)  # fmt: skip
    return root


def walk(
    name: str, stages: Sequence[str], shards_root: Path, tmp_path: Path, *settings: str
) -> runs.Run:
    """Do the stages; the run."""
    experiment = importlib.import_module(f"experiments.{name}").EXPERIMENT
    records = shards_root / experiment.data.dataset
    words = ["--smoke", "--records", str(records), "--runs", str(tmp_path / "runs")]
    for setting in settings:
        words += ["--set", setting]
    for stage in stages:
        assert pipeline.main(experiment, [stage, *words]) == 0
    return runs.find_runs([tmp_path / "runs"])[0]


def check(run: runs.Run, name: str) -> None:
    logits = runs.load_npz(run.path("predict", "clean.npz"))
    assert logits["logits"].shape[1] == 2
    assert set(logits["label"]) <= {0, 1}
    classes = {"eyepacs": ["negative", "positive"], "chestxray14": list(chestxray14.CLASSES)}
    described = runs.load_json(run.path("provenance.json"))["dataset"]
    assert described["classes"] == classes[name.split(".", maxsplit=1)[0]]
    assert described["task"] == ("binary" if name.startswith("eyepacs") else "")
    assert run.path("evaluate", "measurements.csv").is_file()


@pytest.mark.parametrize("name", FAST)
def test_a_small_walk_to_the_measurements(
    name: str, shards_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stages = ("train", "predict", "attack", "evaluate")
    small = ("model.width=0.25", "data.image_size=32")
    check(walk(name, stages, shards_root, tmp_path, *small), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_whole_walk_of_the_papers_models(
    name: str, shards_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = walk(name, ["all"], shards_root, tmp_path)
    check(run, name)
    assert run.path("export", "saved_model", "saved_model.pb").is_file()
