"""Standard fine-tuning of a robust model, of ever more of its layer groups from the head back.

After Margeloiu et al. 2020, appendix D and figure 13: what is not fine-tuned goes on extracting
robust features. Theirs are five groups of a ResNet-18; ours are the head and what lies between the
taps of BACKBONES, six of that network, since its first convolution is one of its own.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from attnrobust import config
from attnrobust.disk import folders, runs, stamps
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.stages import pipeline
from attnrobust.stages.context import Context, records_of

log = logging.getLogger("attnrobust")

# The paper's: a small learning rate and early stopping after ten epochs without a better loss.
SETTINGS = (
    "training.method=standard",
    "training.head_epochs=0",
    "training.optimizer=adam",
    "training.adam_epsilon=1e-7",
    "training.learning_rate=1e-5",
    "training.schedule=plateau",
    "training.plateau_epochs=5",
    "training.patience=10",
    "training.min_delta=0",
    "training.start=",
    "training.sampling=none",
)
LABEL = "unfreeze"


def unfreeze(
    run: Run,
    records: Path,
    out: Path,
    settings: Sequence[str],
    groups: Sequence[int] = (),
    *,
    standard: Run | None = None,
    force: bool = False,
) -> pd.DataFrame:
    """Write `unfreeze.csv` and `unfreeze.png`; the fine-tuned runs stand in `runs/` below `out`.

    Each of them starts from the run's weights. All, and copies of the run itself and of the
    standard one, are attacked alike, under the label `unfreeze`; the runs given stay as they are.
    What is done already is kept, unless `force` is set.

    Args:
        run: Trained, robust or not.
        records: Folder of the records, or of several data sets' records.
        out: Folder.
        settings: `key=value` changes of the fine-tuning and of the attack.
        groups: Numbers of groups; each there is where empty.
        standard: A run trained on the same records in the standard way, to set beside them.

    Returns:
        A row for each number of groups (0: the run itself; none: the standard one) and epsilon (0:
        no attack): accuracy with its 95 % interval, as `metrics.proportion` makes it.

    Raises:
        UserError: Not trained yet, settings that do not fit, a standard run on other data, or
            results of other weights or settings in `out`, other files there, or a run.
    """
    base, folder = run.experiment, records_of(records, run.experiment.data)
    weights = run.require("train") / "weights.h5"
    if standard:
        _require_alike(standard, run)
    given = [each.root for each in (run, standard) if each]
    # What is attacked and fine-tuned stands below `runs`, wherever a link there may lead.
    folders.require_apart(out / "runs", given)
    folders.require_ours(out, "unfreeze", inputs=given)
    asked = _asked(base, settings)
    tuned = {
        number: _tuned(asked, weights, number) for number in _ready(run, asked, folder, groups)
    }
    used = {
        "weights": runs.digest(weights),
        "settings": list(settings),
        "attack": dataclasses.asdict(asked.attack),
        "version": stamps.version("attack"),
    }
    folders.claim(out, "unfreeze", used, inputs=given, force=force)
    roots: dict[int | None, Path] = {}
    for number, source in ((None, standard), (0, run)):
        if source:
            roots[number] = _attacked(source, out / "runs", folder, asked.attack, force=force)
    for number, (experiment, own) in tuned.items():
        again = [
            *run.again("train"),
            "--records",
            str(folder),
            *_words([*SETTINGS, *settings, *own]),
        ]
        context = Context(Run.of(experiment, out / "runs"), folder, force, name=LABEL, again=again)
        pipeline.run_stages(context, ["train", "predict", "attack"])
        roots[number] = context.run.root
    return _measured(roots, asked.attack, out)


def _ready(
    run: Run, asked: config.Experiment, records: Path, groups: Sequence[int]
) -> Sequence[int]:
    """The numbers of groups, rising, once all that can be known has been asked.

    Args:
        run: Trained.
        asked: Of the fine-tuning and of the attack.
        records: Folder of the records.
        groups: Numbers of groups; each there is where empty.

    Raises:
        UserError: Settings that cannot be, or more groups than there are.
    """
    from attnrobust.attacks import checks
    from attnrobust.attacks.methods import untargeted
    from attnrobust.attacks.outputs import require_plain
    from attnrobust.training import phases
    from attnrobust.training import ready as training

    untargeted(asked.attack, "unfreeze")
    require_plain(asked.attack, "unfreeze")
    context = Context(run, records)
    dataset = context.dataset()
    checks.ready(asked.attack, dataset.classes)
    network = dataclasses.replace(asked.model, weights="none")
    training.ready(dataclasses.replace(asked, model=network))
    most = len(phases.starts(context.trained(dataset).model, network.backbone))
    if groups and max(groups) > most:
        raise UserError(
            f"--groups {max(groups)}: expected at most {most}, the layer groups of "
            f"{network.backbone} and the head"
        )
    return sorted(groups) or range(1, most + 1)


def _attacked(run: Run, out: Path, records: Path, attack: config.Attack, *, force: bool) -> Path:
    """Where a copy of the run, under this attack, is below `out`."""
    alike = dataclasses.replace(run.experiment, attack=attack)
    copy = _copied(run, out, alike, force=force)
    again = [*run.again("train"), "--records", str(records), *_words(_texts(attack))]
    context = Context(copy, records, name=LABEL, again=again)
    pipeline.run_stages(context, ["predict", "attack"])
    return copy.root


def _tuned(
    asked: config.Experiment, weights: Path, number: int
) -> tuple[config.Experiment, list[str]]:
    """The experiment that fine-tunes so many groups, and the settings that make it so."""
    own = [
        f"training.groups={number}",
        f"model.weights={weights.resolve()}",
        f"name={asked.name}-groups-{number}",
    ]
    return config.with_settings(asked, own), own


def _measured(roots: dict[int | None, Path], attack: config.Attack, out: Path) -> pd.DataFrame:
    """The table and its figure, written to `out`."""
    from attnrobust.studies import unfreezing_table as page

    table = page.measure(roots, attack, LABEL)
    with runs.atomic(out / "unfreeze.csv") as temporary:
        table.to_csv(temporary, index=False)
    page.draw(table, out / "unfreeze.png", norm=Run.open(roots[0]).norm(LABEL))
    log.info("unfreeze: %s, %s", out / "unfreeze.csv", out / "unfreeze.png")
    return table


def _asked(base: config.Experiment, settings: Sequence[str]) -> config.Experiment:
    for each in settings:
        if each.partition(".")[0] not in ("training", "attack"):
            raise UserError(f"--set {each}: unfreeze takes settings of training and attack")
    return config.with_settings(base, [*SETTINGS, *settings])


def _words(settings: Sequence[str]) -> list[str]:
    return [word for each in settings for word in ("--set", each)]


def _texts(attack: config.Attack) -> list[str]:
    """All settings of an attack as --set reads them."""
    values = dataclasses.asdict(attack)
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in values.items()
    }
    return [f"attack.{name}={text}" for name, text in texts.items()]


def _require_alike(standard: Run, run: Run) -> None:
    """Both trained, on the same data, under names of their own."""
    standard.require("train")
    for key in ("dataset", "task", "image_size"):
        theirs, ours = getattr(standard.experiment.data, key), getattr(run.experiment.data, key)
        if theirs != ours:
            raise UserError(
                f"--standard {standard.root}: data.{key} is {theirs!r}, expected that "
                f"of {run.root}, {ours!r}"
            )
    if standard.root.parts[-2:] == run.root.parts[-2:]:
        raise UserError(
            f"--standard {standard.root}: expected a run of another experiment or seed "
            f"than {run.root}"
        )


def _copied(run: Run, folder: Path, experiment: config.Experiment, *, force: bool) -> Run:
    """What a run was trained to, below `folder`: attacking it leaves the run itself as it is."""
    copy = Run.of(experiment, folder)
    folders.require_apart(copy.root, [run.root])
    if force and copy.root.exists():
        if folders.manifest(copy.root, "copy") is None:
            raise UserError(
                f"{copy.root}: not known as a copy (no copy.json of ours); expected "
                "one, or nothing: remove it, or name another --out"
            )
        shutil.rmtree(copy.root)
    mine, theirs = run.path("train", "weights.h5"), copy.path("train", "weights.h5")
    if copy.path("config.json").is_file() and runs.digest(mine) != runs.digest(theirs):
        raise UserError(
            f"{copy.root} was copied from other weights than {run.root} has now; add "
            "--force to make all of it anew"
        )
    if not copy.path("config.json").is_file():
        runs.save_json(copy.path("copy.json"), {"format": folders.named("copy")})
        shutil.copytree(run.path("train"), copy.path("train"), dirs_exist_ok=True)
        for name in ("provenance.json", "config.json"):
            with runs.atomic(copy.path(name)) as temporary:
                shutil.copyfile(run.path(name), temporary)
    return copy
