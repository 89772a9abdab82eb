"""What is installed, which devices and records there are, how large the models are."""

from __future__ import annotations

import importlib
import logging
import platform
from collections.abc import Sequence
from pathlib import Path

from attnrobust import config, provenance
from attnrobust.errors import UserError

log = logging.getLogger("attnrobust")

SMALL_MODELS = [
    config.Model(backbone, head, width=width)
    for backbone, width in (("mobilenet", 0.75), ("resnet18", 1.0))
    for head in ("gap", "soft_attention")
]


def doctor(records: Path) -> None:
    """Print versions, devices, records and the table of models.

    Args:
        records: Folder that holds one folder of records a data set.
    """
    log.info("python %s, %s", platform.python_version(), platform.platform())
    for package, version in provenance.versions().items():
        log.info("  %-20s %s", package, version)
    _devices()
    _records(records)
    _models()


def forecast(name: str, settings: Sequence[str], folder: Path) -> None:
    """Measure a step of an experiment and print what it will take.

    Args:
        name: `<dataset>.<experiment>`, as below `experiments/`.
        settings: `key=value` changes.
        folder: Holds the records; their counts are needed.

    Raises:
        UserError: No such experiment, or no records of its data set.
    """
    known = sorted(
        f"{path.parent.name}.{path.stem}" for path in Path("experiments").glob("*/[!_]*.py")
    )
    config.lookup("experiment", dict.fromkeys(known, True), name)
    experiment = importlib.import_module(f"experiments.{name}").EXPERIMENT
    experiment = config.with_settings(experiment, settings)

    from attnrobust import forecast as measuring
    from attnrobust.data import folds, records

    dataset = records.load(folder / experiment.data.dataset).as_task(experiment.data.task)
    if experiment.data.folds:
        dataset = folds.as_fold(dataset, experiment.data.folds, experiment.data.fold)
    measuring.forecast(
        experiment, classes=len(dataset.classes), train=dataset.count("train"),
        test=dataset.count("test"),
    )  # fmt: skip


def _devices() -> None:
    import tensorflow as tf

    log.info("\ndevices")
    for device in tf.config.list_physical_devices():
        details = tf.config.experimental.get_device_details(device)
        log.info("  %-20s %s", device.name, details.get("device_name", ""))


def _records(folder: Path) -> None:
    from attnrobust.data import records

    log.info("\nrecords in %s", folder)
    found = sorted(path.parent for path in folder.glob("*/dataset.json"))
    if not found:
        log.info("  none; make them with python -m tfrecords.<dataset> --raw DIR")
    for root in found:
        try:
            dataset = records.load(root)
        except UserError as error:
            log.info("  %-20s %s", root.name, error)
            continue
        counts = ", ".join(f"{split} {dataset.count(split):,}" for split in dataset.splits)
        log.info("  %-20s %d classes, %d px, %s", root.name, len(dataset.classes), dataset.size,
                 counts)  # fmt: skip


def _models() -> None:
    from attnrobust.models import build

    log.info("\nmodels, 7 classes")
    line = "  %-20s %-24s %-8s %-8s %12s %10s %8s"
    log.info(line, "backbone", "head", "cut", "variant", "parameters", "attention", "share")
    rows = build.parameter_table([*build.PAPER_MODELS, *SMALL_MODELS])
    for row in rows:
        log.info(line, row.backbone, row.head, row.cut, row.variant or "-", f"{row.parameters:,}",
                 f"{row.attention:,}" if row.attention else "-",
                 f"{row.share:.2f} %" if row.attention else "-")  # fmt: skip
    log.info("attention: weights of the soft-attention layer; share: of all other weights.\n"
             "The paper variant has one weight more, the learnable scale gamma.")  # fmt: skip
    total = {row.variant: row.parameters for row in rows if row.backbone == "resnet50"}
    log.info("ResNet-50 as a whole grows by %.2f %%, its last layer being twice as wide; Wasserman "
             "says 'less than 1.3 %%'.", 100 * (total["literal"] / total[""] - 1))  # fmt: skip
