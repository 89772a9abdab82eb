"""THE MAP: the stages in the order an image walks, and an experiment's command line.

    records -> train -> predict -> attack -> check -> evaluate -> explain -> report -> export

Each stage reads the run directory and writes its own folder there. Stages import their module
inside, so that `--help`, evaluate and report start without TensorFlow.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attnrobust.console import log_to
from attnrobust.disk import provenance, runs, stamps
from attnrobust.disk.runs import Run
from attnrobust.explanations import UNATTACKED
from attnrobust.stages.ready import ready
from attnrobust.stages.walk import Walk

if TYPE_CHECKING:
    from tensorflow import keras

    from attnrobust.data.records import Dataset

log = logging.getLogger("attnrobust")


def train(walk: Walk) -> None:
    """Records to `train/weights.h5`, `train/history.jsonl` and TensorBoard events."""
    spread, chief = None, True
    if walk.machines == "multi_worker":
        from attnrobust.training import strategy

        # First of all: TensorFlow joins the other workers before it does anything else.
        spread = strategy.multi_worker()
        chief = strategy.is_chief(spread)
    dataset = walk.dataset()
    with walk.run.stage(
        "train",
        used=walk.asked("train"),
        inputs=dataset.hash,
        notes={"again": list(walk.again)},
        force=walk.force,
        writes=chief,
    ) as folder:
        if folder is not None:
            from attnrobust.models import precision
            from attnrobust.training import fit, strategy

            precision.tensor_float_32(allowed=walk.experiment.training.tf32)
            spread = spread or strategy.mirrored()
            devices = strategy.devices()
            log.info("training on %s, %d in all", ", ".join(devices), spread.num_replicas_in_sync)
            model = fit.train(walk.experiment, dataset, folder, spread)
            if chief:
                _remember(walk, dataset, model, devices)
    if chief:
        # Not before the stage is stamped: until then a kill would lose all epochs with it.
        shutil.rmtree(walk.run.path("train", "state"), ignore_errors=True)


def _remember(walk: Walk, dataset: Dataset, model: keras.Model, devices: list[str]) -> None:
    """Write `provenance.json`: where the weights come from, and what they learned."""
    from attnrobust.models import build

    start = (walk.run.stamp("train") or {}).get("started", "")
    origin = provenance.provenance(dataset_hash=dataset.hash, devices=devices, started=start)
    described = {
        "name": dataset.name,
        "task": walk.experiment.data.task,
        "classes": list(dataset.classes),
        "size": dataset.size,
        "splits": {
            split: {key: value[key] for key in ("count", "class_counts")}
            for split, value in dataset.splits.items()
        },
        "corrupted": dataset.corrupted,
    }
    parameters, attention = build.count_parameters(model)
    runs.save_json(
        walk.run.path("provenance.json"),
        {
            **origin,
            "dataset": described,
            "parameters": parameters,
            "attention_parameters": attention,
            "input_scale": build.input_scale(model),
        },
    )


def predict(walk: Walk) -> None:
    """Weights and records to `predict/clean.npz`, validation.npz and a file a corruption."""
    with walk.run.stage(
        "predict",
        used=walk.asked("predict"),
        inputs=walk.weights_digest(),
        notes=walk.notes(),
        force=walk.force,
    ) as folder:
        if folder:
            from attnrobust.stages import prediction

            dataset = walk.dataset()
            prediction.predict(walk.experiment, dataset, folder, walk.trained(dataset))


def attack(walk: Walk) -> None:
    """Weights and records to one `attack/<label>/<attack>-<epsilon>.npz` for each epsilon."""
    from attnrobust.attacks.methods import row_of
    from attnrobust.attacks.sweep import Sweep

    scale = walk.epsilon_scale()
    notes = {
        **walk.notes(),
        "norm": row_of(walk.experiment.attack).norm,
        "command": provenance.command(),
        "epsilon_scale": scale,
    }
    with walk.run.stage(
        walk.place("attack"),
        used=walk.asked("attack"),
        inputs=walk.weights_digest(),
        notes=notes,
        force=walk.force,
    ) as folder:
        if folder:
            dataset = walk.dataset()
            setting = walk.experiment.attack.in_pixels(scale)
            experiment = dataclasses.replace(walk.experiment, attack=setting)
            Sweep(experiment, dataset, walk.trained(dataset)).run(folder)


def check(walk: Walk) -> None:
    """The attack doubted in other ways: `check/<label>/checks.json`."""
    run, dataset, place = walk.run, walk.dataset(), walk.place("check")
    stamp = None if walk.force else run.stamp(place)
    # A run that was trained after the check does not undo it.
    other = walk.as_now(stamp.get("surrogate")) if stamp else walk.surrogate(dataset)
    notes = {**walk.notes(), "surrogate": other}
    sweep = run.attacked(walk.label)
    inputs = stamps.check_inputs(walk.weights_digest(), sweep / "stage.json", other)
    with run.stage(
        place, used=walk.asked("check"), inputs=inputs, notes=notes, force=walk.force
    ) as folder:
        if folder:
            from attnrobust.attacks import sanity
            from attnrobust.attacks.subject import Subject

            # As the sweep was made, whatever these settings say.
            experiment = dataclasses.replace(walk.experiment, attack=run.attacks()[walk.label])
            subject = Subject.of_sweep(
                experiment, dataset, walk.trained(dataset), sweep, walk.loaded(other, dataset)
            )
            sanity.check(subject, folder)


def evaluate(walk: Walk) -> None:
    """Logits files of all attacks to `evaluate/measurements.csv`."""
    # Cheap and wholly derived, so it is made anew whenever asked.
    with walk.run.stage("evaluate", used={}, inputs=walk.run.measured(), renew=True) as folder:
        if folder:
            from attnrobust.stages import evaluation

            evaluation.evaluate(walk.run, folder)


def explain(walk: Walk) -> None:
    """Sample images to heatmaps in `explain/<label>/`, what the model makes of them, numbers."""
    label = walk.explained()
    attacked = walk.run.attacked(label) if label else None
    # Without an attack the same images are explained, but under a name of their own.
    place = walk.place("explain") if label else f"explain/{UNATTACKED}"
    number = walk.experiment.attack.samples
    used = {**walk.asked("explain"), **({} if label else {"samples": number})}
    inputs = walk.weights_digest()
    if attacked:
        inputs = runs.digest(inputs, attacked / "stage.json")
    with walk.run.stage(
        place, used=used, inputs=inputs, notes=walk.notes(), force=walk.force
    ) as folder:
        if folder:
            from attnrobust.explanations import faithfulness, randomisation, stage

            dataset, data = walk.dataset(), walk.experiment.data
            replicas = walk.trained(dataset)
            images = (
                stage.of_attack(walk.run.attacks()[label], attacked)
                if attacked
                else stage.unattacked(replicas, dataset, data, number, folder)
            )
            setting, seed = walk.experiment.explanation, walk.experiment.seed
            stage.explain(
                replicas.model, setting, images, folder, classes=dataset.classes, seed=seed
            )
            methods = faithfulness.explainers(replicas.model, setting, seed)
            faithfulness.write(replicas, methods, images, folder)
            randomisation.write(replicas.model, methods, images["clean"], folder)
    if not label:
        log.info("no attack has finished: heatmaps of the images as they are alone")
        return
    from attnrobust.explanations import comparison

    # Cheap and wholly derived, so it is made anew whenever asked, for runs of long ago as well.
    comparison.write(walk.run, label)


def report(walk: Walk) -> None:
    """One page on this run: `reports/<dataset>-<experiment>-seed-<n>/index.html`."""
    from attnrobust.report import page

    # What was done, not what these settings would do.
    page.write([Run.open(walk.run.root)], walk.page())


def export(walk: Walk) -> None:
    """Weights to `export/saved_model/`, checked in a fresh process; records are not needed."""
    walk.check_network()
    learned_from = (walk.run.stamp("train") or {})["inputs"]
    inputs = runs.digest(walk.run.require("train") / "weights.h5", learned_from)
    with walk.run.stage("export", used={}, inputs=inputs, force=walk.force) as folder:
        if folder:
            from attnrobust.stages import export as exporting

            model, data = walk.trained().model, walk.experiment.data
            exporting.export(model, exporting.drawn(data.image_size), folder)
            exporting.write_card(folder, walk.learned(), data.image_size)


STAGES: dict[str, Callable[[Walk], None]] = {
    "train": train,
    "predict": predict,
    "attack": attack,
    "check": check,
    "evaluate": evaluate,
    "explain": explain,
    "report": report,
    "export": export,
}


def in_order(asked: Sequence[str]) -> list[str]:
    """The stages of a command, `all` being each, as an image walks them."""
    return [name for name in STAGES if {name, "all"} & set(asked)]


def walk_through(walk: Walk, stages: Sequence[str]) -> None:
    """Do the stages in order; `log.txt` in the run keeps what was said."""
    log.info("%s", walk.run.root)
    ready(walk, stages)
    with log_to(walk.run.path("log.txt")):
        for name in stages:
            try:
                STAGES[name](walk)
            except Exception as error:
                # TensorFlow's, which name no file and no record.
                if type(error).__name__ in ("DataLossError", "InvalidArgumentError"):
                    walk.verify()
                raise
