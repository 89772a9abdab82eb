"""Which Python `make` takes, and the one line where none will do. Interpreters are stand-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
TOOLS = ("sh", "ln", "mkdir", "rm")
# Answers as a Python of that version: `-c` asks for it, `-m venv FOLDER` makes a venv of it.
PYTHON = """#!/bin/sh
case "$1 $2" in
  "-c "*) echo {version} ;;
  "-m venv") {venv}mkdir -p "$3/bin" "$3/lib/python{version}" && ln -s "$0" "$3/bin/python" ;;
  *) exit 1 ;;
esac
"""
# pyenv's, of a version that is not chosen; and one that does nothing and calls that a success.
SHIM = "#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n"
IDLE = "#!/bin/sh\nexit 0\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder of commands, the only one on PATH: what the Makefile needs, and no Python."""
    folder = tmp_path / "all commands"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    return folder


def put(folder: Path, **interpreters: str) -> None:
    """Interpreters by name, `.` written `_`: a version, or a whole script."""
    for name, what in interpreters.items():
        script = what if what.startswith("#!") else PYTHON.format(version=what, venv="")
        file = folder / name.replace("_", ".")
        file.write_text(script)
        file.chmod(0o755)


def make(path: Path, *words: str) -> tuple[int, list[str]]:
    """Exit code of `make interpreter`, and what our own recipe says."""
    done = subprocess.run(
        [shutil.which("make") or "make", "-f", MAKEFILE, "interpreter", *words],
        cwd=path.parent,
        env={"PATH": str(path), "HOME": str(path.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, [line for line in lines if not line.startswith("make")]


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"python3": "3.13", "python3_11": "3.11"}, "python3, Python 3.13"),
        ({"python3": "3.10", "python3_12": "3.12"}, "python3.12, Python 3.12"),
        ({"python3": "3.14", "python3_13": SHIM, "python": "3.11"}, "python, Python 3.11"),
        ({"python3": SHIM, "python3_11": IDLE, "python3_13": "3.13"}, "python3.13, Python 3.13"),
    ],
)
def test_the_first_that_runs_and_will_do_is_taken(
    there: dict[str, str], taken: str, path: Path
) -> None:
    put(path, **there)
    assert make(path) == (0, [f"using {taken}"])
    assert make(path) == (0, []), "taken once"


@pytest.mark.parametrize(
    ("there", "seen"),
    [
        ({}, ""),
        ({"python3": "3.10"}, " (python3 is 3.10)"),
        (
            {"python3": "3.14", "python3_12": SHIM, "python": "2.7"},
            " (python3 is 3.14, python is 2.7)",
        ),
        ({"python3": IDLE}, ""),
    ],
)
def test_without_any_there_is_one_line(there: dict[str, str], seen: str, path: Path) -> None:
    put(path, **there)
    said = f"error: Python 3.11 3.12 3.13 is needed, one of them{seen}; put it on PATH or: "
    assert make(path) == (2, [f"{said}make PYTHON=/path/to/python3.13"])
    assert not (path.parent / ".venv").exists()


def test_the_one_that_is_named_is_taken_or_refused(path: Path) -> None:
    put(path, python3="3.11", other="3.12", old="3.10")
    for name, is_there in (("old", "3.10"), ("nowhere", "none that runs")):
        needed = "Python 3.11 3.12 3.13 is needed, one of them; put it on PATH or: "
        said = f"error: PYTHON={path / name} is {is_there}; {needed}make PYTHON=/path/to/python3.13"
        assert make(path, f"PYTHON={path / name}") == (2, [said])
    assert make(path, f"PYTHON={path / 'other'}") == (
        0,
        [f"using {path / 'other'}, Python 3.12"],
    )
    code, (said,) = make(path, "PYTHON=python3")
    assert code == 2
    assert said.startswith("error: .venv is of Python 3.12, PYTHON=python3 is 3.11; remove")


def test_an_interpreter_without_venv_is_passed_over(path: Path) -> None:
    put(path, python3=PYTHON.format(version="3.12", venv="exit 1; "))
    tried = "using python3, Python 3.12"
    failed = "error: failed: 'python3 -m venv'; on Debian: apt-get install python3-venv"
    assert make(path) == (2, [tried, failed])
    assert not (path.parent / ".venv").exists()
    put(path, python3_13="3.13")
    assert make(path) == (0, [tried, "using python3.13, Python 3.13"])


@pytest.mark.parametrize(
    ("now", "said"),
    [(None, "none that runs"), ("3.10", "3.10"), ("3.13", "3.13"), (SHIM, "none that runs")],
)
def test_a_venv_whose_python_is_gone_or_another_is_refused(
    now: str | None, said: str, path: Path
) -> None:
    put(path, python3="3.12")
    assert make(path)[0] == 0
    (path / "python3").unlink()
    if now:
        put(path, python3=now)
    put(path, python3_11="3.11")
    code, (line,) = make(path)
    assert code == 2
    assert line.startswith(f"error: .venv: its Python is {said}, expected the one that made it")
    assert os.path.lexists(path.parent / ".venv/bin/python"), "whoever's it is"
