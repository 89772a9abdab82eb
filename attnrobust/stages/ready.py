"""READY: all that can be known of the stages before the first of them begins.

From settings, records and tables: a mistyped word of a late stage must not cost a night of
training. Every stage says what it asks for in its own module; here stands which is asked when.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attnrobust.errors import UserError
from attnrobust.stages.context import Context

if TYPE_CHECKING:
    from tensorflow import keras

# Stages that read the run's folder alone.
WITHOUT_RECORDS = {"evaluate", "report", "export"}


@dataclass(frozen=True)
class Plan:
    """A stage that a command will come to.

    Attributes:
        context: The run.
        before: Stages that the command does before it.
        trained: Runs that the command trains before this one.
    """

    context: Context
    before: Collection[str]
    trained: Collection[Path]

    def require(self, stage: str) -> None:
        """Raise a UserError unless a stage has finished or comes before."""
        if stage not in self.before:
            self.context.run.require(stage)

    def require_network(self) -> None:
        """Raise a UserError unless this network has been trained, or comes to be."""
        if self.context.run.origin not in self.before:
            self.context.check_network()

    def require_same(self, stage: str) -> None:
        """Raise a UserError where results of other settings stand in the stage's place."""
        context = self.context
        if not context.force:
            context.run.refuse_other(context.place(stage), context.asked(stage))


def ready(context: Context, stages: Sequence[str], *, trained: Collection[Path] = ()) -> None:
    """Ask every stage whether it could begin, as far as that can be known.

    Args:
        context: The run.
        stages: In order.
        trained: Runs that will be trained before.

    Raises:
        UserError: The first thing that does not fit.
    """
    if context.machines == "mirrored" and set(stages) - WITHOUT_RECORDS:
        # First of all, since the rest may take a while.
        from attnrobust.data import records

        records.require(context.records)
    for place, name in enumerate(stages):
        READY[name](Plan(context, stages[:place], trained))


def train(plan: Plan) -> None:
    """Rows of `model` and `training`, the weights that it starts from, records, rare classes."""
    from attnrobust.training import balance, phases
    from attnrobust.training import ready as training

    context = plan.context
    if context.experiment.adopted.file:
        raise UserError(
            f"adopted.file = {context.experiment.adopted.file}: that model is trained already; "
            "begin with 'adopt'"
        )
    if context.run.finished("train") and not context.force:
        return  # Kept, or refused before anything else.
    training.ready(context.experiment)
    start = context.experiment.training.start
    if start and context.run.beside(start) not in plan.trained:
        phases.started_from(context.run)
    if context.machines == "mirrored":  # Else TensorFlow joins the other workers first.
        dataset = context.dataset()
        training.fits(context.experiment, dataset)
        balance.ready(dataset, context.experiment)


def adopt(plan: Plan) -> None:
    """The file, and how it is to be read."""
    from attnrobust.models import adopted

    context = plan.context
    if not context.experiment.adopted.file:
        raise UserError("adopted.file: empty; expected a model that was trained elsewhere")
    plan.require_same("adopt")
    adopted.digest(context.experiment.adopted)  # It is there.


def predict(plan: Plan) -> None:
    """Corruptions, the test split."""
    from attnrobust.stages import prediction

    plan.require_network()
    prediction.ready(plan.context.experiment, plan.context.dataset())
    plan.require_same("predict")


def attack(plan: Plan) -> None:
    """Attack, its loss and its target, first passes, radii, its name in the run."""
    from attnrobust.attacks import checks
    from attnrobust.attacks.methods import EVERY
    from attnrobust.stages import prediction

    context, setting = plan.context, plan.context.experiment.attack
    checks.settings(setting)
    if context.label in EVERY and context.label != setting.name:
        raise UserError(f"--as {context.label}: that is another attack than {setting.name}")
    plan.require_network()
    dataset = context.dataset()
    checks.ready(setting, dataset.classes, dataset.kind)
    prediction.ready(context.experiment, dataset)
    if setting.scale != "pixels":
        checks.settings(setting.in_pixels(_input_scale(plan, len(dataset.classes))))
    plan.require_same("attack")


def _input_scale(plan: Plan, classes: int) -> float:
    """What 1 in [0, 1] pixels is in the scale of the first layer, also before there are weights."""
    if plan.context.run.origin not in plan.before:
        return plan.context.epsilon_scale()
    from attnrobust.models import build

    experiment = plan.context.experiment
    if experiment.adopted.file:
        return build.input_scale(_given(plan.context)())
    model = dataclasses.replace(experiment.model, weights="none")
    return build.input_scale(
        build.build(model, classes=classes, image_size=experiment.data.image_size)
    )


def check(plan: Plan) -> None:
    """The attack that is doubted."""
    from attnrobust.attacks import checks

    context = plan.context
    plan.require_network()
    setting = context.experiment.attack
    if "attack" not in plan.before:
        context.run.attacked(context.label)
        setting = context.run.attacks()[context.label]
    checks.doubtable(setting, context.dataset().classes)
    plan.require_same("check")


def evaluate(plan: Plan) -> None:
    """Predictions."""
    plan.require("predict")


def explain(plan: Plan) -> None:
    """Methods, layer, the attack whose images are explained, what the machine computes in."""
    from attnrobust.explanations import UNATTACKED, precision, ready

    context = plan.context
    experiment = context.experiment
    plan.require_network()
    ready.ready(
        experiment.explanation,
        experiment.model,
        classes=context.dataset().classes,
        size=experiment.data.image_size,
        given=_given(context) if experiment.adopted.file else None,
    )
    label = context.label if "attack" in plan.before else context.explained()
    if label:
        plan.require_same("explain")
    place = context.place("explain") if label else f"explain/{UNATTACKED}"
    if context.force or not context.run.finished(place):
        # What is finished is kept, wherever it was made.
        precision.require(experiment.explanation.precision)


def _given(context: Context) -> Callable[[], keras.Model]:
    return lambda: context.adopted(context.dataset().classes).model


def report(plan: Plan) -> None:
    """Measurements, a free place for the page."""
    from attnrobust.report import page

    if not plan.context.run.path("evaluate", "measurements.csv").is_file():
        plan.require("evaluate")
    page.require_free(plan.context.page(), [plan.context.run.root])


def export(plan: Plan) -> None:
    """The network."""
    plan.require_network()


READY: dict[str, Callable[[Plan], None]] = {
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
