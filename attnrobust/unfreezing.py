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

from attnrobust import config, ownership, pipeline, runs, stamps
from attnrobust.errors import UserError
from attnrobust.runs import Run
from attnrobust.walk import Walk

log = logging.getLogger("attnrobust")

# The paper's: a small learning rate and early stopping after ten epochs without a better loss.
SETTINGS = (
    "training.method=standard", "training.head_epochs=0", "training.optimizer=adam",
    "training.adam_epsilon=1e-7", "training.learning_rate=1e-5", "training.schedule=plateau",
    "training.plateau_epochs=5", "training.patience=10", "training.min_delta=0",
    "training.start=", "training.sampling=none",
)  # fmt: skip
LABEL = "unfreeze"


def unfreeze(
    run: Run, records: Path, out: Path, settings: Sequence[str], groups: Sequence[int] = (), *,
    standard: Run | None = None, force: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Write `unfreeze.csv` and `unfreeze.png`; the fine-tuned runs stand in `runs/` below `out`.

    Each of them starts from the run's weights. All, and copies of the run itself and of the
    standard one, are attacked alike, under the label `unfreeze`; the runs given stay as they are.
    What is done already is kept, unless `force` is set.

    Args:
        run: Trained, robust or not.
        records: Folder that holds one folder of records a data set.
        out: Folder.
        settings: `key=value` changes of the fine-tuning and of the attack.
        groups: Numbers of groups; each there is where empty.
        standard: A run trained on the same records in the standard way, to set beside them.

    Returns:
        A row for each number of groups (0: the run itself; none: the standard one) and epsilon (0:
        no attack): accuracy with Wilson's 95 % interval.

    Raises:
        UserError: Not trained yet, settings that do not fit, a standard run on other data, or
            results of other weights or settings in `out`, other files there, or a run.
    """
    from attnrobust.attacks.methods import untargeted
    from attnrobust.attacks.outputs import require_plain
    from attnrobust.report import unfreezing as page
    from attnrobust.training import phases

    base = run.experiment
    weights = run.require("train") / "weights.h5"
    folder = records / base.data.folder
    if standard:
        _require_alike(standard, run)
    asked = _asked(base, settings)
    untargeted(asked.attack, "unfreeze")
    require_plain(asked.attack, "unfreeze")
    used = {"weights": runs.digest(weights), "settings": list(settings),
            "attack": dataclasses.asdict(asked.attack),
            "version": stamps.version("attack")}  # fmt: skip
    given = [each.root for each in (run, standard) if each]
    # What is attacked and fine-tuned stands below `runs`, wherever a link there may lead.
    ownership.require_apart(out / "runs", given)
    ownership.claim(out, "unfreeze", used, inputs=given, force=force)
    roots: dict[int | None, Path] = {}
    for number, source in ((None, standard), (0, run)):
        if source:
            alike = dataclasses.replace(source.experiment, attack=asked.attack)
            copy = _copied(source, out / "runs", alike, force=force)
            again = [
                *source.again("train"),
                "--records",
                str(folder),
                *_words(_texts(alike.attack)),
            ]
            walk = Walk(copy, folder, name=LABEL, again=again)
            pipeline.walk_through(walk, ["predict", "attack"])
            roots[number] = copy.root
    if not groups:
        model = walk.trained(walk.dataset()).model
        groups = range(1, len(phases.starts(model, base.model.backbone)) + 1)
    for number in sorted(groups):
        own = [f"training.groups={number}", f"model.weights={weights.resolve()}",
               f"name={base.name}-groups-{number}"]  # fmt: skip
        tuned = config.with_settings(asked, own)
        again = [*run.again("train"), "--records", str(folder),
                 *_words([*SETTINGS, *settings, *own])]  # fmt: skip
        walk = Walk(Run.of(tuned, out / "runs"), folder, force, name=LABEL, again=again)
        pipeline.walk_through(walk, ["train", "predict", "attack"])
        roots[number] = walk.run.root
    table = page.measure(roots, asked.attack, LABEL)
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
    texts = {name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
             for name, value in values.items()}  # fmt: skip
    return [f"attack.{name}={text}" for name, text in texts.items()]


def _require_alike(standard: Run, run: Run) -> None:
    """Both trained, on the same data, under names of their own."""
    standard.require("train")
    for key in ("dataset", "task", "image_size"):
        theirs, ours = getattr(standard.experiment.data, key), getattr(run.experiment.data, key)
        if theirs != ours:
            raise UserError(f"--standard {standard.root}: data.{key} is {theirs!r}, expected that "
                            f"of {run.root}, {ours!r}")  # fmt: skip
    if standard.root.parts[-2:] == run.root.parts[-2:]:
        raise UserError(f"--standard {standard.root}: expected a run of another experiment or seed "
                        f"than {run.root}")  # fmt: skip


def _copied(run: Run, folder: Path, experiment: config.Experiment, *, force: bool) -> Run:
    """What a run was trained to, below `folder`: attacking it leaves the run itself as it is."""
    copy = Run.of(experiment, folder)
    ownership.require_apart(copy.root, [run.root])
    if force and copy.root.exists():
        if ownership.manifest(copy.root, "copy") is None:
            raise UserError(f"{copy.root}: not known as a copy (no copy.json of ours); expected "
                            "one, or nothing: remove it, or name another --out")  # fmt: skip
        shutil.rmtree(copy.root)
    mine, theirs = run.path("train", "weights.h5"), copy.path("train", "weights.h5")
    if copy.path("config.json").is_file() and runs.digest(mine) != runs.digest(theirs):
        raise UserError(f"{copy.root} was copied from other weights than {run.root} has now; add "
                        "--force to make all of it anew")  # fmt: skip
    if not copy.path("config.json").is_file():
        runs.save_json(copy.path("copy.json"), {"format": ownership.named("copy")})
        shutil.copytree(run.path("train"), copy.path("train"), dirs_exist_ok=True)
        for name in ("provenance.json", "config.json"):
            with runs.atomic(copy.path(name)) as temporary:
                shutil.copyfile(run.path(name), temporary)
    return copy
