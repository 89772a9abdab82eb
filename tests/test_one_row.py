"""Law of the house: what is known of a row stands in its table, no list of names outside of it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from pathlib import Path

import pytest

from attnrobust.attacks.cheap import FIRST_PASSES
from attnrobust.attacks.losses import LOSSES
from attnrobust.attacks.methods import ATTACKS
from attnrobust.attacks.sanity import CHECKS
from attnrobust.attacks.segmentation.losses import PIXEL_LOSSES
from attnrobust.attacks.segmentation.methods import SEGMENTATION_ATTACKS
from attnrobust.attacks.segmentation.sanity import SEGMENTATION_CHECKS
from attnrobust.corruptions import CORRUPTIONS
from attnrobust.data.augmentation import AUGMENTATIONS
from attnrobust.data.preprocessing import FILTERS, FITS
from attnrobust.data.sampling import SAMPLING
from attnrobust.explanations.methods import EXPLANATIONS
from attnrobust.measures.heatmaps import HEATMAP_METRICS
from attnrobust.measures.maps import MAP_METRICS
from attnrobust.measures.metrics import METRICS
from attnrobust.measures.segmentation import SEGMENTATION_METRICS
from attnrobust.models.backbones import BACKBONES
from attnrobust.models.heads import HEADS
from attnrobust.models.segmenters import SEGMENTERS
from attnrobust.training.losses import CLASS_WEIGHTS
from attnrobust.training.losses import LOSSES as TRAINING_LOSSES
from attnrobust.training.methods import METHODS
from attnrobust.training.mixing import OPERATIONS
from attnrobust.training.optimizers import OPTIMIZERS, SCHEDULES

ROOT = Path(__file__).parents[1]
SOURCES = {
    str(path.relative_to(ROOT / "attnrobust")): path.read_text()
    for path in sorted((ROOT / "attnrobust").rglob("*.py"))
}
# Table -> its names, and the files that it stands in.
TABLES: dict[str, tuple[set[str], tuple[str, ...]]] = {
    "ATTACKS": (set(ATTACKS), ("attacks/methods.py",)),
    "AUGMENTATIONS": (set(AUGMENTATIONS), ("data/augmentation.py",)),
    "BACKBONES": (set(BACKBONES), tuple(f for f in SOURCES if f.startswith("models/backbones/"))),
    "CHECKS": (set(CHECKS), ("attacks/sanity.py",)),
    "CLASS_WEIGHTS": (set(CLASS_WEIGHTS), ("training/losses.py",)),
    "CORRUPTIONS": (set(CORRUPTIONS), ("corruptions/__init__.py",)),
    "EXPLANATIONS": (set(EXPLANATIONS), ("explanations/methods.py",)),
    "FILTERS": (set(FILTERS), ("data/preprocessing.py",)),
    "FIRST_PASSES": (set(FIRST_PASSES), ("attacks/cheap.py",)),
    "FITS": (set(FITS), ("data/preprocessing.py",)),
    "HEADS": (set(HEADS), ("models/heads.py",)),
    "HEATMAP_METRICS": (set(HEATMAP_METRICS), ("heatmaps.py",)),
    "LOSSES": (set(LOSSES), ("attacks/losses.py",)),
    "MAP_METRICS": (
        {name for name, row in MAP_METRICS.items() if not row.scored},
        ("maps.py", "randomisation.py"),
    ),
    "METHODS": (set(METHODS), ("training/methods.py",)),
    "METRICS": (set(METRICS), ("metrics.py", "calibration.py")),
    "OPERATIONS": (set(OPERATIONS), ("training/mixing.py",)),
    "OPTIMIZERS": (set(OPTIMIZERS), ("training/optimizers.py",)),
    "PIXEL_LOSSES": (set(PIXEL_LOSSES), ("attacks/segmentation/losses.py",)),
    "SAMPLING": (set(SAMPLING), ("data/sampling.py",)),
    "SEGMENTATION_ATTACKS": (set(SEGMENTATION_ATTACKS), ("attacks/segmentation/methods.py",)),
    "SEGMENTATION_CHECKS": (set(SEGMENTATION_CHECKS), ("attacks/segmentation/sanity.py",)),
    "SEGMENTATION_METRICS": (set(SEGMENTATION_METRICS), ("measures/segmentation.py",)),
    "SEGMENTERS": (set(SEGMENTERS), tuple(f for f in SOURCES if f.startswith("models/segment"))),
    "SCHEDULES": (set(SCHEDULES), ("training/optimizers.py",)),
    "TRAINING_LOSSES": (set(TRAINING_LOSSES), ("training/losses.py",)),
}
# Of these, one name to compare with is one too many: a row has attributes for what sets it apart.
NEVER_BY_NAME = (
    "ATTACKS",
    "FILTERS",
    "FITS",
    "METHODS",
    "SAMPLING",
    "SEGMENTATION_ATTACKS",
)
# What leaves something out is called so in many tables.
NEUTRAL = {"none"}
# (file, table) -> why its names stand there. A default is a choice among rows, and stays one
# whatever rows are added.
ALLOWED = {
    ("doctor.py", "HEADS"): "models that it shows beside the papers'",
    ("config/training.py", "AUGMENTATIONS"): "a default",
    ("config/training.py", "OPERATIONS"): "a default: AugMix's nine",
    ("config/attack.py", "CHECKS"): "words of attack.outputs",
    ("attacks/segmentation/climb.py", "PIXEL_LOSSES"): "SEA's three, which its paper names",
    ("attacks/methods.py", "CHECKS"): "words of attack.saliency",
    ("own_model/testing.py", "EXPLANATIONS"): "what a given model is explained by, unless told",
    ("report/model_facts.py", "METHODS"): "whether there was an inner attack",
    ("report/pairs.py", "METHODS"): "which of two is the standard one",
}


def tables_in(tree: ast.Module) -> set[ast.AST]:
    """All nodes of module-level dicts that are tables by their names in capitals."""
    named = {*TABLES, "ROWS", "CALIBRATION"}
    return {
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if node.value and node.target.id in named
    }


def words(nodes: list[ast.AST | None]) -> set[str]:
    return {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def compared(node: ast.AST) -> set[str]:
    """Words that something is compared with, also one after the other."""
    if isinstance(node, ast.BoolOp):
        return set().union(*map(compared, node.values))
    if isinstance(node, ast.MatchValue):
        return words([node.value])
    return words([node.left, *node.comparators]) if isinstance(node, ast.Compare) else set()


@functools.cache
def named(source: str) -> list[tuple[int, set[str], set[str]]]:
    """Of each literal and each comparison the line, the words listed and those compared with."""
    tree, found = ast.parse(source), []
    tables = tables_in(tree)
    for node in ast.walk(tree):
        listed: list[ast.AST | None] = []
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            listed = list(node.elts)
        elif isinstance(node, ast.Dict) and node not in tables:
            listed = list(node.keys)
        said, asked = words(listed), compared(node)
        if said or asked:
            found.append((getattr(node, "lineno", 0), said, asked))
    return found


def offences(source: str, names: set[str], *, single: bool) -> list[str]:
    """Where two rows are named in one literal or comparison, or a `single` one is compared with."""
    return [
        f"{line} {', '.join(sorted((said | asked) & names))}"
        for line, said, asked in named(source)
        if len(said & names) > 1
        or len((asked & names) - (NEUTRAL if single else set())) > (not single)
    ]


@functools.cache
def found() -> Mapping[tuple[str, str], list[str]]:
    """What is named where, by (file, table)."""
    lines = {
        (file, table): offences(source, names, single=table in NEVER_BY_NAME)
        for file, source in SOURCES.items()
        for table, (names, home) in TABLES.items()
        if file not in home
    }
    return {place: said for place, said in lines.items() if said}


@pytest.mark.parametrize(
    ("source", "single", "number"),
    [
        ("A = ('fast', 'trades')", False, 1),
        ("A = {'fast': 1, 'trades': 2}", False, 1),
        ("A = {'fast': 1, 'others': 2}", False, 0),
        ("METHODS: dict = {'fast': 1, 'trades': 2}", False, 0),
        ("x in ['fast', 'trades']", False, 1),
        ("x == 'fast' or x == 'trades'", False, 1),
        ("x == 'fast'", False, 0),
        ("x != 'fast'", True, 1),
        ("if x:\n    match x:\n        case 'fast':\n            pass", True, 1),
        ("f('fast', x='trades')", True, 0),
    ],
)
def test_what_counts_as_naming_rows(source: str, single: bool, number: int) -> None:
    assert len(offences(source, {"fast", "trades"}, single=single)) == number


def test_no_row_is_named_outside_of_its_table() -> None:
    assert {place: lines for place, lines in found().items() if place not in ALLOWED} == {}


def test_no_exception_outlives_its_reason() -> None:
    assert set(ALLOWED) - set(found()) == set()
