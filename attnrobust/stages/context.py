"""One run on its way through the stages: its records, its weights, what a stage depends on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnrobust import config
from attnrobust.config.smoke import SMOKED
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

WEIGHTS = Path("train", "weights.h5")
RECORDS, RUNS, REPORTS = Path("tfrecords/shards"), Path("runs"), Path("reports")


def records_of(given: Path | None, data: config.Data) -> Path:
    """A data set's records: the folder given, what lies below it by the data set's name, or theirs.

    Args:
        given: Folder of the records or of several data sets'; None: where prepare puts them.
        data: What is read.
    """
    below = (given or RECORDS) / data.folder
    return given if given and not below.is_dir() and given != RECORDS else below


if TYPE_CHECKING:
    from attnrobust.data.records import Dataset
    from attnrobust.models.replicas import Replicas


@dataclasses.dataclass
class Context:
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
    _trained: tuple[tuple[int, str], Replicas] | None = None

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
        """Raise a UserError that names a damaged shard or record, if there is one."""
        from attnrobust.data import inputs, records

        records.verify(self.dataset())
        inputs.check_decoding(self.dataset())

    def trained(self, dataset: Dataset | None = None) -> Replicas:
        """The trained model, over all devices; built and traced once for all stages of a walk.

        Args:
            dataset: Whose classes it tells apart; None: those that it was trained on.

        Raises:
            UserError: Not trained yet, or a batch of `attack.batch_size` cannot fit into memory.
        """
        from attnrobust.models import build, memory, precision
        from attnrobust.models.replicas import Replicas
        from attnrobust.training import strategy

        # Whatever training may do: what is measured is measured in float32.
        precision.tensor_float_32(allowed=False)
        weights = self.run.require("train") / "weights.h5"
        classes = len(dataset.classes if dataset else self.learned())
        key = (classes, runs.digest(weights))
        if self._trained and self._trained[0] == key:
            return self._trained[1]
        spread = strategy.mirrored()
        with spread.scope():
            model = build.build(
                dataclasses.replace(self.experiment.model, weights=str(weights)),
                classes=classes,
                image_size=self.experiment.data.image_size,
                again="run 'train' again",
            )
        replicas = Replicas(model, spread)
        size = replicas.batch(self.experiment.attack.batch_size)
        memory.require(model, size, "attack.batch_size")
        self._trained = (key, replicas)
        return self._trained[1]

    def learned(self) -> list[str]:
        """The classes that it was trained on, in the order of its logits.

        Raises:
            UserError: Not trained yet, or `provenance.json` does not tell.
        """
        self.run.require("train")
        place = self.run.path("provenance.json")
        again = "run 'train' again"
        found = schemas.load_json(place, schemas.Provenance, again).get("dataset")
        if not found:
            raise schemas.damaged(place, "no dataset in it", again)
        return list(found["classes"])

    def explained(self) -> str:
        """The attack whose sample images are explained; empty where there is none at all.

        Raises:
            UserError: It has not finished, while others have, or was asked for by name.
        """
        if not self.name and not self.run.attacks():
            return ""
        self.run.attacked(self.label)
        return self.label

    def page(self) -> Path:
        """Where the page on this run goes."""
        experiment = self.experiment
        name = f"{experiment.data.dataset}-{experiment.name}-seed-{experiment.seed}"
        kept = self.run.root.resolve().parents[2]
        if kept != RUNS.resolve():
            # Two folders of runs may hold runs of the same name and seed.
            name += f"-{kept.name}-{runs.digest(str(kept))[:6]}"
        return REPORTS / name

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
        context = Context(Run.open(self._beside / surrogate["run"]), self.records)
        name = f"{context.experiment.name}, seed {context.experiment.seed}"
        return name, lambda: context.trained(dataset)

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
            raise UserError(
                f"{place}: no input_scale, which attack.scale = {setting.scale} needs; "
                "train again, or take pixels"
            )
        return float(found)

    def used(self, *sections: str) -> dict[str, Any]:
        """The part of the configuration that a stage's result depends on."""
        values = dataclasses.asdict(self.experiment)
        return {section: values[section] for section in ("data", "seed", *sections)}

    def asked(self, stage: str) -> dict[str, Any]:
        """What of these settings the result of a stage depends on."""
        if stage == "train":
            return {**self.used("model", "training"), **self.started_from()}
        if stage == "attack":
            from attnrobust.attacks.methods import settled

            # What is done, and not what a row would do by the time it is read.
            attack = dataclasses.asdict(settled(self.experiment.attack))
            return {**self.used(), "attack": attack}
        sections = {"predict": "corruptions", "check": "checks", "explain": "explanation"}
        return self.used(sections[stage])

    def place(self, stage: str) -> str:
        """The folder of a stage below the run, such as `attack/linf_pgd`."""
        several = stage in ("attack", "check", "explain")
        return self.run.place_of(stage, self.label) if several else stage

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
            file = self.run.beside(training.start) / WEIGHTS
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
        self.check_network()
        records = self.dataset().hash
        if (self.run.stamp("train") or {}).get("inputs") != records:
            log.warning(
                "warning: %s was trained on other records than %s; images that are in the "
                "test split here may have been in its training",
                self.run.root,
                self.records,
            )
        return runs.digest(self.run.require("train") / "weights.h5", records)

    def check_network(self) -> None:
        """Raise a UserError unless the network of these settings has been trained.

        Weights of the same shapes fit other networks, too, which nobody has trained.
        """
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
