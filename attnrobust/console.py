"""What every command line shares: logging, one clear line for each failure."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import logging
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from attnrobust import stack
from attnrobust.disk.runs import disk_is_full
from attnrobust.errors import UsageError, UserError

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger("attnrobust")

# What is wrong with a path or a disk says it all by itself: "[Errno 13] Permission denied: '…'".
PLAIN = (
    errno.EACCES,
    errno.EEXIST,
    errno.EIO,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
    errno.ELOOP,
)


class Parser(argparse.ArgumentParser):
    """A command line whose help can be written whatever the terminal can show."""

    def parse_args(self, *given: Any, **named: Any) -> Any:
        """As of argparse."""
        _show_anything()
        return super().parse_args(*given, **named)


def _show_anything() -> None:
    r"""What stdout cannot encode is written as \u03b5 (\udcff of a file's name), not refused."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class _Stdout(logging.StreamHandler):
    """Writes to what sys.stdout is at that moment, not to what it was when this was made."""

    @property
    def stream(self) -> TextIO:
        """The stream now."""
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """Set by the base class; of no use here."""

    def handleError(self, record: logging.LogRecord) -> None:
        """A reader that has gone ends the command; all else is told as logging does."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            raise  # noqa: PLE0704 - logging calls this while it handles the error
        super().handleError(record)


def say(before: str = "") -> None:
    """Write what is logged to stdout, as a command does; each line begins with `before`."""
    handlers = [each for each in log.handlers if isinstance(each, _Stdout)]
    for handler in handlers or [_Stdout()]:
        handler.setFormatter(logging.Formatter(f"{before}%(message)s"))
    if not handlers:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        # A library that logs through a bare root logger would set one up that repeats our lines.
        logging.getLogger().addHandler(logging.NullHandler())


def run_command(
    work: Callable[[], None],
    *,
    debug: bool,
    stopped: str = "what is finished is kept, the same command goes on",
) -> int:
    """Do the work; turn what can go wrong into one line and an exit code.

    Args:
        work: Is called.
        debug: Show tracebacks.
        stopped: What is said of the work after Ctrl-C.

    Returns:
        0 done, 1 the work failed, 2 the command is wrong, 130 stopped by Ctrl-C, 141 nobody reads
        what is said any more.
    """
    stack.quiet()
    _show_anything()
    say()
    if lacking := stack.unfit():
        return _fail(lacking, debug)
    try:
        work()
        sys.stdout.flush()
    except BrokenPipeError:
        if not _unread():
            raise
        return 141
    except KeyboardInterrupt:
        return _fail(f"stopped by Ctrl-C; {stopped}", debug, code=130)
    except Exception as error:
        message = _in_one_line(error)
        if not message:
            raise
        return _fail(message, debug, code=2 if isinstance(error, UsageError) else 1)
    return 0


def _unread() -> bool:
    """Whether nobody reads stdout any more, as in `… | head`; what is left then goes nowhere."""
    try:
        sys.stdout.flush()
        # An unbuffered one has nothing left that could fail.
        asked = select.poll()
        asked.register(sys.stdout.fileno(), select.POLLOUT)
        gone = any(found & select.POLLERR for _, found in asked.poll(0))
    except BrokenPipeError:
        gone = True
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _in_one_line(error: BaseException) -> str:
    """What a user needs to know of an error; empty for one that only we can mend."""
    if isinstance(error, UserError):
        return str(error)
    if disk_is_full(error):
        return f"no space left on the disk ({error}); earlier results are intact"
    # TensorFlow's own class, known by name so that TensorFlow need not be imported here.
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return (
            "out of memory; try a smaller training.batch_size or attack.batch_size, or fewer "
            "--workers"
        )
    if not isinstance(error, OSError) or error.errno not in PLAIN:
        return ""
    return str(error) if error.errno != errno.ENOENT or error.filename else ""


def progress(*given: Any, **named: Any) -> tqdm:
    """A progress bar, as tqdm draws it, where somebody sees it: on a terminal or in a notebook."""
    from tqdm import auto
    from tqdm.asyncio import tqdm_asyncio

    in_notebook = auto.tqdm is not tqdm_asyncio
    # A terminal's bar is not drawn where stderr goes into a file.
    return auto.tqdm(*given, **named, disable=False if in_notebook else None)


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Everything logged meanwhile is also appended to a file, with the time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def _fail(message: str, debug: bool, code: int = 1) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return value


def fraction(text: str) -> float:
    """An argparse type: a number, or a fraction such as 8/255."""
    over, _, under = text.partition("/")
    try:
        return float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text}: expected a number, such as 8/255") from None
