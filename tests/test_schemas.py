"""What is damaged of a run's or records' files ends in one line that names the file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage_helpers import evaluate, files, report, whole
from data_helpers import contents

from attnrobust.data import records
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.report import page

SCRIPT = "<script>alert(1)</script>"
# Who reads a file of a run, by its place there.
BOTH = (report, evaluate)
READ_BY: dict[str, tuple[Callable[..., int], ...]] = {
    "config.json": BOTH,
    "provenance.json": BOTH,
    "train/stage.json": (report,),
    "train/history.jsonl": (report,),
    "predict/stage.json": BOTH,
    "predict/clean.npz": BOTH,
    "predict/validation.npz": (evaluate,),
    "predict/corruption-jpeg-1.npz": (evaluate,),
    "attack/linf_pgd/stage.json": BOTH,
    "attack/linf_pgd/linf_pgd-0.01.npz": BOTH,
    "evaluate/measurements.csv": (report,),
    "evaluate/stage.json": (report,),
    "explain/linf_pgd/stage.json": BOTH,
    "explain/linf_pgd/grad_cam-clean.npz": BOTH,
    "explain/linf_pgd/comparison.csv": (report,),
    "check/linf_pgd/stage.json": (report,),
    "check/linf_pgd/checks.json": (report,),
}
ANYTHING: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "binary": lambda _: bytes(range(128, 256)),
    "of another type": lambda _: b"[1, 2]\n",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every kind of file; not to be changed."""
    folder = tmp_path_factory.mktemp("given")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return whole(folder / "runs").root


@pytest.fixture
def run(given: Path, tmp_path: Path) -> Run:
    return Run.open(Path(shutil.copytree(given, tmp_path / "runs" / "first" / "seed-0")))


def call(command: Callable[..., int], run: Run, out: Path) -> int:
    return command(run.root, out) if command is report else command(run.root)


def test_every_file_of_a_run_is_known(given: Path) -> None:
    """Those that are wholly like another in the list play no part."""
    alike = re.compile(r"linf_pgd/(linf_pgd|grad_cam)-|corruption-")
    found = {path.relative_to(given).as_posix() for path in files(given)}
    assert set(READ_BY) <= found
    assert all(alike.search(name) for name in found - set(READ_BY))


@pytest.mark.usefixtures("cheap_pages")
@pytest.mark.parametrize("name", READ_BY)
def test_a_damaged_file_is_named_by_every_command_that_reads_it(
    name: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.path(*name.split("/"))
    content = path.read_bytes()
    for how, change in ANYTHING.items():
        if how == "empty" and name.endswith(".jsonl"):
            continue  # a training of no epoch
        path.write_bytes(change(content))
        for command in READ_BY[name]:
            before = contents(run.root)
            code, said = call(command, run, tmp_path / "out"), capsys.readouterr().err
            lines = [line for line in said.splitlines() if line.startswith("error: ")]
            assert (code, len(lines)) == (1, 1), (how, said)
            assert str(path) in lines[0], how
            assert "damaged" in lines[0] or name == "config.json", how
            assert command is evaluate or contents(run.root) == before


def _without(*keys: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[int(key) if isinstance(value, list) else key]
        del value[keys[-1]]

    return change


def _with(new: Any, *keys: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[int(key) if isinstance(value, list) else key]
        value[int(keys[-1]) if isinstance(value, list) else keys[-1]] = new

    return change


VALUES: list[tuple[str, Callable[[Any], None], str]] = [
    ("provenance.json", _without("dataset", "classes"), "missing required field `classes`"),
    ("provenance.json", _with([], "dataset", "classes"), r"length >= 1 - at `\$.dataset.classes`"),
    ("provenance.json", _with(["\ud800"], "dataset", "classes"), "matching regex"),
    ("provenance.json", _with({"test": 3}, "dataset", "splits"), r"dataset.splits\[...\]"),
    ("provenance.json", _with("many", "parameters"), "Expected `int"),
    ("provenance.json", _with("pip", "packages"), r"\$.packages"),
    ("attack/linf_pgd/stage.json", _without("inputs"), "missing required field `inputs`"),
    ("attack/linf_pgd/stage.json", _with(["x"], "used"), r"\$.used"),
    ("attack/linf_pgd/stage.json", _with(["x"], "used", "data"), r"\$.used.data"),
    ("attack/linf_pgd/stage.json", _with("yes", "finished"), r"\$.finished"),
    ("attack/linf_pgd/stage.json", _with(-1, "seconds"), r"\$.seconds"),
    ("check/linf_pgd/stage.json", _with({"run": "../../x"}, "surrogate"), r"\$.surrogate"),
    ("check/linf_pgd/checks.json", _with("bad", "checks", "0", "status"), "enum value"),
    ("check/linf_pgd/checks.json", _without("checks", "0", "meaning"), "`meaning`"),
]


@pytest.mark.parametrize(("name", "change", "reason"), VALUES)
def test_a_value_that_is_none_is_named(
    name: str, change: Callable[[Any], None], reason: str, run: Run, tmp_path: Path
) -> None:
    path = run.path(*name.split("/"))
    value = json.loads(path.read_text())
    change(value)
    runs.save_json(path, value)
    with pytest.raises(UserError, match=reason) as caught:
        page.write([run], tmp_path / "out")
    assert str(caught.value).startswith(f"{path}: damaged (")
    assert not (tmp_path / "out" / "index.html").exists()


ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "no array": ({"logits": None}, "no logits in it"),
    "shape": ({"logits": np.zeros(3)}, r"logits: shape \(3,\), expected \(3, K\)"),
    "rows": ({"label": np.zeros(2, int)}, r"label: shape \(2,\), expected \(3\)"),
    "none": ({"id": np.array([], str)}, r"id: shape \(0,\)"),
    "type": ({"logits": np.full((3, 2), "x")}, "logits: <U1, expected another type"),
    "whole": ({"label": np.zeros(3)}, "label: float64"),
    "nan": ({"logits": np.full((3, 2), np.nan)}, "logits: not finite"),
    "class": ({"label": np.array([0, 1, 2])}, "label: expected 0 to 1"),
    "twice": ({"id": np.array(["a", "b", "a"])}, "id: one comes twice"),
    "sample": ({"sample_id": np.array(["x"])}, "sample_id: one is not among the ids"),
    "pixel": ({"sample_image": np.full((1, 4, 5, 3), 2.0)}, r"sample_image: expected .* \[0, 1\]"),
    "colours": ({"sample_image": np.zeros((1, 4, 5, 4))}, r"expected \(1, H, W, 3\)"),
    "mask": ({"sample_mask": np.zeros((1, 5, 4), bool)}, r"sample_mask: .* expected \(1, 4, 5\)"),
}


@pytest.mark.parametrize("how", ARRAYS)
def test_arrays_are_as_their_kind_says(how: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    arrays: dict[str, Any] = {
        "id": np.array(["a", "b", "c"]),
        "label": np.array([0, 1, 1]),
        "logits": np.ones((3, 2)),
        "linf": np.zeros(3),
        "sample_id": np.array(["b"]),
        "sample_image": np.ones((1, 4, 5, 3)),
        "sample_mask": np.zeros((1, 4, 5), bool),
    }
    runs.save_npz(path, **arrays)
    assert set(schemas.load_npz(path, schemas.ATTACKED)) == set(arrays)
    changes, reason = ARRAYS[how]
    runs.save_npz(
        path, **{name: value for name, value in {**arrays, **changes}.items() if value is not None}
    )
    with pytest.raises(UserError, match=reason) as caught:
        schemas.load_npz(path, schemas.ATTACKED)
    assert str(caught.value).startswith(f"{path}: damaged (")


CELLS = [
    ("seed", "1.5"),
    ("seed", "x"),
    ("level", "-1"),
    ("level", "inf"),
    ("value", "inf"),
    ("n", "1e300"),
]


@pytest.mark.parametrize(("column", "cell"), CELLS)
def test_a_cell_that_is_none_is_named(column: str, cell: str, tmp_path: Path) -> None:
    path = tmp_path / "measurements.csv"
    names = [*schemas.MEASUREMENTS.text, *schemas.MEASUREMENTS.numbers]
    row = ["nan", '"a, b"', "c", "", "e", "f", "1", "", "0.5", "", "", "3"]
    table = [",".join(names), ",".join(row)]
    runs.save_text(path, "\n".join([*table, ""]))
    frame = schemas.load_table(path, schemas.MEASUREMENTS, stage="evaluate")
    assert list(frame["dataset"]) == ["nan"], "a name, no number"
    assert list(frame["experiment"]) == ["a, b"]
    assert frame["value"][0] == 0.5
    assert np.isnan(frame["level"][0])
    row[names.index(column)] = cell
    runs.save_text(path, "\n".join([*table, ",".join(row), ""]))
    with pytest.raises(UserError, match=f"row 2, {column}: '{cell}'"):
        schemas.load_table(path, schemas.MEASUREMENTS, stage="evaluate")
    runs.save_text(path, "\n".join(table))
    with pytest.raises(UserError, match=r"damaged \(cut off: its last line has no end"):
        schemas.load_table(path, schemas.MEASUREMENTS, stage="evaluate")
    for spoilt in ("", f"{table[0]},value\n", f"{table[0]}\n{','.join(row[1:])}", "a\r\0b"):
        runs.save_text(path, spoilt)
        with pytest.raises(UserError, match=r"measurements\.csv: damaged"):
            schemas.load_table(path, schemas.MEASUREMENTS, stage="evaluate")


def test_a_line_that_is_no_epoch_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for line in (
        '{"epoch": 0}',
        '{"loss": 1}',
        '{"epoch": 2, "loss": "x"}',
        "[]",
        '{"epoch": 2',
        f'{{"epoch": 2, "loss": {10**400}}}',
    ):
        path.write_text(f'{{"epoch": 1, "loss": NaN}}\n\n{line}\n')
        with pytest.raises(UserError, match=r"history\.jsonl: damaged \(line 3: "):
            schemas.load_history(path)


DESCRIBED: list[tuple[Callable[[Any], None], str]] = [
    (_without("splits"), "missing required field `splits`"),
    (_without("splits", "test"), "missing required field `test`"),
    (_without("classes"), "missing required field `classes`"),
    (_with("dataset", "classes"), r"\$.classes"),
    (_with(-1, "splits", "test", "count"), r"\$.splits.test.count"),
    (_with(1, "splits", "test", "count"), "splits.test.class_counts"),
    (_with({"nv": 3}, "splits", "test", "class_counts"), "splits.test.class_counts"),
    (_with([], "splits", "train", "shards"), "splits.train.shards"),
    (_with({"x": {"classes": ["a"], "of": [3]}}, "tasks"), "tasks.x.of"),
    (_with("7", "size"), r"\$.size"),
    (_with(None, "hash"), r"\$.hash"),
] + [
    (_with(name, "splits", "train", "shards", "0", "file"), r"matching regex")
    for name in ("../train-00000-of-00001.tfrecord", "/etc/passwd", "..", "a/b", "x.tfrecord")
]


@pytest.mark.parametrize(("change", "reason"), DESCRIBED)
def test_a_description_of_records_is_checked_whole(
    change: Callable[[Any], None], reason: str, records_folder: Path, tmp_path: Path
) -> None:
    value = json.loads((records_folder / "dataset.json").read_text())
    change(value)
    runs.save_json(tmp_path / "dataset.json", value)
    with pytest.raises(UserError, match=reason) as caught:
        records.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'dataset.json'}: damaged (")


def test_a_shard_that_is_a_link_out_of_its_folder_is_refused(
    records_folder: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(records_folder, tmp_path / "out"))
    (tmp_path / "link").symlink_to(out)
    assert records.load(tmp_path / "link").hash == records.load(out).hash
    shard = sorted(out.glob("train-*"))[0]
    shard.rename(tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{shard.name}: a link to .*elsewhere"):
        records.load(out)


# Where names stand in files: every one is somebody else's.
NAMES: dict[str, list[tuple[str, ...]]] = {
    "config.json": [("data", "task"), ("model", "backbone"), ("model", "head")],
    "provenance.json": [("dataset", "classes", "0")],
    "explain/linf_pgd/stage.json": [("used", "explanation", "methods", "0")],
    "check/linf_pgd/checks.json": [("checks", "0", "title")],
}


@pytest.mark.usefixtures("cheap_pages")
@pytest.mark.parametrize("new", ["../../../escaped", f"$x^{{ {SCRIPT}"])
def test_a_name_from_a_file_is_neither_a_path_nor_a_tag(
    new: str, run: Run, tmp_path: Path, in_full: None
) -> None:
    """Figures are drawn: nor is it a formula."""
    for name, places in NAMES.items():
        path = run.path(*name.split("/"))
        value = json.loads(path.read_text())
        for place in places:
            _with(new, *place)(value)
        runs.save_json(path, value)
    place = run.path("evaluate", "stage.json")
    measured = json.loads(place.read_text()) | {"explained": Run.open(run.root).explained()}
    runs.save_json(place, measured)
    label = run.path("attack", "linf_pgd")
    before = set(contents(tmp_path))
    text = page.write([Run.open(run.root)], tmp_path / "out").read_text()
    assert label.is_dir()
    assert all(file.startswith("out/") for file in set(contents(tmp_path)) - before)
    assert SCRIPT not in text
    ours = {"<script>", '<script type="application/json" id="viewer-data">'}
    assert set(re.findall(r"<script[^>]*>", text)) == ours
    assert len(list((tmp_path / "out").glob("*"))) == 6


@pytest.mark.parametrize("key", [("name",), ("data", "dataset")])
def test_a_run_is_never_kept_elsewhere(key: tuple[str, ...], run: Run, tmp_path: Path) -> None:
    value = json.loads(run.path("config.json").read_text())
    for new in ("../../../escaped", str(tmp_path / "escaped"), "..", ""):
        _with(new, *key)(value)
        runs.save_json(run.path("config.json"), value)
        with pytest.raises(UserError, match=r"config\.json: .*expected letters, digits"):
            Run.open(run.root)


def test_safe_names_are_plain_and_never_alike() -> None:
    names = [
        "a",
        "a b",
        "a/b",
        "a\\b",
        "..",
        ".",
        "",
        "../a",
        ".a",
        "a:b",
        "ä",
        "é",
        "\ud800",
        "x" * 300,
        "x" * 301,
        "a\0b",
        "a\nb",
    ]
    safe = [runs.safe_name(name) for name in names]
    assert len(set(safe)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}", name) for name in safe)
    assert safe[:2] == ["a", "a-b"]
    assert safe[2].startswith("a-b-")


# They read what is not known to be ours yet, or hand on.
EXEMPT = ("files", "records", "runs", "folders")


def test_every_reader_goes_through_the_schemas() -> None:
    for module in Path(runs.__file__).parents[1].rglob("*.py"):
        if module.parent.name != "schemas" and module.stem not in EXEMPT:
            text = module.read_text()
            assert not re.search(r"(runs|files)\.load_(npz|json)|import .*load_(npz|json)", text), (
                module
            )
            assert "pd.read_csv" not in text or module.stem == "search", module


def test_half_a_sign_is_damage() -> None:
    with pytest.raises(UserError, match=r"stage\.json: damaged"):
        schemas.checked({"\ud800": 1}, schemas.Stamp, Path("stage.json"))


def test_the_sensitivity_of_a_map_of_zeros_is_not_defined_which_is_no_damage(
    tmp_path: Path,
) -> None:
    scores = {"id": np.array(["a", "b"]), "deletion": np.ones(2), "insertion": np.ones(2)}
    for value, whole_file in ((np.nan, True), (np.inf, False)):
        runs.save_npz(tmp_path / "s.npz", **scores, max_sensitivity=np.array([0.5, value]))
        if whole_file:
            found = schemas.load_npz(tmp_path / "s.npz", schemas.SCORED)
            assert np.isnan(found["max_sensitivity"]).tolist() == [False, True]
        else:
            with pytest.raises(UserError, match="max_sensitivity: not finite"):
                schemas.load_npz(tmp_path / "s.npz", schemas.SCORED)
    runs.save_npz(tmp_path / "s.npz", **scores | {"deletion": np.array([0.5, np.nan])})
    with pytest.raises(UserError, match="deletion: not finite"):
        schemas.load_npz(tmp_path / "s.npz", schemas.SCORED)
