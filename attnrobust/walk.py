"""One run on its way through the stages: its records, its weights, what a stage depends on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnrobust import config, runs, schemas
from attnrobust.errors import UserError
from attnrobust.runs import Run

log = logging.getLogger("attnrobust")

WEIGHTS = Path("train", "weights.h5")
# What the name of a smoke run ends with.
SMOKED = "-smoke"
SMOKE = (
    "data.limit=16", "model.weights=none", "training.epochs=1", "training.batch_size=8",
    "training.epoch_fraction=1", "training.sampling=none", "training.start=",
    "attack.steps=2", "attack.rel_stepsize=0.5", "attack.batch_size=8", "attack.samples=4",
    "attack.queries=50", "attack.restarts=1",
    "checks.samples=4", "checks.draws=2", "checks.queries=10",
)  # fmt: skip

if TYPE_CHECKING:
    from attnrobust.data.records import Dataset
    from attnrobust.models.replicas import Replicas


@dataclasses.dataclass
class Walk:
    """One run on its way through the stages.

    Attributes:
        run: The run directory.
        records: Folder of the data set's records.
        force: Make stages anew.
        name: What the attack is called in this run; its own name where empty.
        machines: What training is spread by: `mirrored` or `multi_worker` (training/strategy.py).
        again: What calls these settings up again, for the page: the module of the experiment, then
            options. Where empty, the experiment's name is that of its file.
    """

    run: Run
    records: Path
    force: bool = False
    name: str = ""
    machines: str = "mirrored"
    again: Sequence[str] = ()
    _trained: tuple[tuple[str, str], Replicas] | None = None

    @property
    def experiment(self) -> config.Experiment:
        """What is done."""
        return self.run.experiment

    @property
    def label(self) -> str:
        """What the attack is called in this run, and its folder; never without its reading."""
        return self.experiment.attack.labelled(self.name)

    def dataset(self) -> Dataset:
        """The records, with the classes of the task, and with the fold as validation split."""
        from attnrobust.data import records

        data = self.experiment.data
        dataset = records.load(self.records).as_task(data.task)
        if not data.folds:
            return dataset
        from attnrobust.data import folds

        return folds.as_fold(dataset, data.folds, data.fold)

    def verify(self) -> None:
        """Raise a UserError that names a damaged shard, if there is one."""
        from attnrobust.data import records

        records.verify(self.dataset())

    def trained(self, dataset: Dataset) -> Replicas:
        """The trained model, over all devices; built and traced once for all stages of a walk.

        Raises:
            UserError: Not trained yet, or a batch of `attack.batch_size` cannot fit into memory.
        """
        from attnrobust.models import build, memory, precision
        from attnrobust.models.replicas import Replicas
        from attnrobust.training import strategy

        # Whatever training may do: what is measured is measured in float32.
        precision.tensor_float_32(allowed=False)
        weights = self.run.require("train") / "weights.h5"
        key = (dataset.hash, runs.digest(weights))
        if self._trained and self._trained[0] == key:
            return self._trained[1]
        spread = strategy.mirrored()
        with spread.scope():
            model = build.build(
                dataclasses.replace(self.experiment.model, weights=str(weights)),
                classes=len(dataset.classes), image_size=self.experiment.data.image_size,
            )  # fmt: skip
        replicas = Replicas(model, spread)
        size = replicas.batch(self.experiment.attack.batch_size)
        memory.require(model, size, "attack.batch_size")
        self._trained = (key, replicas)
        return self._trained[1]

    def surrogate(self, dataset: Dataset) -> dict[str, str] | None:
        """Another trained run beside this one that learned from and is tested on the same images.

        A run of another experiment rather than of another seed, then the first by name. Never a
        smoke run: what learned next to nothing makes adversarials of nothing.

        Returns:
            Its place below the folder of the data set's runs, and the digest of its weights.
        """
        found, data = [], self._learned_from()
        for file in self._beside.glob("*/*/config.json"):
            try:
                run = Run.open(file.parent)
                stamp, other = run.stamp("train"), run.experiment
            except UserError as error:
                log.warning("warning: no adversarials are taken from that run: %s", error)
                continue
            alike = stamp and stamp["finished"] and stamp["inputs"] == dataset.hash
            alike = alike and other.data == data and not other.name.endswith(SMOKED)
            if alike and run.root != self.run.root and (run.root / WEIGHTS).is_file():
                found.append((other.name == self.experiment.name, str(run.root), run.root))
        return self.as_now({"run": str(min(found)[2].relative_to(self._beside))}) if found else None

    def as_now(self, surrogate: dict[str, str] | None) -> dict[str, str] | None:
        """A surrogate with its weights as they are now; unchanged where its run is gone."""
        weights = self._beside / surrogate["run"] / WEIGHTS if surrogate else None
        if surrogate is None or weights is None or not weights.is_file():
            return surrogate
        return {**surrogate, "weights": runs.digest(weights)}

    def loaded(
        self, surrogate: dict[str, str] | None, dataset: Dataset
    ) -> tuple[str, Callable[[], Replicas]] | None:
        """The surrogate's name and how to get its model."""
        if surrogate is None:
            return None
        walk = Walk(Run.open(self._beside / surrogate["run"]), self.records)
        name = f"{walk.experiment.name}, seed {walk.experiment.seed}"
        return name, lambda: walk.trained(dataset)

    @property
    def _beside(self) -> Path:
        """The folder of the data set's runs."""
        return self.run.root.parents[1]

    def _learned_from(self) -> config.Data:
        """The data of these settings with the limit that training had: later ones choose images."""
        stamp = self.run.stamp("train") or {"used": {}}
        limit = stamp["used"].get("data", {}).get("limit", self.experiment.data.limit)
        return dataclasses.replace(self.experiment.data, limit=limit)

    def epsilon_scale(self) -> float:
        """What 1 in [0, 1] pixels is in the scale that the attack's epsilons are given in.

        Raises:
            UserError: Given in the first layer's numbers, and those of these weights are not known.
        """
        setting, place = self.experiment.attack, self.run.path("provenance.json")
        if setting.scale == "pixels":
            return 1.0
        self.run.require("train")
        known = schemas.load_json(place, schemas.Provenance) if place.is_file() else {}
        found = known.get("input_scale")
        if not isinstance(found, int | float) or not found > 0:
            raise UserError(f"{place}: no input_scale, which attack.scale = {setting.scale} needs; "
                            "train again, or take pixels")  # fmt: skip
        return float(found)

    def used(self, *sections: str) -> dict[str, Any]:
        """The part of the configuration that a stage's result depends on."""
        values = dataclasses.asdict(self.experiment)
        return {section: values[section] for section in ("data", "seed", *sections)}

    def notes(self) -> dict[str, Any]:
        """What a stage's stamp keeps for the page: how to call it again, which weights there are.

        Nothing of it decides whether the stage's result still holds.
        """
        weights = self.run.path("train", "weights.h5")
        made_with = {"weights": runs.digest(weights)} if weights.is_file() else {}
        return {"again": list(self.again), **made_with}

    def started_from(self) -> dict[str, str]:
        """Digest of the weights file that training starts from; the settings hold its place alone.

        Nothing where it starts from no file, or where an older stamp does not tell; what the stamp
        says where the file has gone since.
        """
        training, weights = self.experiment.training, self.experiment.model.weights
        if not training.start and weights in ("none", "imagenet"):
            return {}
        file = Path(weights).expanduser()
        if training.start:
            seed = f"seed-{self.experiment.seed}"
            file = self.run.root.parents[1] / training.start / seed / "train" / "weights.h5"
        name, before = "starting_weights", None if self.force else self.run.stamp("train")
        if before and (name not in before["used"] or not file.is_file()):
            return {key: value for key, value in before["used"].items() if key == name}
        return {name: runs.digest(file)} if file.is_file() else {}

    def weights_digest(self) -> str:
        """Digest of the trained weights and the records: what every later stage depends on.

        Says so where these are not the records that the model was trained on.

        Raises:
            UserError: Not trained yet, or the settings describe another network than was trained.
        """
        self._check_network()
        records = self.dataset().hash
        if (self.run.stamp("train") or {}).get("inputs") != records:
            log.warning("warning: %s was trained on other records than %s; images that are in the "
                        "test split here may have been in its training", self.run.root,
                        self.records)  # fmt: skip
        return runs.digest(self.run.require("train") / "weights.h5", records)

    def _check_network(self) -> None:
        """Weights of the same shapes fit other networks, too, which nobody has trained."""
        self.run.require("train")
        trained = (self.run.stamp("train") or {})["used"]
        now = self.used("model")
        # The starting weights are history by now, and a limit only chooses examples.
        fields = [("model", key) for key in now["model"] if key != "weights"]
        for section, key in [*fields, ("data", "image_size"), ("data", "task")]:
            before, asked = trained.get(section, {}).get(key), now[section][key]
            if before != asked:
                raise UserError(
                    f"{self.run.root}: trained with {section}.{key} {before!r}, not {asked!r}; "
                    "leave that setting out, or train under a name of its own (--set name=…)"
                )


def smoke(experiment: config.Experiment) -> config.Experiment:
    """The same experiment with tiny numbers, under a name of its own."""
    size = 96 if experiment.model.backbone.startswith("inception") else 64
    first, *_, last = (*experiment.attack.epsilons, experiment.attack.epsilons[-1])
    grid = f"{first!r},{last!r}" if first != last else f"{first!r}"
    return config.with_settings(
        experiment,
        [*SMOKE, f"data.image_size={size}", f"attack.epsilons={grid}",
         f"name={experiment.name}{SMOKED}"],
    )  # fmt: skip
