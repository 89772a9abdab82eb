"""The command line as a whole: every command explains itself, examples parse, names are known."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

import experiments
import tfrecords
from attnrobust import __version__, cli, listing
from attnrobust.commands import COMMANDS

HANDED_ON = [name for name, row in COMMANDS.items() if row.hand_on]


def helped(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = helped(capsys, name)
    assert said.startswith(f"usage: attnrobust {name}")
    if name not in HANDED_ON:
        assert re.sub(
            r"\s+", " ", f"example: attnrobust {name} {COMMANDS[name].example}"
        ).rstrip() in (re.sub(r"\s+", " ", said))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in HANDED_ON])
def test_every_example_parses(name: str) -> None:
    cli._parser().parse_args([name, *shlex.split(COMMANDS[name].example)])


def test_a_reader_without_a_command_line_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = types.ModuleType("tfrecords.mine")
    mine.__file__ = "tfrecords/mine.py"
    monkeypatch.setitem(sys.modules, "tfrecords.mine", mine)
    monkeypatch.setattr(tfrecords, "known", lambda: ["mine"])
    assert cli.main(["prepare", "mine", "--raw", "x"]) == 1
    assert capsys.readouterr().err.startswith("error: tfrecords/mine.py: no main(argv) in it")


def test_the_shell_completes_names() -> None:
    named = {}
    for name, command in next(
        action for action in cli._parser()._actions if isinstance(action.choices, dict)
    ).choices.items():
        for action in command._actions:
            if hasattr(action, "completer"):
                named[name] = action.completer()
    assert named == {
        "run": experiments.known(),
        "study": experiments.known(),
        "prepare": tfrecords.known(),
    }


@pytest.mark.parametrize("name", HANDED_ON)
def test_what_is_handed_on_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"example: attnrobust {name} " in helped(capsys, name)


def test_what_is_handed_on_says_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Tschandl" in helped(capsys, "prepare", "ham10000")
    assert "Claim" in helped(capsys, "run", "ham10000.resnet50_gap")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prepare", "ham1000"], "no data set 'ham1000'; did you mean ham10000"),
        (["run", "ham10000.resnet50_gapp"], "did you mean ham10000.resnet50_gap or"),
        (["run"], "the following arguments are required: DATASET.NAME"),
        (["list", "attack"], "invalid choice: 'attack'"),
        (["demoo"], "invalid choice: 'demoo'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_word_is_wrong_usage(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", listing.KINDS)
def test_every_list_names_each_row_with_what_it_is(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    assert len(set(names)) == len(names) > 0
    if kind == "experiments":
        assert names == experiments.known()
    if kind == "datasets":
        assert names == tfrecords.known()
        assert len(lines[names.index("ham10000")].split()) > 3


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"attnrobust {__version__}\n"


def test_help_starts_without_what_is_slow() -> None:
    slow = ("tensorflow", "pandas", "scipy", "matplotlib", "sklearn")
    code = (
        "import sys; from attnrobust import cli\n"
        "try: cli.main(['--help'])\n"
        f"except SystemExit: print(sorted(set({slow}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["run", "demo.resnet18_gab", "train"],
        ["study", "demo.resnet18_gab", "--out", "page"],
        ["doctor", "--experiment", "demo.resnet18_gab"],
        ["doctor", "--set", "training.epochs=1"],
    ],
)
def test_a_wrong_command_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = cli.main(words)
    except SystemExit as error:
        code = error.code
    assert code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "demo.resnet18_gap" in said or "--experiment" in said


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_whoever_reads_no_further_sees_no_traceback(unbuffered: str) -> None:
    """As in `| head`, also where Python keeps no output back that could fail later."""
    with subprocess.Popen(
        [sys.executable, "-m", "attnrobust", "list", "experiments"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as command:
        assert command.stdout
        command.stdout.close()
        assert command.stderr
        assert command.stderr.read() == b""
        assert command.wait() == 141


def test_a_half_written_experiment_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "skin").mkdir()
    (tmp_path / "skin" / "broken.py").write_text("EXPERIMENT = nothing\n")
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path)])
    monkeypatch.setattr(experiments, "__file__", str(tmp_path / "__init__.py"))
    assert experiments.known() == []
    assert "broken.py: left out: NameError: name 'nothing' is not defined" in caplog.text
