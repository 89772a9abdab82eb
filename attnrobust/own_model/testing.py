"""A model that was trained elsewhere, tested on somebody's own images: `attnrobust test`.

records -> adopt -> predict -> first look -> attack -> check -> explain -> evaluate -> page
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from attnrobust import config
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.own_model import look
from attnrobust.stages.context import RECORDS, RUNS, Context
from attnrobust.stages.pipeline import run_stages
from attnrobust.stages.ready import ready

if TYPE_CHECKING:
    import pandas as pd

    from attnrobust.data.own import Found

log = logging.getLogger("attnrobust")

STAGES = ("adopt", "predict", "attack", "check", "explain", "evaluate")
EPSILONS = ("0.5/255", "1/255", "2/255", "4/255")
METHODS = ("grad_cam", "integrated_gradients")


@dataclass(frozen=True)
class Asked:
    """What a model is tested on, and where the results go.

    Attributes:
        adopted: The model, and how it is to be read.
        found: The images.
        name: Of the run; made from the model's file where empty.
        dataset: Name of the records; made from where the images are where empty.
        image_size: Height and width that the model sees; None: what its file demands.
        stored_size: Height and width that images are stored at; 0: their own.
        everything: Test images of all splits that the data has.
        max_rejects: Largest share of images that may be unusable.
        settings: `key=value`, as `--set` reads them.
        records: Folder of the records of all data sets.
        runs: Where runs are kept.
        force: Make the stages anew.
        label: What the attack is called in the run; its own name where empty.
        again: Words after `attnrobust test` that call it up again, for the page.
    """

    adopted: config.Adopted
    found: Found
    name: str = ""
    dataset: str = ""
    image_size: int | None = None
    stored_size: int = 0
    everything: bool = False
    max_rejects: float = 0.01
    settings: Sequence[str] = ()
    records: Path = RECORDS
    runs: Path = RUNS
    force: bool = False
    label: str = ""
    again: Sequence[str] = ()


def run(asked: Asked, stages: Sequence[str] = STAGES) -> Run:
    """Do these stages; the first look at clean predictions comes before any attack.

    Args:
        asked: Model, images, places.
        stages: In order.

    Raises:
        UserError: The model or the images cannot be used as asked; the preprocessing was not
            given, or the model is not better than chance with it.
    """
    from attnrobust.models import adopted

    size = asked.image_size or adopted.image_size(asked.adopted)
    if size is None:
        raise UserError(
            f"{asked.adopted.file}: takes images of any size; say the one it was trained at with "
            "--size"
        )
    _require_known(asked.found, asked.adopted.classes)
    _say_resized(asked.found, size)
    dataset = asked.dataset or runs.safe_name(asked.found.name)
    folder = _records(asked, dataset)
    experiment = _experiment(asked, dataset=dataset, folder=folder.name, size=size)
    context = Context(
        Run.of(experiment, asked.runs),
        folder,
        asked.force,
        name=asked.label,
        again=asked.again,
    )
    if not asked.adopted.preprocess:
        _require_preprocessing(context)
    if "explain" in stages:
        context = _explainable(context, asked)
    ready(context, stages)
    first = [name for name in stages if name in ("adopt", "predict")]
    if first:
        run_stages(context, first)
    if "predict" in first:
        look.look(context)
    rest = [name for name in stages if name not in first]
    if {"check", "explain"} & set(rest) and not adopted.told(context.trained().model).gradients:
        log.warning("warning: the model gives no derivatives: no check, no heatmap without them")
        rest = [name for name in rest if name not in ("check", "explain")]
    run_stages(context, rest)
    return Run.open(context.run.root)


def _require_known(found: Found, classes: Sequence[str]) -> None:
    """Raise a UserError where the data has a class that is none of the model's.

    Args:
        found: As read with these classes: what has another is among the rejects.
        classes: Of the model.
    """
    others = (each.reason for each in found.rejects if each.reason.startswith("class '"))
    for name in sorted({reason.split("'")[1] for reason in others}):
        near = difflib.get_close_matches(name, classes, n=1)
        hint = f"; is it '{near[0]}'?" if near else ""
        raise UserError(f"classes {', '.join(classes)}: the data has '{name}', too{hint}")


def _say_resized(found: Found, size: int) -> None:
    """Warn where images are of another size than the model takes."""
    for row in found.rows[:20]:
        with contextlib.suppress(OSError), Image.open(row.path) as image:
            if image.size != (size, size):
                log.warning(
                    "warning: %s has %d x %d pixels, the model takes %d x %d: images are resized; "
                    "was it trained on images resized so?",
                    row.path.name,
                    *image.size,
                    size,
                    size,
                )
                return


def _experiment(asked: Asked, *, dataset: str, folder: str, size: int) -> config.Experiment:
    base = config.Experiment(
        name=asked.name or _stem(asked),
        data=config.Data(dataset=dataset, records=folder, image_size=size),
        # Of the words that describe our own networks these two fit, for tables.
        model=config.Model(backbone=_stem(asked), head="given", weights="none"),
        adopted=asked.adopted,
        explanation=config.Explanation(methods=METHODS),
    )
    return config.with_settings(base, [f"attack.epsilons={','.join(EPSILONS)}", *asked.settings])


def _explainable(context: Context, asked: Asked) -> Context:
    """Without those of our own methods that need a feature map, where the model shows none."""
    from attnrobust.explanations.methods import EXPLANATIONS
    from attnrobust.models import adopted

    chosen = any(word.startswith("explanation.methods=") for word in asked.settings)
    if chosen or adopted.told(context.adopted(context.dataset().classes).model).features:
        return context
    left = [name for name in METHODS if not EXPLANATIONS[name].needs_layer]
    experiment = config.with_settings(context.experiment, [f"explanation.methods={','.join(left)}"])
    return dataclasses.replace(context, run=Run.of(experiment, asked.runs))


def _stem(asked: Asked) -> str:
    return runs.safe_name(Path(asked.adopted.file.replace(":", ".")).stem)


def _records(asked: Asked, dataset: str) -> Path:
    """The records of these images: those that were written before, if nothing has changed."""
    from attnrobust.data import own, raw, shards

    found = asked.found
    # Those of arrays lie in a folder that is another each time.
    told = raw.content_hash if found.held else _file
    lines = [f"{row.id} {row.label} {row.group} {row.split} {told(row.path)}" for row in found.rows]
    words = "\n".join([f"{asked.stored_size} {asked.everything}", *found.classes, *lines])
    place = asked.records / f"{dataset}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"
    if (place / "dataset.json").is_file():
        log.info("records: %s, written before", place)
    else:
        how = shards.Preparation(size=asked.stored_size, max_rejects=asked.max_rejects)
        own.write(found, place, name=dataset, how=how, test_only=True, everything=asked.everything)
    return place


def _file(path: Path) -> str:
    """A file's place, size and time: what tells whether it has changed."""
    there = path.stat() if path.is_file() else None
    return f"{path.resolve()} {there.st_size} {there.st_mtime_ns}" if there else str(path)


def _require_preprocessing(context: Context) -> None:
    """Nothing where the model is seen to do it itself; else the diagnosis, and an error."""
    from attnrobust.models import adopted

    setting = context.experiment.adopted
    if adopted.proven(setting):
        return
    best = look.diagnose(context)
    raise UserError(
        f"{setting.file}: how are images prepared for it? Say it with --preprocess "
        f"({', '.join(adopted.PREPROCESSING)}, or mean and deviation); a diagnosis by the "
        f"labels is best for {best}"
    )


def table(run: Run) -> pd.DataFrame:
    """What was measured, tidy, as in `measurements.csv`.

    Raises:
        UserError: Nothing was.
    """
    run.require("evaluate")
    return schemas.load_table(
        run.path("evaluate", "measurements.csv"), schemas.MEASUREMENTS, stage="evaluate"
    )


def adopted_of(model: str, **more: object) -> config.Adopted:
    """A model as the command line names it; of a file the whole path, so that it is found again."""
    place = Path(model).expanduser()
    code = re.fullmatch(r"[\w.]+:\w+", model) and not place.exists()
    return dataclasses.replace(
        config.Adopted(file=model if code else str(place.resolve())),
        **more,  # type: ignore[arg-type]
    )
