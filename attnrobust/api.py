"""The Python API: `attnrobust.test(model, images, labels)`."""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from attnrobust import stack
from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow import keras

    from attnrobust.data.own import Found

__all__ = ["Result", "UserError", "test"]


class Result:
    """What a test found.

    Attributes:
        run: The run directory: every stage's files, as the command line leaves them.
    """

    def __init__(self, run: Run, scratch: Path | None = None) -> None:
        self.run = run
        if scratch:  # Lives as long as this.
            weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)

    @property
    def table(self) -> pd.DataFrame:
        """A row for each number: condition, name, level (epsilon), metric, value, low, high, n.

        Intervals are of 95 %; `interval` says how they were made.
        """
        from attnrobust.own_model import testing

        return testing.table(self.run)

    @property
    def robust_accuracy(self) -> pd.DataFrame:
        """Accuracy by attack and epsilon (0: clean): value, low, high, n."""
        table = self.table
        chosen = (table["metric"] == "accuracy") & table["condition"].isin(["clean", "attack"])
        found = table[chosen].assign(
            attack=table["name"], epsilon=pd.to_numeric(table["level"]).fillna(0.0)
        )
        return found[["attack", "epsilon", "value", "low", "high", "n"]].reset_index(drop=True)

    @property
    def checks(self) -> list[dict[str, str]]:
        """What doubts the attack: name, title, status (pass, note, warn), said, meaning."""
        from attnrobust.disk import schemas

        files = sorted(self.run.root.glob("check/*/checks.json"))
        return [
            check
            for file in files
            for check in schemas.load_json(file, schemas.Checks, "run 'check' again")["checks"]
        ]

    def report(self, out: str | Path) -> Path:
        """Write the page, its figures and tables to a folder; returns the page's path.

        Raises:
            UserError: Other files stand there, or another process writes there.
        """
        from attnrobust.report import page

        return page.write([self.run], Path(out))

    def __repr__(self) -> str:
        """The robust accuracies."""
        return (
            f"Result of {self.run.experiment.name}\n{self.robust_accuracy.to_string(index=False)}"
        )


def test(
    model: keras.Model | str | Path,
    images: np.ndarray | tf.data.Dataset | str | Path,
    labels: np.ndarray | Sequence[int] | None = None,
    *,
    preprocess: str = "",
    epsilons: Sequence[float] | float | None = None,
    attack: str = "linf_pgd",
    classes: Sequence[str] = (),
    groups: Sequence[str] | None = None,
    bgr: bool = False,
    ends: str = "",
    output: str = "",
    check: bool = True,
    explain: bool = True,
    settings: Sequence[str] = (),
    out: str | Path | None = None,
    name: str = "",
    verbose: bool = False,
) -> Result:
    """Attack a classifier on labelled images; measure, doubt the attack, explain.

    Args:
        model: A keras.Model that takes (B, H, W, C), or its file (`.keras`, `.h5`, SavedModel).
        images: (N, H, W, 3) or (N, H, W), uint8 or floats in [0, 1] RGB, as no preprocessing has
            touched them yet; or a tf.data.Dataset of (image, label); or a folder.
        labels: (N,) class numbers; None for a Dataset or a folder.
        preprocess: What the model was trained to see: `unit` ([0, 1]), `minus_one_one`, `caffe`,
            `torch`, `0_255`, `inside`, or mean/deviation such as `0.5/0.25`.
        epsilons: Radii in [0, 1] pixels; 0.5/255 to 4/255 if None.
        attack: Row of `attnrobust list attacks`.
        classes: Names, in the order of the model's outputs.
        groups: (N,) patient or lesion of each image: intervals resample these.
        bgr: The model takes blue, green, red.
        ends: `logits`, `softmax` or `sigmoid`; read off its last layer where empty.
        output: Name of the output, of several.
        check: Doubt the attack in sixteen ways.
        explain: Make heatmaps of some images.
        settings: Others, as `attack.restarts=5`.
        out: Folder for records and runs; a temporary one, gone with the result, if None.
        name: Of the run.
        verbose: Say what is done.

    Raises:
        UserError: In one line, what does not fit; nothing is guessed.
    """
    stack.quiet()
    if lacking := stack.unfit():
        raise UserError(lacking)
    stack.refuse_keras_3(model)
    _listen(verbose)
    from tensorflow import keras

    from attnrobust.models.adopted import memory
    from attnrobust.own_model import testing

    if isinstance(classes, str):
        raise UserError(f"classes = {classes!r}: expected a list of names")
    # Held by this name, until this is done.
    file = memory.hold(model) if isinstance(model, keras.Model) else str(model)
    more: dict[str, Any] = {"preprocess": preprocess, "bgr": bgr, "ends": ends, "output": output}
    more["classes"] = tuple(classes)
    if isinstance(epsilons, int | float):
        epsilons = [epsilons]
    radii = [f"attack.epsilons={','.join(map(str, epsilons))}"] if epsilons is not None else []
    wanted = {"check": check, "explain": explain}
    stages = [stage for stage in testing.STAGES if wanted.get(stage, True)]
    found = _found(images, labels, classes, groups)
    scratch = Path(tempfile.mkdtemp(prefix="attnrobust-")) if out is None else None
    folder = scratch or Path(str(out))
    asked = testing.Asked(
        adopted=testing.adopted_of(file, **more),
        found=found,
        name=name or runs.safe_name(str(getattr(model, "name", ""))),
        settings=[f"attack.name={attack}", *radii, *settings],
        records=folder / "records",
        runs=folder / "runs",
    )
    try:
        return Result(testing.run(asked, stages), scratch)
    except BaseException:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
        raise


def _found(
    images: Any,
    labels: Any,
    classes: Sequence[str],
    groups: Sequence[str] | None,
) -> Found:
    from attnrobust.data import own

    if isinstance(images, str | Path):
        return own.read(Path(images), classes=tuple(classes))
    if labels is None and isinstance(images, np.ndarray):
        raise UserError("labels: none given; expected a class number for each image of the array")
    if labels is None:
        return own.from_dataset(images, classes=tuple(classes))
    return own.from_arrays(images, np.asarray(labels), classes=tuple(classes), groups=groups)


def _listen(verbose: bool) -> None:
    """Say nothing unless asked; a warning's only listener would else be logging's last resort."""
    log = logging.getLogger("attnrobust")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    if not verbose:  # TensorFlow's words on strategies are not the caller's.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if verbose and not any(type(each) is logging.StreamHandler for each in log.handlers):
        log.addHandler(logging.StreamHandler())
    if verbose:
        log.setLevel(logging.INFO)
