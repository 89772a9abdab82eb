"""One writer a folder: a lock file beside it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from attnrobust.disk.files import beside
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

# What this process holds, and what it has said it cannot hold.
_held: set[Path] = set()
_said: set[Path] = set()


@contextlib.contextmanager
def alone(out: Path, *, inner: bool = False) -> Iterator[None]:
    """Hold a folder to write to for this process; one that is killed lets go by itself.

    Where there are no locks, or nothing may be written beside the folder, that is said, once.

    Args:
        out: The folder.
        inner: Part of a work that may hold the folder already.

    Raises:
        UserError: Another process holds it.
    """
    place = beside(Path(os.path.realpath(out)), ".{}.lock")
    if inner and place in _held:
        yield
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(place, out)
    _held.add(place)
    try:
        yield
    finally:
        _held.discard(place)
        if file:
            place.unlink(missing_ok=True)
            file.close()


def _locked(place: Path, out: Path) -> TextIO | None:
    """The lock of a folder, open; None where there can be none."""
    while True:
        file: TextIO | None = None
        try:
            # No link is followed, nothing is emptied: what is not ours stays.
            file = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+")
            if os.fstat(file.fileno()).st_size:
                file.close()
                raise UserError(
                    f"{place}: in the way of the lock of {out}, and not empty as a "
                    "lock is; move it away"
                )
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if file:
                file.close()
            raise UserError(
                f"{out}: another process is writing there; expected one at a time, "
                "wait for it or end it"
            ) from None
        except OSError as error:
            if place.is_symlink():
                raise UserError(
                    f"{place}: in the way of the lock of {out}, and a link, as a lock "
                    "is not; move it away"
                ) from None
            if place not in _said:
                log.warning(
                    "warning: %s: cannot be locked (%s); a second process that writes to "
                    "%s at the same time would not be noticed",
                    place,
                    error.strerror,
                    out,
                )
            _said.add(place)
            if file:
                place.unlink(missing_ok=True)
                file.close()
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), place.stat()):
                return file
        file.close()  # The one before has removed it in between.
