"""Laws of the house: one direction, every table of rows on a page, every experiment sound."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from attnrobust import config, listing
from attnrobust.attacks.methods import EVERY
from attnrobust.models import build
from attnrobust.models.heads import HEADS

ROOT = Path(__file__).parents[1]
HOOKS = importlib.util.spec_from_file_location("hooks", ROOT / "docs/hooks.py")
assert HOOKS is not None
assert HOOKS.loader is not None
hooks = importlib.util.module_from_spec(HOOKS)
HOOKS.loader.exec_module(hooks)
PAGES = {path: path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}
ASKED = re.compile(r"^<!-- (\w+) (\S+).*-->$", re.MULTILINE)
FAMILY = "a family's part of BACKBONES, where its rows are asked for"
SEGMENTER = "a part of SEGMENTERS, where its rows are asked for"
NO_CHOICE = {
    "models.backbones.base.PREPROCESSING": "comes with a backbone",
    "models.backbones.efficientnet.ROWS": FAMILY,
    "models.backbones.inception.ROWS": FAMILY,
    "models.backbones.inception_v4.ROWS": FAMILY,
    "models.backbones.mobilenet.ROWS": FAMILY,
    "models.backbones.resnet.ROWS": FAMILY,
    "models.segmenters.fc_densenet.ROWS": SEGMENTER,
    "models.segmenters.segnet.ROWS": SEGMENTER,
    "models.segmenters.unet.ROWS": SEGMENTER,
    "attacks.doubts.DOUBTS": "one for each task",
    "attacks.similarity.NOISES": "chosen by the images, grey or coloured",
    "attacks.segmentation.dag.STEP_NORMS": "words of attack.step_norm, among the settings",
    "studies.panel_figure.STYLES": "choices of one command, in its help",
    "studies.panel_tables.AGREE": "columns of one table, no choice",
    "stages.ready.READY": "a row for each of STAGES",
    "listing.KINDS": "what `attnrobust list` lists",
    "disk.stamps.SECTIONS": "the settings, each section on a page",
    "report.paper_tables.KINDS": "kinds of a paper's columns, which paper_kinds.Column lists",
    "report.papers.ASKED": "what a paper's file may ask of a run",
    "task.TASKS": "known by the axes of a model's logits",
    "task.graph.GRAPHS": "a row for each of TASKS",
}
# Modules that no test takes anything from -> the one that the tests call instead.
BEHIND = {
    "attnrobust.explanations.attention": "attnrobust.explanations.methods",
    "attnrobust.explanations.cams": "attnrobust.explanations.methods",
    "attnrobust.explanations.occlusion": "attnrobust.explanations.methods",
    "attnrobust.commands.handed_on": "attnrobust.commands",
    "attnrobust.commands.row": "attnrobust.commands",
    "attnrobust.commands.studies": "attnrobust.commands",
    "attnrobust.stages.adoption": "attnrobust.stages.pipeline",
    "attnrobust.data.circles": "attnrobust.data.fundus",
    "attnrobust.data.dicom": "attnrobust.data.images",
    "attnrobust.attacks.segmentation.descent": "attnrobust.attacks.segmentation.methods",
    "attnrobust.attacks.segmentation.worst": "attnrobust.attacks.segmentation.climb",
    "attnrobust.report.calibration": "attnrobust.report.sections",
    "attnrobust.report.corruption_figures": "attnrobust.report.corruptions",
    "attnrobust.report.sheets": "attnrobust.report.galleries",
    "attnrobust.report.segmentation": "attnrobust.report.sections",
    "attnrobust.data.manifest": "attnrobust.data.writing",
    "attnrobust.measures.paired_metrics": "attnrobust.report.judging",
    "attnrobust.data.oversampling": "attnrobust.data.corrupted",
    "attnrobust.data.own.columns": "attnrobust.data.own.reading",
    "attnrobust.data.own.folders": "attnrobust.data.own.reading",
    "attnrobust.data.own.labelled": "attnrobust.data.own.reading",
    "attnrobust.data.own.listing": "attnrobust.data.own.reading",
    "attnrobust.models.precision": "attnrobust.stages.pipeline",
    "attnrobust.models.segmenters.base": "attnrobust.models.segmenters.fc_densenet",
    "attnrobust.models.segmenters.unet": "attnrobust.models.segmenters",
    "attnrobust.disk.attacked": "attnrobust.disk.runs",
    "attnrobust.disk.stage": "attnrobust.disk.runs",
    "attnrobust.training.logs": "attnrobust.training.fit",
    "attnrobust.training.augmix": "attnrobust.training.methods",
}
EXPERIMENTS = experiments.known()


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


def asked(what: str) -> list[str]:
    """What the pages ask `docs/hooks.py` for, of one kind."""
    return [name for page in PAGES.values() for kind, name in ASKED.findall(page) if kind == what]


def test_every_table_of_rows_stands_on_one_page() -> None:
    assert sorted([*asked("rows"), *NO_CHOICE]) == sorted(FOUND)
    families = [name for name, why in NO_CHOICE.items() if why == FAMILY]
    assert {row for name in families for row in FOUND[name]} == set(
        FOUND["models.backbones.BACKBONES"]
    )


def test_every_table_on_a_page_is_one_that_the_command_line_lists() -> None:
    assert sorted([*listing.TABLES.values(), "commands.COMMANDS"]) == sorted(asked("rows"))


def test_every_section_of_the_settings_stands_on_one_page() -> None:
    fields = {field.name for field in dataclasses.fields(config.Experiment)}
    assert sorted(asked("settings")) == sorted(fields - {"name", "seed"})


def test_experiments_and_data_sets_stand_on_one_page() -> None:
    assert sorted(asked("experiments")) == sorted({name.split(".")[0] for name in EXPERIMENTS})
    readers = {
        path.stem
        for path in (ROOT / "tfrecords").glob("*.py")
        if "def main" in path.read_text() or "prepare.main" in path.read_text()
    }
    assert sorted(asked("reader")) == sorted(readers)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_holds_every_row_that_it_asks_for_with_a_word_on_each(path: Path) -> None:
    """First and second cell of each line, read back from the page as it is shown."""
    shown = hooks.filled(PAGES[path], path)
    assert not ASKED.search(shown)
    cells = dict(re.findall(r"^\| `([^`]+)` \| ([^|]*?) \|", shown.replace(r"\|", "/"), re.M))
    rows = [
        row for kind, name in ASKED.findall(PAGES[path]) if kind == "rows" for row in FOUND[name]
    ]
    assert [row for row in rows if len(cells.get(row, "")) < 5] == []


def test_a_row_without_a_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> None: ...

    monkeypatch.setitem(HEADS, "silent", silent)
    with pytest.raises(ValueError, match=r"HEADS: no docstring tells what silent is"):
        hooks.filled("<!-- rows models.heads.HEADS -->", ROOT / "docs/x.md")


@pytest.mark.parametrize(
    "text", ["<!-- rows models.heads.NONE -->", "<!-- experiments nothing -->", "<!-- row a.b -->"]
)
def test_what_the_code_does_not_have_is_refused(text: str) -> None:
    with pytest.raises((ValueError, AttributeError)):
        hooks.filled(text, ROOT / "docs/x.md")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_imports_and_survives_json(name):
    experiment = experiments.load(name)
    assert config.from_json(config.to_json(experiment)) == experiment
    assert name == f"{experiment.data.dataset}.{experiment.name}", "place and run have one name"
    build.ready(experiment.model, image_size=experiment.data.image_size)
    config.lookup("attack", EVERY, experiment.attack.name)
    about = experiments.about(name)
    assert len(re.findall(r"^Claim\b", about, re.MULTILINE)) == 1, "its own, not its module's"
    assert re.search(rf"Command: .*python -m experiments[ .]{re.escape(name)} ", about)


def test_every_file_of_a_data_set_holds_experiments_that_are_known():
    """As written there: a file's own name, or the keys of its VARIANTS."""
    found = []
    for path in (ROOT / "experiments").glob("*/[!_]*.py"):
        module = importlib.import_module(f"experiments.{path.parent.name}.{path.stem}")
        names = getattr(module, "VARIANTS", {path.stem: None})
        assert names, path
        found += [f"{path.parent.name}.{name}" for name in names]
    assert sorted(found) == EXPERIMENTS, "each once, whatever file of its folder it stands in"


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
