"""Run folders that hold every file a command reads, and ways to damage one."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_report import make_run

from attnrobust import cli as program
from attnrobust.console import run_command
from attnrobust.disk import runs, stamps
from attnrobust.disk.runs import Run
from attnrobust.explanations import comparison
from attnrobust.stages import pipeline
from attnrobust.stages.context import Context

ODD: list[Any] = [
    None,
    [],
    {},
    "",
    "x",
    "../../../escaped",
    "/tmp/escaped",
    "a/b",
    "..",
    "<script>alert(1)</script>",
    "$x^{",
    "\ud800",
    "ä\0b",
    "x" * 400,
    -1,
    0,
    1,
    10**30,
    10**400,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    True,
    [[]],
    [1],
    ["a"],
    {"a": 1},
    [None],
    "-0",
]


def whole(root: Path) -> Run:
    """A run that every command which needs no TensorFlow is content with."""
    run = make_run(root, "first", epsilons=(0.01, 0.03))
    arrays = np.load(run.path("attack", "linf_pgd", "linf_pgd-0.npz"))
    for name in ("clean", "validation", "corruption-jpeg-1", "corruption-jpeg-2"):
        runs.save_npz(
            run.path("predict", f"{name}.npz"),
            **{key: arrays[key] for key in ("id", "label", "logits")},
        )
    stamp = {**runs.load_json(run.path("train", "stage.json")), "used": {}}
    runs.save_json(run.path("predict", "stage.json"), stamp)
    check = {"name": "one", "title": "One", "status": "warn", "said": "1", "meaning": "doubt"}
    runs.save_json(
        run.path("check", "linf_pgd", "checks.json"),
        {"epsilon": 0.01, "images": 3, "checks": [check]},
    )
    attacked = run.path("attack", "linf_pgd", "stage.json")
    runs.save_json(
        run.path("check", "linf_pgd", "stage.json"),
        {
            **stamp,
            "version": stamps.version("check"),
            "inputs": stamps.check_inputs("", attacked, None),
        },
    )
    assert evaluate(run.root) == 0
    return run


def evaluate(root: Path) -> int:
    """As `python -m experiments.… evaluate explain` does, without an experiment's file."""

    def work() -> None:
        run = Run.open(root)
        context = Context(run, root / "no records")
        pipeline.run_stages(context, ["evaluate"])
        for label in run.attacks():
            comparison.write(run, label)

    return run_command(work, debug=False)


def report(root: Path, out: Path) -> int:
    return program.main(["report", str(root), "--out", str(out)])


def _places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
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


def ends_in_one_line(
    work: Callable[[], int], what: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    """The exit code and the error lines of a command on damaged files: one where it failed."""
    try:
        code = work()
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error
    stderr = capsys.readouterr().err
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == (code != 0), what
    assert "Traceback" not in stderr, what
    return code, errors


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
        lambda: None,
        lambda: array[:-1],
        lambda: array[:0],
        lambda: array[None],
        lambda: array.T,
        lambda: array.astype("U"),
        lambda: np.array(7),
        lambda: spoilt,
        lambda: spoilt.astype(array.dtype),
        lambda: np.concatenate([array, array]),
        lambda: array[..., :1],
    ]
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
    if how == "gone":
        path.unlink()
        return how
    if how == "folder":
        path.unlink()
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
        content = {
            "empty": b"",
            "cut": content[: rng.randrange(len(content))],
            "noise": rng.randbytes(300),
        }[how]
    path.write_bytes(content)
    return how


def files(folder: Path) -> list[Path]:
    """What commands read of a run."""
    kinds = {".json", ".npz", ".csv", ".jsonl"}
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in kinds)
