"""Stages and their stamps: one at work, what is kept of an earlier one, which have finished."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnrobust import stack
from attnrobust.disk import stamps
from attnrobust.disk.files import save_json
from attnrobust.errors import Unfinished, UserError

log = logging.getLogger("attnrobust")


@dataclass(frozen=True)
class Stage:
    """What a stage is about to do; `runs.Run.stage` says what the fields mean."""

    folder: Path
    name: str
    used: Mapping[str, Any]
    inputs: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False
    renew: bool = False

    def before(self, *, settings_alone: bool = False) -> dict[str, Any] | None:
        """The stamp of what stands there; None where there is none, or one that is worth nothing.

        One of other settings, inputs or version, or begun by other versions of TensorFlow or Keras,
        that was cut off before it had any result.

        Args:
            settings_alone: Whether the inputs are not known yet.

        Raises:
            UserError: Results of other settings, inputs or version; half of them, made by other
                versions of TensorFlow or Keras.
        """
        found = stamps.read(self.folder)
        reason = self._other(found, settings_alone=settings_alone) if found else ""
        if reason and stamps.begun(self.folder):
            raise UserError(f"{self.folder} was made {reason}")
        return None if reason else found

    def _other(self, before: Mapping[str, Any], *, settings_alone: bool) -> str:
        """How it was made otherwise, and what to do; empty where it was not."""
        now = stamps.completed(self.used)
        other = (
            "keep both with --as LABEL"
            if self.name.startswith("attack")
            else ("give this run a name of its own with --set name=…")
        )
        same_inputs = settings_alone or before["inputs"] == self.inputs
        if before["used"] != now or not same_inputs:
            return (
                f"with {stamps.difference(before['used'], now)}; add --force to make it anew, "
                f"or {other}"
            )
        if stamps.outdated(before, self.name):
            return (
                "by an earlier version of this stage, which gave other numbers (CHANGELOG.md "
                f"says what changed); add --force to make it anew, or {other}"
            )
        if not before["finished"] and (with_others := stack.other(before["stack"])):
            return (
                f"in part with {with_others}; go on with those versions, or add --force to make "
                f"it anew, or {other}"
            )
        return ""

    def looked_at(self) -> Path | None:
        """The folder, or None where a result already stands; nothing is written or removed."""
        before = self.before()
        stands = before and before["finished"] and not stamps.gone(before, self.folder)
        return None if stands else self.folder

    def at_work(self, begin: Callable[[], None]) -> Iterator[Path | None]:
        """The folder while it works, or None where a result already stands.

        Args:
            begin: Is called where there is something to do.
        """
        if self.force and self.folder.exists():
            stamps.clear(self.folder)
        before = None if self.renew else self.before()
        if before:
            gone = stamps.gone(before, self.folder)
            if before["finished"] and not gone:
                log.info("%s: done before, kept (%s)", self.name, self.folder)
                yield None
                return
            if gone:
                log.warning("warning: %s: %s gone; made anew", self.folder, " and ".join(gone))
            else:
                log.info("%s: going on where it was cut off", self.name)
            if gone and self.name == "train":
                before = None  # There is no half of it to go on with.
        if not before and not self.renew and stamps.read(self.folder):
            stamps.clear(self.folder)
        begin()
        record = {
            "used": self.used,
            "inputs": self.inputs,
            "version": stamps.version(self.name),
            "stack": stack.at_work(),
            **self.notes,
            **stamps.clock(before, self.folder),
            "beside": stamps.beside(before, self.folder),
        }
        yield from self._renewed(record) if self.renew else self._timed(record)

    def _renewed(self, record: Mapping[str, Any]) -> Iterator[Path]:
        """The stage's folder; its stamp is written at the end alone."""
        start = time.monotonic()
        yield self.folder
        seconds = round(time.monotonic() - start, 1)
        files = stamps.files(self.folder, record["beside"])
        save_json(
            self.folder / "stage.json",
            {**record, "finished": True, "seconds": seconds, "files": files},
        )
        log.info("%s: done in %.1f s", self.name, seconds)

    def _timed(self, record: Mapping[str, Any]) -> Iterator[Path]:
        """The stage's folder; its stamp, during and after, with the seconds of all parts."""
        place, start, finished = self.folder / "stage.json", time.monotonic(), False
        save_json(place, {**record, "finished": False})
        try:
            yield self.folder
            finished = True
        finally:
            seconds = round(record["seconds"] + time.monotonic() - start, 1)
            # A full disk must not hide what went wrong before; only a finished stamp is a promise.
            with contextlib.nullcontext() if finished else contextlib.suppress(OSError, UserError):
                done: dict[str, Any] = {"finished": finished, "seconds": seconds}
                if finished:
                    done["files"] = stamps.files(self.folder, record["beside"])
                # What this part took is counted: the next one shall not count it by its files.
                save_json(place, {**record, **done, **({} if finished else {"began": time.time()})})
        log.info("%s: done in %.1f s", self.name, seconds)


class Staged:
    """A folder below which stages have folders of their own.

    Attributes:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, *parts: str) -> Path:
        """A path inside the run."""
        return self.root.joinpath(*parts)

    def stamp(self, name: str) -> dict[str, Any] | None:
        """A stage's stamp: used, inputs, finished, notes, when it started, seconds; or None.

        Raises:
            UserError: The file is damaged, or not a stamp.
        """
        return stamps.read(self.path(name))

    def finished(self, name: str) -> bool:
        """Whether a stage has finished and its files are there.

        Raises:
            UserError: Its stamp is damaged.
        """
        stamp = self.stamp(name)
        return bool(stamp and stamp["finished"] and not stamps.gone(stamp, self.path(name)))

    def require(self, name: str) -> Path:
        """The folder of a finished stage.

        Raises:
            Unfinished: The stage has not finished.
        """
        stamp = self.stamp(name)
        if not stamp or not stamp["finished"]:
            raise Unfinished(f"{self.root}: run '{name}' first")
        if gone := stamps.gone(stamp, self.path(name)):
            raise Unfinished(f"{self.path(name)}: {' and '.join(gone)} gone; run '{name}' again")
        return self.path(name)

    def seconds(self, name: str) -> float | None:
        """How long a finished stage took, all its parts together, or None."""
        stamp = self.stamp(name) or {}
        return stamp.get("seconds") if stamp.get("finished") else None
