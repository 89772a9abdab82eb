"""Every failure of a command is one line and an exit code; only bugs show a traceback."""

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attnrobust import console as commands
from attnrobust.errors import UserError


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """`run_command` attaches a handler to the stdout of the moment."""
    log = logging.getLogger("attnrobust")
    before = list(log.handlers)
    log.handlers = []
    yield
    log.handlers = before


def failing(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def test_work_that_is_done_gives_0_and_its_log_goes_to_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("attnrobust")
    assert commands.run_command(lambda: log.info("epoch %d", 3), debug=False) == 0
    assert capsys.readouterr() == ("epoch 3\n", "")


def test_log_lines_follow_stdout_to_where_it_is_then(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("attnrobust")
    for _ in range(2):
        page = io.StringIO()
        monkeypatch.setattr(sys, "stdout", page)
        assert commands.run_command(lambda: log.info("once"), debug=False) == 0
        assert page.getvalue() == "once\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("x.csv: no column dx"), 1, "x.csv: no column dx"),
        (UserError("two\n  lines"), 1, "two lines"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C; what is finished is kept"),
        (MemoryError(), 1, "out of memory"),
        (OSError(28, "No space left on device"), 1, "no space left on the disk"),
        (RuntimeError("cannot write: No space left on device\n"), 1, "no space left on the disk"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "Permission denied: '/x/y'"),
        (OSError(30, "Read-only file system", "/x"), 1, "Read-only file system: '/x'"),
        (NotADirectoryError(20, "Not a directory", "/x/y"), 1, "Not a directory: '/x/y'"),
        (FileExistsError(17, "File exists", "/x"), 1, "File exists: '/x'"),
        (OSError(5, "Input/output error", "/x"), 1, "Input/output error: '/x'"),
    ],
)
def test_what_a_user_can_mend_is_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, words: str
) -> None:
    assert commands.run_command(failing(error), debug=False) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize("error", [UserError("x.csv: no column dx"), KeyboardInterrupt()])
def test_debug_shows_the_traceback_before_the_line(
    capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    assert commands.run_command(failing(error), debug=True) in (1, 130)
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last)")
    assert err.splitlines()[-1].startswith("error: ")
    assert "in work" in err


@pytest.mark.parametrize("error", [ValueError("a bug"), FileNotFoundError(2, "No such file")])
def test_a_bug_is_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        commands.run_command(failing(error), debug=False)
    assert caught.value is error


def test_a_reader_that_has_gone_ends_the_command_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = []

    def work() -> None:
        logging.getLogger("attnrobust").info("one line")
        done.append("too much")

    with open(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        assert commands.run_command(work, debug=False) == 141
        monkeypatch.undo()
    assert not done
    assert capsys.readouterr() == ("", "")


def test_a_pipe_that_is_not_stdout_is_a_bug() -> None:
    with pytest.raises(BrokenPipeError):
        commands.run_command(failing(BrokenPipeError(32, "Broken pipe")), debug=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_terminal_cannot_show_is_written_as_a_number(
    encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding=encoding))
    log = logging.getLogger("attnrobust")
    # pytest keeps what is logged, and cannot send half a sign from one process to another.
    monkeypatch.setattr(log, "propagate", False)

    def work() -> None:
        with commands.log_to(tmp_path / "log.txt"):
            log.info("ε %s", "name-\udcff")

    assert commands.run_command(work, debug=False) == 0
    assert content.getvalue() == b"\\u03b5 name-\\udcff\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8")[24:] == "ε name-\\udcff\n"


def test_help_can_be_shown_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    with pytest.raises(SystemExit, match="0"):
        commands.Parser(description="ε …").parse_args(["--help"])
    sys.stdout.flush()
    assert b"\\u03b5 \\u2026" in content.getvalue()


def test_log_to_appends_with_the_time_and_stops_at_the_end(tmp_path: Path) -> None:
    log, path = logging.getLogger("attnrobust"), tmp_path / "run" / "log.txt"
    for word in ("first ε", "second"):
        with contextlib.suppress(ValueError), commands.log_to(path):
            log.info(word)
            raise ValueError
    log.info("third")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line[24:] for line in lines] == ["first ε", "second"]
    assert all(line[:4].isdigit() for line in lines)


def test_positive_takes_whole_numbers_from_1() -> None:
    assert commands.positive("3") == 3
    for text in ("0", "-2"):
        with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
            commands.positive(text)
    with pytest.raises(ValueError, match="invalid literal"):
        commands.positive("2.5")
