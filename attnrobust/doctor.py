"""What is installed, which devices and records there are, how large the models are."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import experiments
from attnrobust import config, stack
from attnrobust.disk import provenance
from attnrobust.errors import UserError
from attnrobust.stages.context import records_of

if TYPE_CHECKING:
    from tensorflow import keras

    from attnrobust.report.paper_kinds import Parameters

log = logging.getLogger("attnrobust")

SMALL_MODELS = [
    config.Model(backbone, head, width=width)
    for backbone, width in (("mobilenet", 0.75), ("resnet18", 1.0))
    for head in ("gap", "soft_attention")
]

# InceptionV3's second classifier, on its 768 channels at 17x17, used in training only: 1x1
# convolution to 128 and 5x5 to 768, each with its BatchNorm, then a layer of five classes.
AUXILIARY = 768 * 128 + 2 * 128 + 5 * 5 * 128 * 768 + 2 * 768 + 768 * 5 + 5


@dataclass(frozen=True)
class Size:
    """A backbone with head `gap` beside a paper's number of parameters.

    Attributes:
        backbone: Row of BACKBONES.
        learnable: Number of weights that learn, which is what the paper counts.
        other: Of those that do not: averages of BatchNorm, numbers of the preprocessing.
        paper: The paper's number.
        reasons: Weights that ours has more than the paper's, or less, by what they are. They add
            up to the whole difference.
    """

    backbone: str
    learnable: int
    other: int
    paper: int
    reasons: dict[str, int]


def doctor(records: Path, *, models: bool = False) -> None:
    """Print versions, devices and records.

    Args:
        records: Folder of a data set's records, or of several such folders.
        models: Also build every model and print how large it is (half a minute).
    """
    log.info("python %s, %s", platform.python_version(), platform.platform())
    for package, version in provenance.versions().items():
        log.info("  %-20s %s", package, version)
    log.info("  %-20s %s", "Keras at work", stack.keras())
    if not stack.has_addons():
        log.info("without tensorflow-addons our own code takes its place: warping.py, kappa.py")
    _devices()
    _records(records)
    if models:
        _models()
        _backbones()


def forecast(name: str, settings: Sequence[str], folder: Path) -> None:
    """Measure a step of an experiment and print what it will take.

    Args:
        name: `<dataset>.<experiment>`, as below `experiments/`.
        settings: `key=value` changes.
        folder: Of the records, or of several data sets' records; their counts are needed.

    Raises:
        UserError: No such experiment, or no records of its data set.
    """
    experiment = config.with_settings(experiments.load(name), settings)

    from attnrobust import forecast as measuring
    from attnrobust.data import folds, inputs, records

    dataset = records.load(records_of(folder, experiment.data)).as_task(experiment.data.task)
    if experiment.data.folds:
        dataset = folds.as_fold(dataset, experiment.data.folds, experiment.data.fold)
    data = experiment.data
    measuring.forecast(
        experiment,
        classes=len(dataset.classes),
        train=inputs.total(dataset, data, experiment.training),
        test=inputs.count(dataset, "test", data.limit),
    )


def _devices() -> None:
    import tensorflow as tf

    log.info("\ndevices")
    for device in tf.config.list_physical_devices():
        details = tf.config.experimental.get_device_details(device)
        log.info("  %-20s %s", device.name, details.get("device_name", ""))


def _records(folder: Path) -> None:
    from attnrobust.data import records

    log.info("\nrecords in %s", folder)
    found = sorted(
        path.parent for path in (*folder.glob("dataset.json"), *folder.glob("*/dataset.json"))
    )
    if not found:
        log.info("  none; make them with attnrobust prepare DATASET --raw DIR")
    for root in found:
        try:
            dataset = records.load(root)
        except UserError as error:
            log.info("  %-20s %s", root.name, error)
            continue
        counts = ", ".join(f"{split} {dataset.count(split):,}" for split in dataset.splits)
        log.info(
            "  %-20s %d classes, %d px, %s", root.name, len(dataset.classes), dataset.size, counts
        )


def _models() -> None:
    from attnrobust.models import build

    log.info("\nmodels, 7 classes")
    line = "  %-20s %-24s %-8s %-8s %12s %10s %8s"
    log.info(line, "backbone", "head", "cut", "variant", "parameters", "attention", "share")
    rows = build.parameter_table([*build.PAPER_MODELS, *SMALL_MODELS])
    for row in rows:
        log.info(
            line,
            row.backbone,
            row.head,
            row.cut,
            row.variant or "-",
            f"{row.parameters:,}",
            f"{row.attention:,}" if row.attention else "-",
            f"{row.share:.2f} %" if row.attention else "-",
        )
    log.info(
        "attention: weights of the soft-attention layer; share: of all other weights.\n"
        "The paper variant has one weight more, the learnable scale gamma."
    )
    total = {row.variant: row.parameters for row in rows if row.backbone == "resnet50"}
    log.info(
        "ResNet-50 as a whole grows by %.2f %%, its last layer being twice as wide; Wasserman "
        "says 'less than 1.3 %%'.",
        100 * (total["literal"] / total[""] - 1),
    )


def size(name: str, published: Parameters) -> Size:
    """Size of a backbone beside the paper's, built at its usual image size (1-3 s)."""
    from attnrobust.models import backbones, build

    model = config.Model(name, "gap", weights="none")
    image = backbones.BACKBONES[name].size
    network = build.build(model, classes=published.classes, image_size=image)
    learnable = sum(weight.shape.num_elements() for weight in network.trainable_weights)
    other = network.count_params() - learnable
    reasons = _reasons(name, network)
    return Size(name, learnable, other, published.backbones[name], reasons)


def _reasons(backbone: str, network: keras.Model) -> dict[str, int]:
    """Why a network of Keras has other weights than PyTorch's, counted on it."""
    kinds = {
        kind: [layer for layer in network.layers if type(layer).__name__ == kind]
        for kind in ("Conv2D", "BatchNormalization")
    }
    if backbone == "resnet50":
        biases = sum(layer.filters for layer in kinds["Conv2D"] if layer.use_bias)
        return {"biases of its convolutions": biases}
    if backbone == "inception_v3":
        scales = sum(layer.beta.shape[0] for layer in kinds["BatchNormalization"])
        return {"no auxiliary classifier": -AUXILIARY, "no scales in BatchNorm": -scales}
    return {}


def _backbones() -> None:
    from attnrobust.report import papers

    for paper in papers.read().values():
        if paper.parameters:
            _sizes(f"{paper.short}, {paper.parameters.source}", paper.parameters)


def _sizes(source: str, published: Parameters) -> None:
    log.info(
        "\nbackbones, %d classes, global average pooling, beside %s", published.classes, source
    )
    line = "  %-20s %12s %10s %12s %10s  %s"
    log.info(line, "backbone", "learnable", "other", "paper", "difference", "reason")
    for name in published.backbones:
        row = size(name, published)
        difference = 100 * (row.learnable / row.paper - 1)
        reasons = ", ".join(f"{reason} ({number:+,})" for reason, number in row.reasons.items())
        log.info(
            line,
            row.backbone,
            f"{row.learnable:,}",
            f"{row.other:,}",
            f"{row.paper:,}",
            f"{difference:+.2f} %",
            reasons or "-",
        )
    log.info(
        "learnable: what the paper counts; other: averages of BatchNorm, the preprocessing.\n"
        "reason: what Keras' network has more or less than PyTorch's."
    )
