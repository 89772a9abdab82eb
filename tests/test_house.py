"""Laws of the house: one direction, every table row documented, every experiment sound."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attnrobust import config
from attnrobust.attacks.cheap import FIRST_PASSES
from attnrobust.attacks.losses import LOSSES
from attnrobust.attacks.methods import ATTACKS
from attnrobust.attacks.sanity import CHECKS
from attnrobust.corruptions import CORRUPTIONS
from attnrobust.data.augmentation import AUGMENTATIONS
from attnrobust.data.preprocessing import FILTERS, FITS
from attnrobust.explanations.methods import EXPLANATIONS
from attnrobust.heatmaps import HEATMAP_METRICS
from attnrobust.metrics import METRICS
from attnrobust.models.backbones import BACKBONES
from attnrobust.models.heads import HEADS
from attnrobust.training.losses import CLASS_WEIGHTS
from attnrobust.training.losses import LOSSES as TRAINING_LOSSES
from attnrobust.training.methods import METHODS
from attnrobust.training.mixing import OPERATIONS
from attnrobust.training.optimizers import OPTIMIZERS, SCHEDULES

ROOT = Path(__file__).parents[1]
TABLES = {
    "ATTACKS": ATTACKS, "AUGMENTATIONS": AUGMENTATIONS, "FITS": FITS, "FILTERS": FILTERS,
    "EXPLANATIONS": EXPLANATIONS, "METRICS": METRICS, "HEATMAP_METRICS": HEATMAP_METRICS,
    "BACKBONES": BACKBONES, "HEADS": HEADS, "LOSSES": LOSSES, "FIRST_PASSES": FIRST_PASSES,
    "CHECKS": CHECKS, "CORRUPTIONS": CORRUPTIONS, "METHODS": METHODS, "OPERATIONS": OPERATIONS,
    "OPTIMIZERS": OPTIMIZERS, "SCHEDULES": SCHEDULES, "TRAINING_LOSSES": TRAINING_LOSSES,
    "CLASS_WEIGHTS": CLASS_WEIGHTS,
}  # fmt: skip
EXPERIMENTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "experiments").glob("*/*.py")
    if path.name != "__init__.py"
)


def test_imports_go_in_one_direction():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("table", TABLES)
def test_every_row_stands_in_the_readme(table):
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in TABLES[table] if f"`{name}`" not in readme]
    assert not missing


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_imports_and_survives_json(name):
    module = importlib.import_module(name)
    experiment = module.EXPERIMENT
    assert config.from_json(config.to_json(experiment)) == experiment
    assert f"{experiment.name}" == name.rsplit(".", 1)[1], "file and run have one name"
    assert experiment.data.dataset == name.split(".")[1]
    for kind, table, row in (
        ("backbone", BACKBONES, experiment.model.backbone),
        ("head", HEADS, experiment.model.head),
        ("attack", ATTACKS, experiment.attack.name),
    ):
        config.lookup(kind, table, row)
    assert "Claim" in module.__doc__
    assert "Command" in module.__doc__


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_stands_in_the_readme(name):
    assert name.removeprefix("experiments.") in (ROOT / "README.md").read_text()


def test_every_data_set_reader_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for path in (ROOT / "tfrecords").glob("*.py"):
        if "def main" in path.read_text() or "prepare.main" in path.read_text():
            assert f"tfrecords.{path.stem}" in readme


def test_every_module_is_named_in_the_tests():
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    words = set(re.findall(r"\w+", tests))
    modules = [path for path in (ROOT / "attnrobust").rglob("*.py") if "def " in path.read_text()]
    assert [path.stem for path in modules if path.stem not in words] == []
