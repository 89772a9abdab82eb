"""THE MAP: the stages in the order an image walks, and an experiment's command line.

    records -> train -> predict -> attack -> check -> explain -> evaluate -> report -> export
               adopt

Each stage reads the run directory and writes its own folder there. Stages import their module
inside, so that `--help`, evaluate and report start without TensorFlow.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import shutil
from collections.abc import Callable, Sequence

from attnrobust.console import log_to
from attnrobust.disk import provenance, runs, stamps
from attnrobust.disk.runs import ORIGINS, Run
from attnrobust.explanations import UNATTACKED
from attnrobust.stages import origin, surrogate
from attnrobust.stages.context import Context
from attnrobust.stages.ready import ready

log = logging.getLogger("attnrobust")


def train(context: Context) -> None:
    """Records to `train/weights.h5`, `train/history.jsonl` and TensorBoard events."""
    spread, chief = None, True
    if context.machines == "multi_worker":
        from attnrobust.training import strategy

        # First of all: TensorFlow joins the other workers before it does anything else.
        spread = strategy.multi_worker()
        chief = strategy.is_chief(spread)
    dataset = context.dataset()
    with context.run.stage(
        "train",
        used=context.asked("train"),
        inputs=dataset.hash,
        notes={"again": list(context.again)},
        force=context.force,
        writes=chief,
    ) as folder:
        if folder is not None:
            from attnrobust.models import precision
            from attnrobust.training import fit, strategy

            precision.tensor_float_32(allowed=context.experiment.training.tf32)
            spread = spread or strategy.mirrored()
            devices = strategy.devices()
            log.info("training on %s, %d in all", ", ".join(devices), spread.num_replicas_in_sync)
            model = fit.train(context.experiment, dataset, folder, spread)
            if chief:
                origin.remember(context, dataset, model, devices)
    if chief:
        # Not before the stage is stamped: until then a kill would lose all epochs with it.
        shutil.rmtree(context.run.path("train", "state"), ignore_errors=True)


def adopt(context: Context) -> None:
    """A model trained elsewhere to `adopt/adopted.json`: what it is, what was told of it."""
    dataset = context.dataset()
    with context.run.stage(
        "adopt",
        used=context.asked("adopt"),
        inputs=dataset.hash,
        notes={"again": list(context.again)},
        force=context.force,
    ) as folder:
        if folder:
            from attnrobust.stages import adoption
            from attnrobust.training import strategy

            model, found = adoption.adopt(context, dataset.classes)
            origin.remember(context, dataset, model, strategy.devices(), found)
            # Last: it says that all the rest is there.
            runs.save_json(folder / "adopted.json", found)


def predict(context: Context) -> None:
    """Weights and records to `predict/clean.npz`, validation.npz and a file a corruption."""
    with context.run.stage(
        "predict",
        used=context.asked("predict"),
        inputs=context.weights_digest(),
        notes=context.notes(),
        force=context.force,
    ) as folder:
        if folder:
            from attnrobust.stages import prediction

            dataset = context.dataset()
            prediction.predict(context.experiment, dataset, folder, context.trained(dataset))


def attack(context: Context) -> None:
    """Weights and records to one `attack/<label>/<attack>-<epsilon>.npz` for each epsilon."""
    from attnrobust.attacks.methods import row_of
    from attnrobust.attacks.sweep import Sweep

    scale = context.epsilon_scale()
    notes = {
        **context.notes(),
        "norm": row_of(context.experiment.attack).norm,
        "command": provenance.command(),
        "epsilon_scale": scale,
    }
    with context.run.stage(
        context.place("attack"),
        used=context.asked("attack"),
        inputs=context.weights_digest(),
        notes=notes,
        force=context.force,
    ) as folder:
        if folder:
            dataset = context.dataset()
            setting = context.experiment.attack.in_pixels(scale)
            experiment = dataclasses.replace(context.experiment, attack=setting)
            replicas = context.trained(dataset)
            if context.experiment.adopted.file:
                from attnrobust.stages import adoption

                adoption.require_gradients(context, replicas.model)
            Sweep(experiment, dataset, replicas).run(folder)


def check(context: Context) -> None:
    """The attack doubted in other ways: `check/<label>/checks.json`."""
    run, dataset, place = context.run, context.dataset(), context.place("check")
    stamp = None if context.force else run.stamp(place)
    # A run that was trained after the check does not undo it.
    other = (
        surrogate.as_now(context, stamp.get("surrogate"))
        if stamp
        else surrogate.find(context, dataset)
    )
    notes = {**context.notes(), "surrogate": other}
    sweep = run.attacked(context.label)
    inputs = stamps.check_inputs(context.weights_digest(), sweep / "stage.json", other)
    with run.stage(
        place, used=context.asked("check"), inputs=inputs, notes=notes, force=context.force
    ) as folder:
        if folder:
            from attnrobust.attacks import doubts, sanity

            # As the sweep was made, whatever these settings say.
            experiment = dataclasses.replace(
                context.experiment, attack=run.attacks()[context.label]
            )
            kind = doubts.DOUBTS[dataset.kind]
            subject = kind.subject.of_sweep(
                experiment,
                dataset,
                context.trained(dataset),
                sweep,
                surrogate.loaded(context, other, dataset),
            )
            sanity.check(subject, folder, kind.checks)


def evaluate(context: Context) -> None:
    """Logits of all attacks, and all heatmaps, to `evaluate/measurements.csv`."""
    # Cheap and wholly derived, so it is made anew whenever asked.
    run = context.run
    # Runs are measured with or without heatmaps; those that are measured must be these.
    notes = {"explained": run.explained()}
    with run.stage("evaluate", used={}, inputs=run.measured(), notes=notes, renew=True) as folder:
        if folder:
            from attnrobust.stages import evaluation

            evaluation.evaluate(run, folder)


def explain(context: Context) -> None:
    """Sample images to heatmaps in `explain/<label>/`, what the model makes of them, numbers."""
    label = context.explained()
    attacked = context.run.attacked(label) if label else None
    # Without an attack the same images are explained, but under a name of their own.
    place = context.place("explain") if label else f"explain/{UNATTACKED}"
    number = context.experiment.attack.samples
    used = {**context.asked("explain"), **({} if label else {"samples": number})}
    inputs = context.weights_digest()
    if attacked:
        inputs = runs.digest(inputs, attacked / "stage.json")
    with context.run.stage(
        place, used=used, inputs=inputs, notes=context.notes(), force=context.force
    ) as folder:
        if folder:
            from attnrobust.explanations import faithfulness, randomisation, stage

            dataset, data = context.dataset(), context.experiment.data
            replicas = context.trained(dataset)
            images = (
                stage.of_attack(context.run.attacks()[label], attacked)
                if attacked
                else stage.unattacked(replicas, dataset, data, number, folder)
            )
            setting, seed = context.experiment.explanation, context.experiment.seed
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
    comparison.write(context.run, label)


def report(context: Context) -> None:
    """One page on this run: `reports/<dataset>-<experiment>-seed-<n>/index.html`."""
    from attnrobust.report import page

    # What was done, not what these settings would do.
    page.write([Run.open(context.run.root)], context.page())


def export(context: Context) -> None:
    """Weights to `export/saved_model/`, checked in a fresh process; records are not needed."""
    context.check_network()
    learned_from = (context.run.stamp(context.run.origin) or {})["inputs"]
    inputs = runs.digest(context.run.require_model(), learned_from)
    with context.run.stage("export", used={}, inputs=inputs, force=context.force) as folder:
        if folder:
            from attnrobust.stages import export as exporting

            model, data = context.trained().model, context.experiment.data
            exporting.export(model, exporting.drawn(data.image_size), folder)
            exporting.write_card(folder, context.learned(), data.image_size)


STAGES: dict[str, Callable[[Context], None]] = {
    "train": train,
    "adopt": adopt,
    "predict": predict,
    "attack": attack,
    "check": check,
    "explain": explain,
    "evaluate": evaluate,
    "report": report,
    "export": export,
}


def in_order(asked: Sequence[str], *, origin: str = "train") -> list[str]:
    """The stages of a command in the order that an image goes through them.

    Args:
        asked: Their names; `all` for each.
        origin: The stage that the model comes from; `all` leaves the other one out.
    """
    every = [name for name in STAGES if name not in ORIGINS or name == origin]
    return [name for name in STAGES if name in asked or ("all" in asked and name in every)]


def run_stages(context: Context, stages: Sequence[str]) -> None:
    """Do the stages in order; `log.txt` in the run keeps what was said."""
    log.info("%s", context.run.root)
    ready(context, stages)
    # Tracing makes many short-lived objects. The collector need not go through the 300,000 that
    # imports left each time: a tenth of a small run's CPU seconds.
    gc.freeze()
    with log_to(context.run.path("log.txt")):
        for name in stages:
            try:
                STAGES[name](context)
            except Exception as error:
                # TensorFlow's, which name no file and no record.
                if type(error).__name__ in ("DataLossError", "InvalidArgumentError"):
                    context.verify()
                raise
