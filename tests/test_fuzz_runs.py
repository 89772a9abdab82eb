"""Damaged run folders: every command on them ends well or in one line, and writes below --out alone.

Seeded; `FUZZ_RUNS` says how many folders are damaged, `FUZZ_SEED` from which seed on.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import contents
from test_report import make_run

from attnrobust import __main__ as program
from attnrobust import config, pipeline, runs, stamps
from attnrobust.runs import Run

NUMBER, SEED = int(os.environ.get("FUZZ_RUNS", "120")), int(os.environ.get("FUZZ_SEED", "0"))
ODD: list[Any] = [
    None, [], {}, "", "x", "../../../escaped", "/tmp/escaped", "a/b", "..", "<script>alert(1)</script>",
    "$x^{", "\ud800", "ä\0b", "x" * 400, -1, 0, 1, 10**30, 10**400, 1e308, -1e308, float("nan"),
    float("inf"), True, [[]], [1], ["a"], {"a": 1}, [None], "-0",
]  # fmt: skip


def whole(root: Path) -> Run:
    """A run that every command which needs no TensorFlow is content with."""
    run = make_run(root, "first", epsilons=(0.01, 0.03))
    arrays = np.load(run.path("attack", "linf_pgd", "linf_pgd-0.npz"))
    for name in ("clean", "validation", "corruption-jpeg-1", "corruption-jpeg-2"):
        runs.save_npz(run.path("predict", f"{name}.npz"),
                      **{key: arrays[key] for key in ("id", "label", "logits")})  # fmt: skip
    stamp = {**runs.load_json(run.path("train", "stage.json")), "used": {}}
    runs.save_json(run.path("predict", "stage.json"), stamp)
    check = {"name": "one", "title": "One", "status": "warn", "said": "1", "meaning": "doubt"}
    runs.save_json(run.path("check", "linf_pgd", "checks.json"),
                   {"epsilon": 0.01, "images": 3, "checks": [check]})  # fmt: skip
    attacked = run.path("attack", "linf_pgd", "stage.json")
    runs.save_json(run.path("check", "linf_pgd", "stage.json"), {
        **stamp, "version": stamps.version("check"),
        "inputs": stamps.check_inputs("", attacked, None)})  # fmt: skip
    assert evaluate(run.root) == 0
    return run


def evaluate(root: Path) -> int:
    """As `python -m experiments.… evaluate explain` does, without an experiment's file."""
    from attnrobust.commands import guarded
    from attnrobust.explanations import comparison
    from attnrobust.walk import Walk

    def work() -> None:
        run = Run.open(root)
        walk = Walk(run, root / "no records")
        pipeline.walk_through(walk, ["evaluate"])
        for label in run.attacks():
            comparison.write(run, label)

    return guarded(work, debug=False)


def report(root: Path, out: Path) -> int:
    return program.main(["report", str(root), "--out", str(out)])


def _places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    items = value.items() if isinstance(value, dict) else enumerate(
        value) if isinstance(value, list) else ()  # fmt: skip
    for key, inner in items:
        yield from _places(inner, (*here, key))


def change_json(rng: random.Random, text: str) -> str:
    """One value is another one, goes, or gets a new name."""
    value = json.loads(text)
    place = rng.choice(list(_places(value)))
    new = rng.choice(ODD)
    if not place:
        return json.dumps(new)
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    how = rng.randrange(4)
    if how == 0:
        del holder[place[-1]]
    elif how == 1 and isinstance(holder, dict):
        holder[str(new)] = holder.pop(place[-1])
    else:
        holder[place[-1]] = new
    return json.dumps(value)


def change_npz(rng: random.Random, content: bytes) -> bytes:
    """An array goes, or has another type, shape or number."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    name = rng.choice(list(arrays))
    array = arrays[name]
    spoilt = array.astype(float) if array.dtype.kind in "iufb" else array.copy()
    if spoilt.size:
        odd = rng.choice([np.nan, np.inf, -1.0, 1e300]) if spoilt.dtype.kind == "f" else "other"
        spoilt.flat[rng.randrange(spoilt.size)] = odd
    changes: list[Callable[[], Any]] = [
        lambda: None, lambda: array[:-1], lambda: array[:0], lambda: array[None], lambda: array.T,
        lambda: array.astype("U"), lambda: np.array(7), lambda: spoilt, lambda: spoilt.astype(
            array.dtype), lambda: np.concatenate([array, array]), lambda: array[..., :1],
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        new = rng.choice(changes)()
    arrays.pop(name)
    if new is not None:
        arrays[name] = new
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def change_table(rng: random.Random, text: str) -> str:
    """A cell, a line or a column is another one."""
    rows = [line.split(",") for line in text.split("\n")]
    row = rng.choice(rows)
    how, at = rng.randrange(5), rng.randrange(len(row))
    if how == 0:
        rows.remove(row)
    elif how == 1:
        del row[at]
    elif how == 2:
        rows.append(row)
    else:
        row[at] = str(rng.choice(ODD))
    return "\n".join(map(",".join, rows))


def damage(rng: random.Random, path: Path) -> str:
    """Spoil a file in one of many ways, which is given back in words."""
    content = path.read_bytes()
    how = rng.choice(["gone", "empty", "cut", "bits", "noise", "folder", *["value"] * 14])
    if how == "gone" or how == "folder":
        path.unlink()
        if how == "folder":
            path.mkdir()
        return how
    if how == "value":
        if path.suffix == ".npz":
            content = change_npz(rng, content)
        elif path.suffix == ".json":
            content = change_json(rng, content.decode()).encode()
        elif path.suffix == ".jsonl":
            lines = content.decode().splitlines()
            at = rng.randrange(len(lines))
            lines[at] = change_json(rng, lines[at])
            content = "\n".join(lines).encode()
        else:
            content = change_table(rng, content.decode()).encode("utf-8", "surrogatepass")
    elif how == "bits":
        spoilt = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        content = bytes(spoilt)
    else:
        content = {"empty": b"", "cut": content[: rng.randrange(len(content))],
                   "noise": rng.randbytes(300)}[how]  # fmt: skip
    path.write_bytes(content)
    return how


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        whole(folder / "runs")
    return folder


def files(folder: Path) -> list[Path]:
    """What commands read of a run."""
    kinds = {".json", ".npz", ".csv", ".jsonl"}
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in kinds)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap_pages")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(SEED, SEED + NUMBER))
def test_a_damaged_run_ends_in_one_line(
    seed: int, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rng = random.Random(seed)
    here = Path(shutil.copytree(given, tmp_path / "here"))
    monkeypatch.chdir(here)
    (run,) = (file.parent for file in here.rglob("config.json"))
    words = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        path = rng.choice([each for each in files(run) if each.is_file()])
        words.append(f"{path.relative_to(run)}: {damage(rng, path)}")
    for command in (report, evaluate):
        before = contents(tmp_path)
        out = tmp_path / "out"
        said = " and ".join(words)
        try:
            code = report(here / "runs", out) if command is report else evaluate(run)
        except Exception as error:
            raise AssertionError(f"{command.__name__} after {said}: {error!r}") from error
        stderr = capsys.readouterr().err
        errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == (code != 0), said
        assert "Traceback" not in stderr, said
        assert code in (0, 1), said
        own = ("here/" + str(run.relative_to(here)),) if command is evaluate else ("out/",)
        changed = {name for name, content in contents(tmp_path).items()
                   if before.get(name) != content and not name.startswith(own)}  # fmt: skip
        assert not changed, said
        assert not {*before} - {*contents(tmp_path)}, said
