"""Smoke walks of the paper's experiments, whole, on drawn images in each data set's layout."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from data_helpers import SIZE, make_chestxray14, make_eyepacs, make_raw

from attnrobust import pipeline, runs
from attnrobust.data import shards, writing
from tfrecords import chestxray14, eyepacs, ham10000

CLASSES = {
    "ham10000": list(ham10000.CLASSES),
    "eyepacs": ["negative", "positive"],
    "chestxray14": list(chestxray14.CLASSES),
}
PAPER = [
    f"{dataset}.{backbone}_{head}"
    for dataset in CLASSES
    for backbone in ("resnet50", "inception_resnet_v2")
    for head in ("gap", "soft_attention")
]
SMALL = ["eyepacs.mobilenet_soft_attention"]


@pytest.fixture(scope="module")
def shards_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of all three data sets."""
    root, raw = tmp_path_factory.mktemp("shards"), tmp_path_factory.mktemp("raw")
    how = shards.Preparation(size=SIZE, workers=1)
    folders = {
        ham10000: make_raw(raw / "ham10000", lesions=9),
        eyepacs: make_eyepacs(raw / "eyepacs", patients=40),
        chestxray14: make_chestxray14(raw / "chestxray14", patients=40),
    }
    for module, folder in folders.items():
        rows, rejects = module.read(folder)
        name = module.__name__.rpartition(".")[2]
        writing.write(root / name, name=name, classes=module.CLASSES, rows=rows, rejects=rejects,
                      how=how, tasks=getattr(module, "TASKS", {}))  # fmt: skip
    return root


# The largest network is walked on one data set, and on the others among the slow tests.
WALKS = [
    pytest.param(name, marks=[pytest.mark.slow] * ("inception" in name and "ham10000" not in name))
    for name in (*SMALL, *PAPER)
]


@pytest.mark.parametrize("name", WALKS)
def test_smoke_walk(name: str, shards_root: Path, tmp_path: Path) -> None:
    """As a user starts it: a process of its own, on the devices of the machine as they are."""
    dataset = name.partition(".")[0]
    # With 780 layers the checks, which compile half a dozen attacks more, and the export take
    # longer than all else; they are walked with a small network, the export with a ResNet-50.
    left_out = set() if name in SMALL else {"check"} if name == PAPER[0] else {"check", "export"}
    if "inception" in name and name != "ham10000.inception_resnet_v2_soft_attention":
        left_out |= {"explain", "report"}
    stages = [each for each in pipeline.STAGES if each not in left_out]
    words = [*stages, "--smoke", "--records", str(shards_root / dataset)]
    walked = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *words], cwd=tmp_path, text=True, check=False,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert walked.returncode == 0, walked.stderr
    run = runs.find_runs([tmp_path / "runs"])[0]
    described = runs.load_json(run.path("provenance.json"))["dataset"]
    assert described["classes"] == CLASSES[dataset]
    assert described["task"] == ("binary" if dataset == "eyepacs" else "")
    logits = runs.load_npz(run.path("predict", "clean.npz"))
    assert logits["logits"].shape == (len(logits["id"]), len(CLASSES[dataset]))
    assert set(logits["label"]) <= set(range(len(CLASSES[dataset])))
    experiment = importlib.import_module(f"experiments.{name}").EXPERIMENT
    assert run.experiment.model.head == experiment.model.head
    assert run.path("evaluate", "measurements.csv").is_file()
    explained = run.path("explain", "linf_pgd", "comparison.csv").is_file()
    assert explained == ("explain" in stages)
    assert run.path("export", "saved_model", "saved_model.pb").is_file() == ("export" in stages)
    assert len(list((tmp_path / "reports").rglob("index.html"))) == ("report" in stages)
