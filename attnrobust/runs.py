"""The run directory: paths, stage stamps, finished attacks. No TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnrobust import config, ownership, schemas, stamps
from attnrobust.errors import UserError
from attnrobust.files import (
    atomic,
    clean,
    digest,
    disk_is_full,
    load_json,
    load_npz,
    safe_name,
    save_json,
    save_npz,
    save_text,
)

# Stages know the run directory, and how its files are written, by this one module.
__all__ = [
    "Run",
    "atomic",
    "attack_file",
    "digest",
    "disk_is_full",
    "find_runs",
    "load_json",
    "load_npz",
    "safe_name",
    "save_json",
    "save_npz",
    "save_text",
]  # fmt: skip

log = logging.getLogger("attnrobust")


def attack_file(name: str, epsilon: float) -> str:
    """File name of an attack's results at one epsilon (0: the clean condition)."""
    return f"{safe_name(name)}-{epsilon:g}.npz"


class Run:
    """One experiment with one seed on disk.

    Attributes:
        root: `runs/<dataset>/<experiment>/seed-<n>`.
        experiment: What it does, as saved in `config.json`.
    """

    def __init__(self, root: Path, experiment: config.Experiment) -> None:
        self.root = root
        self.experiment = experiment

    @classmethod
    def of(cls, experiment: config.Experiment, runs: Path) -> Run:
        """The run's place below `runs`; nothing is written."""
        folder = runs / experiment.data.dataset / experiment.name / f"seed-{experiment.seed}"
        return cls(folder, experiment)

    @classmethod
    def open(cls, root: Path) -> Run:
        """An existing run.

        Raises:
            UserError: No `config.json` there, or not one of this version.
        """
        path = root / "config.json"
        if not path.is_file():
            raise UserError(f"{root}: no run there (config.json is missing)")
        again = "run 'train' again"
        values = load_json(path, again)
        try:
            return cls(root, config.from_json(json.dumps(values)))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        except (ValueError, TypeError, OverflowError) as error:  # such as a number of 400 digits
            raise schemas.damaged(path, error, again) from None

    def path(self, *parts: str) -> Path:
        """A path inside the run."""
        return self.root.joinpath(*parts)

    @contextlib.contextmanager
    def stage(
        self,
        name: str,
        *,
        used: Mapping[str, Any],
        inputs: str = "",
        notes: Mapping[str, Any] | None = None,
        force: bool = False,
        renew: bool = False,
        writes: bool = True,
    ) -> Iterator[Path | None]:
        """The stage's folder while it works, or None where its result already stands.

        On a clean exit the stamp `stage.json` is marked finished. A stage that was cut off keeps
        its folder, so that it resumes.

        Args:
            name: Stage and folder, such as `predict`, or `attack/linf_pgd` (see `place_of`).
            used: The part of the configuration that the result depends on (JSON values).
            inputs: Digest of what it reads.
            notes: What else the stamp shall keep (JSON values).
            force: Make it anew, whatever stands there.
            renew: Make it anew, but keep what stands there until that is done; for a stage that
                writes one file.
            writes: False for a helping worker: another process writes the stamp.

        Raises:
            UserError: Results of another configuration, input or version stand there and `force`
                is off, or another process is at it.
        """
        folder = self.path(name)
        with ownership.alone(folder) if writes else contextlib.nullcontext():
            if writes:
                clean(folder)
            yield from self._stage(name, used, inputs, notes or {}, force=force, renew=renew,
                                   writes=writes)  # fmt: skip

    def _stage(
        self, name: str, used: Mapping[str, Any], inputs: str, notes: Mapping[str, Any], *,
        force: bool, renew: bool, writes: bool,
    ) -> Iterator[Path | None]:  # fmt: skip
        folder, used = self.path(name), json.loads(json.dumps(used))
        if force and folder.exists():
            stamps.clear(folder)
        before = None if renew else self.stamp(name)
        gone = stamps.gone(before, folder) if before else []
        if before:
            now = stamps.completed(used)
            other = "keep both with --as LABEL" if name.startswith("attack") else (
                "give this run a name of its own with --set name=…")  # fmt: skip
            if before["used"] != now or before["inputs"] != inputs:
                raise UserError(
                    f"{folder} was made with {stamps.difference(before['used'], now)}; add "
                    f"--force to make it anew, or {other}"
                )
            if stamps.outdated(before, name):
                raise UserError(
                    f"{folder} was made by an earlier version of this stage, which gave other "
                    f"numbers (CHANGELOG.md says what changed); add --force to make it anew, or "
                    f"{other}"
                )
            if before["finished"] and not gone:
                log.info("%s: done before, kept (%s)", name, folder)
                yield None
                return
            if gone:
                log.warning("warning: %s: %s gone; made anew", folder, " and ".join(gone))
            else:
                log.info("%s: going on where it was cut off", name)
            if gone and name == "train":
                stamps.clear(folder)  # There is no half of it to go on with.
                before = None
        if not writes:
            yield folder
            return
        self._remember(used)
        record = {"used": used, "inputs": inputs, "version": stamps.version(name),
                  **notes, **stamps.clock(before, folder),
                  "beside": stamps.beside(before, folder)}  # fmt: skip
        if renew:
            yield from self._renewed(name, record)
        else:
            yield from self._timed(name, record)

    def _renewed(self, name: str, record: Mapping[str, Any]) -> Iterator[Path]:
        """The stage's folder; its stamp is written at the end alone."""
        place, start = self.path(name, "stage.json"), time.monotonic()
        yield place.parent
        seconds = round(time.monotonic() - start, 1)
        files = stamps.files(place.parent, record["beside"])
        save_json(place, {**record, "finished": True, "seconds": seconds, "files": files})
        log.info("%s: done in %.1f s", name, seconds)

    def _timed(self, name: str, record: Mapping[str, Any]) -> Iterator[Path]:
        """The stage's folder; its stamp, during and after, with the seconds of all parts."""
        place, start, finished = self.path(name, "stage.json"), time.monotonic(), False
        save_json(place, {**record, "finished": False})
        try:
            yield place.parent
            finished = True
        finally:
            seconds = round(record["seconds"] + time.monotonic() - start, 1)
            # A full disk must not hide what went wrong before; only a finished stamp is a promise.
            with contextlib.nullcontext() if finished else contextlib.suppress(OSError, UserError):
                done: dict[str, Any] = {"finished": finished, "seconds": seconds}
                if finished:
                    done["files"] = stamps.files(place.parent, record["beside"])
                # What this part took is counted: the next one shall not count it by its files.
                save_json(place, {**record, **done, **({} if finished else {"began": time.time()})})
        log.info("%s: done in %.1f s", name, seconds)

    def _remember(self, used: Mapping[str, Any]) -> None:
        """Write `config.json`: all of it when training, later only what the stage itself uses.

        So it goes on telling how the weights were made, whatever later stages were given.
        """
        experiment = self.experiment
        if self.path("config.json").is_file() and "training" not in used:
            later = ("corruptions", "attack", "checks", "explanation")
            own = {name: getattr(experiment, name) for name in later if name in used}
            experiment = dataclasses.replace(Run.open(self.root).experiment, **own)
        save_json(self.path("config.json"), json.loads(config.to_json(experiment)))

    def stamp(self, name: str) -> dict[str, Any] | None:
        """A stage's stamp: used, inputs, finished, notes, when it started, seconds; or None.

        Raises:
            UserError: The file is damaged, or not a stamp.
        """
        place = self.path(name, "stage.json")
        return stamps.checked(load_json(place), place) if place.exists() else None

    def again(self, place: str) -> list[str]:
        """The module and options that call up the settings of a stage, as its stamp tells them.

        Or as that of training does; of runs of long ago: the file of the experiment's name.
        """
        for each in (place, "train"):
            if words := (self.stamp(each) or {}).get("again"):
                return [str(word) for word in words]
        dataset, name = self.experiment.data.dataset, self.experiment.name
        smoke = ["--smoke"] * name.endswith("-smoke")
        return [f"experiments.{dataset}.{name.removesuffix('-smoke')}", *smoke]

    def require(self, name: str) -> Path:
        """The folder of a finished stage.

        Raises:
            UserError: The stage has not finished.
        """
        stamp = self.stamp(name)
        if not stamp or not stamp["finished"]:
            raise UserError(f"{self.root}: run '{name}' first")
        if gone := stamps.gone(stamp, self.path(name)):
            raise UserError(f"{self.path(name)}: {' and '.join(gone)} gone; run '{name}' again")
        return self.path(name)

    def require_fresh(self) -> None:
        """Predictions and attacks are those of the weights that are there now.

        Raises:
            UserError: A stage was made with other weights. (Stamps of long ago do not say which;
                weights that are gone tell nothing either.)
        """
        weights = self.path("train", "weights.h5")
        places = ["predict", *(self.place_of("attack", label) for label in self.attacks())]
        said = {place: (self.stamp(place) or {}).get("weights") for place in places}
        if not weights.is_file() or not any(said.values()):
            return
        now = digest(weights)
        if old := [place for place, made_with in said.items() if made_with not in (None, now)]:
            raise UserError(f"{self.root}: {' and '.join(old)} older than train/weights.h5, which "
                            "has changed since; run again with --force")  # fmt: skip

    def elsewhere(self) -> bool:
        """Whether it was measured on other records than it was trained on.

        Of runs whose stamps do not name the weights, also where these have changed since.
        """
        train, predict = self.stamp("train"), self.stamp("predict")
        weights = self.path("train", "weights.h5")
        if not train or not predict or not weights.is_file():
            return False
        return bool(predict["inputs"] != digest(weights, train["inputs"]))

    def seconds(self, name: str) -> float | None:
        """How long a finished stage took, all its parts together, or None."""
        stamp = self.stamp(name) or {}
        return stamp.get("seconds") if stamp.get("finished") else None

    def place_of(self, stage: str, label: str) -> str:
        """The folder, below the run, of the `attack` or `explain` stage of one attack.

        `<stage>/<label>`; but `<stage>` itself in runs made when there was one attack a run.
        """
        only = self.stamp("attack")
        before = only and stamps.attack(only, self.path("attack", "stage.json")).name == label
        return stage if before else f"{stage}/{label}"

    def attacks(self) -> dict[str, config.Attack]:
        """Settings of every finished attack by its label, sorted, as its own stamp tells them.

        Raises:
            UserError: A stamp is damaged.
        """
        found = {}
        for place in (self.path("attack", "stage.json"), *self.root.glob("attack/*/stage.json")):
            folder = place.parent
            stamp = self.stamp(str(folder.relative_to(self.root)))
            if stamp and stamp["finished"]:
                setting = stamps.attack(stamp, place)
                below = folder != self.path("attack")
                found[folder.name if below else setting.name] = setting
        return dict(sorted(found.items()))

    def outdated(self) -> list[str]:
        """Labels of the finished attacks that an earlier version of the attacks made, sorted.

        Their robust accuracies may be too high.
        """
        places = {label: self.place_of("attack", label) for label in self.attacks()}
        return [label for label, place in places.items()
                if stamps.outdated(self.stamp(place) or {}, place)]  # fmt: skip

    def attacked(self, label: str) -> Path:
        """The folder of a finished attack.

        Raises:
            UserError: It has not finished; the finished ones are named.
        """
        known = self.attacks()
        if label not in known:
            others = f", or name one of these with --as: {', '.join(known)}" if known else ""
            raise UserError(f"{self.root}: run 'attack' first; '{label}' has not finished{others}")
        return self.path(self.place_of("attack", label))

    def norm(self, label: str) -> str:
        """The norm that an attack's epsilons are radii in: `linf`, `l2` or `l0`.

        Raises:
            UserError: Its stamp names no such norm.
        """
        place = self.place_of("attack", label)
        # L-inf attacks were all there was before stamps said which.
        norm = (self.stamp(place) or {}).get("norm", "linf")
        if norm not in ("linf", "l2", "l0"):
            raise UserError(f"{self.path(place, 'stage.json')}: norm = {norm!r}: expected linf, l2 "
                            "or l0")  # fmt: skip
        return str(norm)

    def measured(self) -> str:
        """Digest of the stamps that the measurements depend on: predict and every attack there is.

        Raises:
            UserError: Predict is missing.
        """
        folders = [self.require("predict"), *map(self.attacked, self.attacks())]
        return digest(*(folder / "stage.json" for folder in folders))


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """All runs at or below the paths, sorted by place, each once.

    Raises:
        UserError: A path holds no run.
    """
    found: dict[Path, Run] = {}
    for path in paths:
        roots = sorted(file.parent for file in path.rglob("config.json"))
        if not roots:
            raise UserError(f"{path}: no run there or below (config.json is missing)")
        found |= {root.resolve(): Run.open(root) for root in roots}
    return list(found.values())
