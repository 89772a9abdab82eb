"""Smoke walks of the papers' experiments on drawn images in each data set's layout.

Fast: the stages of each data set with the small network, since classes, task and files do not
depend on the backbone. Slow: each network whole, as a user starts it.
"""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from data_helpers import SIZE, make_chestxray14, make_eyepacs, make_raw
from training_helpers import leave_uncompiled

import experiments
from attnrobust.data import shards, writing
from attnrobust.disk import runs
from attnrobust.run import main
from attnrobust.stages import pipeline
from tfrecords import chestxray14, ham10000

CLASSES = {
    "ham10000": list(ham10000.CLASSES),
    "eyepacs": ["negative", "positive"],
    "chestxray14": list(chestxray14.CLASSES),
}
# On one data set: the others walk with a small network, and their experiments differ in data alone.
PAPER = [
    f"ham10000.{backbone}_{head}"
    for backbone in ("resnet50", "inception_resnet_v2")
    for head in ("gap", "soft_attention")
]
SMALL = "eyepacs.mobilenet_soft_attention"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Records of a data set."""
    make = {
        "ham10000": lambda raw: make_raw(raw, lesions=9),
        "eyepacs": lambda raw: make_eyepacs(raw, patients=40),
        "chestxray14": lambda raw: make_chestxray14(raw, patients=40),
    }

    @functools.cache
    def write(name: str) -> Path:
        module = importlib.import_module(f"tfrecords.{name}")
        folder = tmp_path_factory.mktemp(name)
        rows, rejects = module.read(make[name](folder / "raw"))
        writing.write(
            folder / name,
            name=name,
            classes=module.CLASSES,
            rows=rows,
            rejects=rejects,
            how=shards.Preparation(size=SIZE, workers=1),
            tasks=getattr(module, "TASKS", {}),
        )
        return folder / name

    return write


def check(folder: Path, name: str, stages: Sequence[str]) -> None:
    """The files that these stages leave hold the classes and task of the data set."""
    dataset = name.partition(".")[0]
    run = runs.find_runs([folder / "runs"])[0]
    described = runs.load_json(run.path("provenance.json"))["dataset"]
    assert described["classes"] == CLASSES[dataset]
    assert described["task"] == ("binary" if dataset == "eyepacs" else "")
    logits = runs.load_npz(run.path("predict", "clean.npz"))
    assert logits["logits"].shape == (len(logits["id"]), len(CLASSES[dataset]))
    assert set(logits["label"]) <= set(range(len(CLASSES[dataset])))
    experiment = experiments.load(name)
    assert run.experiment.model.head == experiment.model.head
    assert run.path("evaluate", "measurements.csv").is_file()
    explained = run.path("explain", "linf_pgd", "comparison.csv").is_file()
    assert explained == ("explain" in stages)
    assert run.path("export", "saved_model", "saved_model.pb").is_file() == ("export" in stages)
    assert len(list((folder / "reports").rglob("index.html"))) == ("report" in stages)


@pytest.mark.slow
@pytest.mark.usefixtures("one_device", "cheap_pages")
@pytest.mark.parametrize("dataset", CLASSES)
def test_every_data_set_walks(
    dataset: str, stored: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"{dataset}.resnet50_soft_attention"
    stages = ["train", "predict", "attack", "evaluate"]
    words = [*stages, "--smoke", "--records", str(stored(dataset))]
    words += ["--set", "model.backbone=small", "--set", "data.image_size=32"]
    words += ["--set", "training.augmentation="]
    leave_uncompiled(monkeypatch)
    experiment = experiments.load(name)
    assert main(experiment, words) == 0
    check(tmp_path, name, stages)


@pytest.mark.slow
@pytest.mark.parametrize("name", [SMALL, *PAPER])
def test_every_network_walks_as_a_user_starts_it(
    name: str, stored: Callable[[str], Path], tmp_path: Path
) -> None:
    """A process of its own, on the devices of the machine as they are."""
    # With 780 layers the checks, which compile half a dozen attacks more, and the export take
    # longer than all else; they are walked with a small network, the export with a ResNet-50.
    left_out = set() if name == SMALL else {"check"} if name == PAPER[0] else {"check", "export"}
    if "inception" in name and name != "ham10000.inception_resnet_v2_soft_attention":
        left_out |= {"explain", "report"}
    stages = [each for each in pipeline.in_order(["all"]) if each not in left_out]
    words = [*stages, "--smoke", "--records", str(stored(name.partition(".")[0]))]
    walked = subprocess.run(
        [sys.executable, "-m", "experiments", name, *words],
        cwd=tmp_path,
        text=True,
        check=False,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert walked.returncode == 0, walked.stderr
    check(tmp_path, name, stages)
