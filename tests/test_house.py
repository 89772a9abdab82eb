"""Laws of the house: one direction, every table row documented, every experiment sound."""

from __future__ import annotations

import ast
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
from attnrobust.calibration import CALIBRATION
from attnrobust.corruptions import CORRUPTIONS
from attnrobust.data.augmentation import AUGMENTATIONS
from attnrobust.data.preprocessing import FILTERS, FITS
from attnrobust.data.sampling import SAMPLING
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
README = (ROOT / "README.md").read_text()
# Table of the code -> its names, and the place of the README where they must stand: the first cell
# of a row, the head of a column (whose first cells are names), or the start of a paragraph.
TABLES: dict[str, tuple[list[str], str]] = {
    "ATTACKS": (list(ATTACKS), "attacks, L"),
    "AUGMENTATIONS": (list(AUGMENTATIONS), "augmentation"),
    "BACKBONES": (list(BACKBONES), "backbone"),
    "CALIBRATION": (list(CALIBRATION), "metrics"),
    "CHECKS": (list(CHECKS), "sanity checks"),
    "CLASS_WEIGHTS": (list(CLASS_WEIGHTS), "rare classes"),
    "CORRUPTIONS": (list(CORRUPTIONS), "corruptions"),
    "EXPLANATIONS": (list(EXPLANATIONS), "explanations"),
    "FILTERS": (list(FILTERS), "filter"),
    "FIRST_PASSES": (list(FIRST_PASSES), "first passes"),
    "FITS": (list(FITS), "A rectangle becomes a square"),
    "HEADS": (list(HEADS), "head"),
    "HEATMAP_METRICS": (list(HEATMAP_METRICS), "heatmap metrics"),
    "LOSSES": (list(LOSSES), "losses of attacks"),
    "METHODS": (list(METHODS), "training methods"),
    "METRICS": (list(METRICS), "metrics"),
    "OPERATIONS": (list(OPERATIONS), "AugMix operations"),
    "OPTIMIZERS": (list(OPTIMIZERS), "optimizers"),
    "SAMPLING": (list(SAMPLING), "rare classes"),
    "SCHEDULES": (list(SCHEDULES), "optimizers"),
    "TRAINING_LOSSES": (list(TRAINING_LOSSES), "losses of training"),
}
# Modules whose functions tests reach by the package or module that hands them on.
HANDED_ON = {
    "attnrobust.attacks.sanity": ["attnrobust.attacks.comparisons"],
    "attnrobust.training.methods": ["attnrobust.training.augmix", "attnrobust.training.validation"],
    "attnrobust.pipeline": ["attnrobust.models.precision"],
    "attnrobust.config": [f"attnrobust.config.{m}" for m in ("experiment", "settings", "training")],
    "attnrobust.runs": ["attnrobust.files", "attnrobust.stamps"],
    "tfrecords.synthetic": ["tfrecords.synthetic_drawing", "tfrecords.synthetic_lesions"],
}
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


def place(readme: str, start: str) -> str:
    """What the README says there: rows and paragraphs by their start, first cells by their head."""
    found: list[str] = []
    for block in readme.split("\n\n"):
        lines = block.split("\n")
        head = lines[0].strip("| ").split(" | ")[0]
        if lines[0].startswith("|") and head == start:
            found += [line.strip("| ").split(" | ")[0] for line in lines[2:]]
        elif lines[0].startswith("|"):
            found += [line for line in lines if line.startswith(f"| {start}")]
        elif lines[0].startswith(start):
            found.append(block)
    return "\n".join(found)


def test_a_name_counts_only_where_its_table_stands() -> None:
    readme = (
        "Take `none`.\n\n| head | what |\n|---|---|\n| `gap` | not `flat` |\n\n"
        "| losses of a | `ce` |\n| attacks, L2 | `pgd` |\n| attacks, L0 | `one` |\n\nA fit: `pad`\n"
    )
    assert place(readme, "head") == "`gap`"
    assert place(readme, "attacks, L") == "| attacks, L2 | `pgd` |\n| attacks, L0 | `one` |"
    assert place(readme, "A fit") == "A fit: `pad`\n"
    assert place(readme, "none") == ""


@pytest.mark.parametrize("table", TABLES)
def test_every_row_stands_in_the_readme_where_its_table_does(table: str) -> None:
    names, start = TABLES[table]
    written = place(README, start)
    assert [name for name in names if f"`{name}`" not in written] == []


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
    assert f"`{name.removeprefix('experiments.')}`" in README


def test_every_data_set_reader_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for path in (ROOT / "tfrecords").glob("*.py"):
        if "def main" in path.read_text() or "prepare.main" in path.read_text():
            assert re.search(rf"tfrecords\.{path.stem}\b", readme)


def imported() -> set[str]:
    """Modules, and names in them, that the tests import."""
    names: set[str] = set()
    for path in (ROOT / "tests").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {each.name for each in node.names}
            if isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}.{each.name}" for each in node.names} | {str(node.module)}
    return names


def test_every_module_is_imported_by_a_test() -> None:
    """Ruff refuses an import that is not used, so what stands there is called."""
    names = imported()
    for package, modules in HANDED_ON.items():
        assert package in names
        names |= set(modules)
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for folder in ("attnrobust", "tfrecords")
        for path in (ROOT / folder).rglob("*.py")
        if "def " in path.read_text()
    ]
    assert len(modules) > 100
    assert [module for module in modules if module not in names] == []
