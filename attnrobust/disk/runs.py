"""The run directory: paths, stage stamps, finished attacks. No TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnrobust import config
from attnrobust.disk import lock, schemas
from attnrobust.disk.attacked import Attacked
from attnrobust.disk.files import (
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
from attnrobust.disk.stage import Stage
from attnrobust.errors import Unfinished, UserError

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
]

log = logging.getLogger("attnrobust")

# The stages that a model comes from, and the file that tells which it is.
ORIGINS = {"train": "train/weights.h5", "adopt": "adopt/adopted.json"}


def attack_file(name: str, epsilon: float) -> str:
    """File name of an attack's results at one epsilon (0: the clean condition)."""
    return f"{safe_name(name)}-{epsilon:g}.npz"


class Run(Attacked):
    """One experiment with one seed on disk.

    Attributes:
        root: `runs/<dataset>/<experiment>/seed-<n>`.
        experiment: What it does, as saved in `config.json`.
    """

    def __init__(self, root: Path, experiment: config.Experiment) -> None:
        super().__init__(root)
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

    @property
    def origin(self) -> str:
        """The stage that the model comes from: `train`, or `adopt` where it was given."""
        return "adopt" if self.experiment.adopted.file else "train"

    @property
    def weights(self) -> Path:
        """The file that tells which model it is: weights, or what an adopted file holds."""
        return self.path(*ORIGINS[self.origin].split("/"))

    def require_model(self) -> Path:
        """The same, once there is a model.

        Raises:
            UserError: Neither trained nor adopted yet.
        """
        self.require(self.origin)
        return self.weights

    def beside(self, name: str) -> Path:
        """Where the run of another experiment with the same seed is, beside this one."""
        return self.root.parents[1] / name / f"seed-{self.experiment.seed}"

    def refuse_other(self, name: str, used: Mapping[str, Any]) -> None:
        """Nothing, where a stage has no result.

        Args:
            name: As of `stage`.
            used: Likewise.

        Raises:
            UserError: Results of another configuration or version stand there.
        """
        Stage(self.path(name), name, json.loads(json.dumps(used))).before(settings_alone=True)

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
        its folder, so that it resumes; one that was cut off before it had any result counts as not
        there.

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
        used = json.loads(json.dumps(used))
        stage = Stage(self.path(name), name, used, inputs, notes or {}, force, renew)
        if not writes:
            yield stage.looked_at()
            return
        with lock.alone(stage.folder):
            clean(stage.folder)
            yield from stage.at_work(lambda: self._remember(used))

    def _remember(self, used: Mapping[str, Any]) -> None:
        """Write `config.json`: all of it with the model, later only what the stage itself uses.

        So it goes on telling how the model was made, whatever later stages were given.
        """
        experiment = self.experiment
        if self.path("config.json").is_file() and not {"training", "adopted"} & set(used):
            later = ("corruptions", "attack", "checks", "explanation")
            own = {name: getattr(experiment, name) for name in later if name in used}
            experiment = dataclasses.replace(Run.open(self.root).experiment, **own)
        save_json(self.path("config.json"), json.loads(config.to_json(experiment)))

    def again(self, place: str) -> list[str]:
        """The experiment and options that call up the settings of a stage, as its stamp tells them.

        Or as that of training does; of runs of long ago: the experiment of the run's name.
        """
        for each in (place, self.origin):
            if words := (self.stamp(each) or {}).get("again"):
                name, *options = map(str, words)
                # Before experiments had one command, stamps had the file of each.
                return [name.removeprefix("experiments."), *options]
        dataset, name = self.experiment.data.dataset, self.experiment.name
        smoke = ["--smoke"] * name.endswith("-smoke")
        return [f"{dataset}.{name.removesuffix('-smoke')}", *smoke]

    def require_fresh(self) -> None:
        """Predictions and attacks are those of the weights that are there now.

        Raises:
            Unfinished: A stage was made with other weights. (Stamps of long ago do not say which;
                weights that are gone tell nothing either.)
        """
        weights = self.weights
        places = ["predict", *(self.place_of("attack", label) for label in self.attacks())]
        said = {place: (self.stamp(place) or {}).get("weights") for place in places}
        if not weights.is_file() or not any(said.values()):
            return
        now = digest(weights)
        if old := [place for place, made_with in said.items() if made_with not in (None, now)]:
            raise Unfinished(
                f"{self.root}: {' and '.join(old)} older than {ORIGINS[self.origin]}, "
                "which has changed since; run again with --force"
            )

    def elsewhere(self) -> bool:
        """Whether it was measured on other records than it was trained on.

        Of runs whose stamps do not name the weights, also where these have changed since.
        """
        train, predict = self.stamp("train"), self.stamp("predict")
        weights = self.weights
        if not train or not predict or not weights.is_file():
            return False
        return bool(predict["inputs"] != digest(weights, train["inputs"]))

    def measured(self) -> str:
        """Digest of the stamps that the measurements depend on: predict and every attack there is.

        Raises:
            UserError: Predict is missing.
        """
        folders = [self.require("predict"), *map(self.attacked, self.attacks())]
        return digest(*(folder / "stage.json" for folder in folders))

    def explained(self) -> str:
        """Digest of the stamps of all finished heatmaps; empty where there are none.

        Raises:
            UserError: A stamp is damaged.
        """
        places = [self.path("explain"), *sorted(self.root.glob("explain/*/"))]
        found = [
            place / "stage.json"
            for place in places
            if (self.stamp(str(place.relative_to(self.root))) or {}).get("finished")
        ]
        return digest(*found) if found else ""


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """All runs at or below the paths, sorted by place, each once.

    What else is called `config.json` below them is passed over with a warning.

    Raises:
        UserError: A path holds no run, or is one that cannot be read.
    """
    found: dict[Path, Run] = {}
    for path in paths:
        here, wrong = {}, UserError(f"{path}: no run there or below (config.json is missing)")
        for root in sorted(file.parent for file in path.rglob("config.json")):
            try:
                here[root.resolve()] = Run.open(root)
            except UserError as error:
                wrong = error
                log.warning("warning: no run, passed over: %s", error)
        if not here:
            raise wrong
        found |= here
    return list(found.values())
