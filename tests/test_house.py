"""Laws of the house: one direction, every table row documented, every experiment sound."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from attnrobust import config
from attnrobust.attacks.methods import ATTACKS
from attnrobust.models.backbones import BACKBONES
from attnrobust.models.heads import HEADS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


NAME = "`([a-z0-9_]+)`"


def row(first_cell: str, names: str = "(.+)") -> tuple[str, str, str]:
    """Rows of the README's tables that begin so, and which part of them lists the names."""
    return rf"^\| {first_cell}.*$", names, NAME


def column(head: str) -> tuple[str, str, str]:
    """First cells of the table whose first column is called so."""
    return rf"^\| {head} \|.*\n\|[-|]+\n(?:\|.*\n)+", rf"^\| (?!{head} )(.*?) \|", NAME


def block(start: str, names: str = r"((?:.|\n)+)", name: str = NAME) -> tuple[str, str, str]:
    """The paragraph or listing that begins so."""
    return rf"(?<=\n\n){start}(?:.*\n)+?(?=\n)", names, name


# Tables of rows that a user chooses from -> where the README lists their names, and them alone.
TABLES = {
    "cli.COMMANDS": block(
        r"```\n(?:make demo|python -m tfrecords.* # raw folder)",
        r"^(?:make (?=demo)|python -m attnrobust )(\w+)\b(?! --)",
        r"(\w+)",
    ),
    "attacks.cheap.FIRST_PASSES": row("first passes"),
    "attacks.losses.LOSSES": row("losses of attacks"),
    "attacks.methods.ATTACKS": row("attacks, L"),
    "attacks.sanity.CHECKS": row("sanity checks"),
    "measures.calibration.CALIBRATION": row("metrics", "; calibration: (.+?);"),
    "corruptions.CORRUPTIONS": row("corruptions"),
    "data.augmentation.AUGMENTATIONS": row("augmentation", "(.+?)(?:, with `flip`|$)"),
    "data.preprocessing.FILTERS": column("filter"),
    "data.preprocessing.FITS": block("A rectangle becomes a square"),
    "data.sampling.SAMPLING": row("rare classes", "`training.sampling`: (.+?); `"),
    "explanations.methods.EXPLANATIONS": row("explanations"),
    "measures.heatmaps.HEATMAP_METRICS": row("heatmap metrics"),
    "measures.metrics.METRICS": row("metrics"),
    "models.backbones.BACKBONES": column("backbone"),
    "models.heads.HEADS": column("head"),
    "stages.pipeline.STAGES": block("```\nraw folder", "[│▼] ([a-z]+) ", r"(\w+)"),
    "training.losses.CLASS_WEIGHTS": row("rare classes", "`training.class_weights`: (.+?); `"),
    "training.losses.LOSSES": row("losses of training"),
    "training.methods.METHODS": row("training methods"),
    "training.mixing.OPERATIONS": row("AugMix operations"),
    "training.optimizers.OPTIMIZERS": row("optimizers", "(.+); learning-rate schedules"),
    "training.optimizers.SCHEDULES": row("optimizers", "; learning-rate schedules (.+)"),
}
FAMILY = "a family's part of BACKBONES, where its rows are asked for"
NO_CHOICE = {
    "models.backbones.base.PREPROCESSING": "comes with a backbone",
    "models.backbones.efficientnet.ROWS": FAMILY,
    "models.backbones.inception.ROWS": FAMILY,
    "models.backbones.mobilenet.ROWS": FAMILY,
    "models.backbones.resnet.ROWS": FAMILY,
    "measures.maps.MAP_METRICS": "rows of HEATMAP_METRICS, each without and under an attack",
    "studies.panel_figure.STYLES": "choices of one command, in its help",
    "studies.panel_tables.AGREE": "columns of one table, no choice",
    "stages.ready.READY": "a row for each of STAGES",
    "disk.stamps.SECTIONS": "the parts of a configuration, not rows of one",
}
# Modules that no test takes anything from -> the one that the tests call instead.
BEHIND = {
    "attnrobust.models.precision": "attnrobust.stages.pipeline",
    "attnrobust.disk.stage": "attnrobust.disk.runs",
    "attnrobust.training.augmix": "attnrobust.training.methods",
}
EXPERIMENTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "experiments").glob("*/*.py")
    if path.name != "__init__.py"
)


def test_imports_go_in_one_direction():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def modules(*folders: str) -> list[str]:
    """Of these folders."""
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    )


MODULES = modules("attnrobust", "tfrecords")


def source(module: str) -> str:
    return Path(str(importlib.util.find_spec(module).origin)).read_text()


def is_row(value: object) -> bool:
    """A function, a data class, or a tuple with a function in it."""
    parts = value if isinstance(value, tuple) else (value,)
    return dataclasses.is_dataclass(value) or any(callable(part) for part in parts)


def found_tables() -> dict[str, list[str]]:
    """Every dict of rows that a module of attnrobust defines in capitals, and the rows' names."""
    tables = {}
    for module in MODULES:
        if not module.startswith("attnrobust."):
            continue
        loaded = importlib.import_module(module)
        for node in ast.parse(source(module)).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            for name in (each.id for each in targets if isinstance(each, ast.Name)):
                table = getattr(loaded, name)
                if (
                    name.isupper()
                    and isinstance(table, dict)
                    and any(isinstance(key, str) and is_row(value) for key, value in table.items())
                ):
                    tables[f"{module}.{name}".removeprefix("attnrobust.")] = list(table)
    return tables


FOUND = found_tables()


def listed(readme: str, table: str) -> Iterator[tuple[str, int, int]]:
    """Names that the README lists for a table, each with its first and last character."""
    place, names, name = (re.compile(pattern, re.MULTILINE) for pattern in TABLES[table])
    for there in place.finditer(readme):
        for part in names.finditer(readme, *there.span()):
            for each in name.finditer(readme, *part.span(1)):
                yield each[1], *each.span()


def difference(readme: str, table: str) -> list[str]:
    """Rows that the README does not list, and what it lists twice or though there is no such row.

    None of it is sorted away: a name counts once, and only in its own list.
    """
    rows, written = Counter(FOUND[table]), Counter(name for name, *_ in listed(readme, table))
    return sorted(((rows - written) + (written - rows)).elements())


def test_every_table_of_rows_is_known():
    assert set(TABLES).isdisjoint(NO_CHOICE)
    assert set(FOUND) == {*TABLES, *NO_CHOICE}
    families = [name for name, why in NO_CHOICE.items() if why == FAMILY]
    assert {row for name in families for row in FOUND[name]} == set(
        FOUND["models.backbones.BACKBONES"]
    )


@pytest.mark.parametrize("table", TABLES)
def test_the_readme_lists_exactly_the_rows_of_every_table(table):
    assert FOUND[table]
    assert difference(README, table) == []


@pytest.mark.parametrize("table", TABLES)
def test_a_row_missing_in_its_own_list_is_seen_wherever_else_it_stands(table):
    places = list(listed(README, table))
    assert {name for name, *_ in places} == set(FOUND[table])
    for name, start, end in places:
        elsewhere = f"Take `{name}`.\n\n{README[:start]}{README[end:]}\n`{name}` is one.\n"
        assert difference(elsewhere, table) == [name]


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


def used() -> set[str]:
    """Modules that tests import, and those where what they take from these is defined."""
    found: set[str] = set()
    for path in (ROOT / "tests").glob("*.py"):
        tree, known = ast.parse(path.read_text()), {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                known |= {each.asname or each.name: (each.name, "") for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                known |= {
                    each.asname or each.name: (str(node.module), each.name) for each in node.names
                }
        taken = {(module, name) for module, name in known.values() if module in MODULES}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = ".".join(filter(None, known.get(node.value.id, ())))
                if module in MODULES:
                    taken.add((module, node.attr))
        for module, name in taken:
            it = getattr(importlib.import_module(module), name, None)
            found |= {module, f"{module}.{name}", getattr(it, "__module__", "")}
    return found


def test_every_module_is_used_by_a_test() -> None:
    """Ruff refuses an import that is not used, so what stands there is called."""
    names = used()
    with_functions = [module for module in MODULES if "def " in source(module)]
    assert len(with_functions) > 100
    assert [module for module in with_functions if module not in names] == sorted(BEHIND)
    for module, caller in BEHIND.items():
        assert module.rpartition(".")[2] in source(caller)
        assert caller in names
