"""One run on its way through the stages: its records, its weights, what a stage depends on."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnrobust import config
from attnrobust.disk import runs, schemas
from attnrobust.disk.places import RECORDS, REPORTS, RUNS, records_of
from attnrobust.disk.runs import ORIGINS, Run
from attnrobust.errors import UserError

# Stages and commands know places by this module.
__all__ = ["RECORDS", "REPORTS", "RUNS", "Context", "records_of"]

log = logging.getLogger("attnrobust")

if TYPE_CHECKING:
    from tensorflow import keras

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
        again: What calls these settings up again, for the page: the name of the experiment, then
            options. Where empty, the experiment's name is that of its file.
    """

    run: Run
    records: Path
    force: bool = False
    name: str = ""
    machines: str = "mirrored"
    again: Sequence[str] = ()
    _trained: tuple[tuple[tuple[str, ...], str], Replicas] | None = None

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
        from attnrobust.data import decoding, records

        records.verify(self.dataset())
        decoding.check(self.dataset())

    def trained(self, dataset: Dataset | None = None) -> Replicas:
        """The model under test, over all devices; built and traced once for all stages of a run.

        Args:
            dataset: Whose classes it tells apart; None: those that it was trained on.

        Raises:
            UserError: Neither trained nor adopted yet, its file has changed since, or a batch of
                `attack.batch_size` cannot fit into memory.
        """
        from attnrobust.models import build

        weights = self.run.require_model()
        classes = tuple(dataset.classes if dataset else self.learned())
        if self.experiment.adopted.file:
            self._require_same_file()
            return self.adopted(classes)
        return self._over_all_devices(
            (classes, runs.digest(weights)),
            lambda: build.build(
                dataclasses.replace(self.experiment.model, weights=str(weights)),
                classes=len(classes),
                image_size=self.experiment.data.image_size,
                again="run 'train' again",
            ),
        )

    def adopted(self, classes: Sequence[str]) -> Replicas:
        """The given model as its file is now, also before it is adopted; loaded once for all.

        Args:
            classes: In the order that its logits shall have.

        Raises:
            UserError: As `models.adopted.load`, or a batch cannot fit into memory.
        """
        from attnrobust.models import adopted

        setting, size = self.experiment.adopted, self.experiment.data.image_size
        return self._over_all_devices(
            (tuple(classes), adopted.digest(setting)),
            lambda: adopted.load(setting, classes=classes, image_size=size),
        )

    def _over_all_devices(
        self, key: tuple[tuple[str, ...], str], make: Callable[[], keras.Model]
    ) -> Replicas:
        from attnrobust.models import memory, precision
        from attnrobust.models.replicas import Replicas
        from attnrobust.training import strategy

        # Whatever training may do: what is measured is measured in float32.
        precision.tensor_float_32(allowed=False)
        if self._trained and self._trained[0] == key:
            return self._trained[1]
        spread = strategy.mirrored()
        with spread.scope():
            model = make()
        replicas = Replicas(model, spread)
        size = replicas.batch(self.experiment.attack.batch_size)
        memory.require(model, size, "attack.batch_size")
        self._trained = (key, replicas)
        return replicas

    def learned(self) -> list[str]:
        """The classes that it was trained on or adopted with, in the order of its logits.

        Raises:
            UserError: Neither trained nor adopted yet, or `provenance.json` does not tell.
        """
        self.run.require_model()
        place = self.run.path("provenance.json")
        again = f"run '{self.run.origin}' again"
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

    def epsilon_scale(self) -> float:
        """What 1 in [0, 1] pixels is in the scale that the attack's epsilons are given in.

        Raises:
            UserError: Given in the first layer's numbers, and those of these weights are not known.
        """
        setting, place = self.experiment.attack, self.run.path("provenance.json")
        if setting.scale == "pixels":
            return 1.0
        self.run.require_model()
        known = schemas.load_json(place, schemas.Provenance) if place.is_file() else {}
        found = known.get("input_scale")
        if not isinstance(found, int | float) or not found > 0:
            raise UserError(
                f"{place}: no input_scale, which attack.scale = {setting.scale} needs; "
                f"run '{self.run.origin}' again, or take pixels"
            )
        return float(found)

    def _require_same_file(self) -> None:
        """Raise a UserError unless the given model is still what was adopted."""
        from attnrobust.models import adopted

        setting, place = self.experiment.adopted, self.run.weights
        before = schemas.load_json(place, schemas.Adopted, "run 'adopt' again")["digest"]
        if adopted.digest(setting) != before:
            raise UserError(
                f"{setting.file}: another file than was adopted in {place}; adopt it under a name "
                "of its own (--name), or all anew with --force"
            )

    def used(self, *sections: str) -> dict[str, Any]:
        """The part of the configuration that a stage's result depends on."""
        values = dataclasses.asdict(self.experiment)
        return {section: values[section] for section in ("data", "seed", *sections)}

    def asked(self, stage: str) -> dict[str, Any]:
        """What of these settings the result of a stage depends on."""
        if stage == "train":
            return {**self.used("model", "training"), **self.started_from()}
        if stage == "adopt":
            return self.used("adopted")
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
        weights = self.run.weights
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
            file = self.run.beside(training.start) / ORIGINS["train"]
        name, before = "starting_weights", None if self.force else self.run.stamp("train")
        if before and (name not in before["used"] or not file.is_file()):
            return {key: value for key, value in before["used"].items() if key == name}
        return {name: runs.digest(file)} if file.is_file() else {}

    def weights_digest(self) -> str:
        """Digest of the model and the records: what every later stage depends on.

        Says so where these are not the records that the model was trained on.

        Raises:
            UserError: Neither trained nor adopted yet, or the settings describe another network.
        """
        self.check_network()
        records = self.dataset().hash
        trained_on = (self.run.stamp("train") or {}).get("inputs")
        if self.run.origin == "train" and trained_on != records:
            log.warning(
                "warning: %s was trained on other records than %s; images that are in the "
                "test split here may have been in its training",
                self.run.root,
                self.records,
            )
        return runs.digest(self.run.require_model(), records)

    def check_network(self) -> None:
        """Raise a UserError unless the network of these settings was trained or adopted.

        Weights of the same shapes fit other networks, too, which nobody has trained.
        """
        self.run.require_model()
        trained = (self.run.stamp(self.run.origin) or {})["used"]
        section = {"train": "model", "adopt": "adopted"}[self.run.origin]
        now = json.loads(json.dumps(self.used(section)))  # As the stamp was: lists, no tuples.
        # The starting weights are history by now, and a limit only chooses examples.
        fields = [(section, key) for key in now[section] if key != "weights"]
        for section, key in [*fields, ("data", "image_size"), ("data", "task")]:
            before, asked = trained.get(section, {}).get(key), now[section][key]
            if before != asked:
                raise UserError(
                    f"{self.run.root}: {self.run.origin}ed with {section}.{key} {before!r}, not "
                    f"{asked!r}; leave that setting out, or {self.run.origin} under a name of "
                    "its own (--set name=…)"
                )
