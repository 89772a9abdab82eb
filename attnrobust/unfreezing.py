"""Standard fine-tuning of a robust model, of ever more of its layer groups from the head back.

After Margeloiu et al. 2020, appendix D: what is not fine-tuned goes on extracting robust features.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from attnrobust import config, pipeline, runs
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
    force: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """Write `unfreeze.csv` and `unfreeze.png`; the fine-tuned runs stand in `runs/` below `out`.

    Each of them starts from the run's weights. All, and the run itself, are attacked alike, under
    the label `unfreeze`. What is done already is kept, unless `force` is set.

    Args:
        run: Trained, robust or not.
        records: Folder that holds one folder of records a data set.
        out: Folder.
        settings: `key=value` changes of the fine-tuning and of the attack.
        groups: Numbers of groups; each there is where empty.

    Returns:
        A row for each number of groups (0: the run itself) and epsilon (0: no attack): accuracy
        with Wilson's 95 % interval.

    Raises:
        UserError: Not trained yet, settings that do not fit, or results of other weights or
            settings in `out`.
    """
    from attnrobust.attacks.methods import untargeted
    from attnrobust.report import unfreezing as page
    from attnrobust.training import phases

    base = run.experiment
    weights = run.require("train") / "weights.h5"
    folder = records / base.data.folder
    for each in settings:
        if each.partition(".")[0] not in ("training", "attack"):
            raise UserError(f"--set {each}: unfreeze takes settings of training and attack")
    asked = config.with_settings(base, [*SETTINGS, *settings])
    untargeted(asked.attack, "unfreeze")
    if force:
        (out / "settings.json").unlink(missing_ok=True)
    runs.claim(out / "settings.json", {"weights": runs.digest(weights), "settings": list(settings),
                                       "attack": dataclasses.asdict(asked.attack)})  # fmt: skip
    first = config.with_settings(base, [each for each in settings if each.startswith("attack.")])
    walk = Walk(Run(run.root, first), folder, name=LABEL)
    pipeline.walk_through(walk, ["predict"])
    walk.force = force
    pipeline.walk_through(walk, ["attack"])
    if not groups:
        model = walk.trained(walk.dataset()).model
        groups = range(1, len(phases.starts(model, base.model.backbone)) + 1)
    roots = {0: run.root}
    for number in sorted(groups):
        tuned = config.with_settings(asked, [
            f"training.groups={number}", f"model.weights={weights.resolve()}",
            f"name={base.name}-groups-{number}",
        ])  # fmt: skip
        walk = Walk(Run.of(tuned, out / "runs"), folder, force, name=LABEL)
        pipeline.walk_through(walk, ["train", "predict", "attack"])
        roots[number] = walk.run.root
    table = page.measure(roots, asked.attack, LABEL)
    with runs.atomic(out / "unfreeze.csv") as temporary:
        table.to_csv(temporary, index=False)
    page.draw(table, out / "unfreeze.png")
    log.info("unfreeze: %s, %s", out / "unfreeze.csv", out / "unfreeze.png")
    return table
