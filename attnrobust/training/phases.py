"""PHASES: which part of the network learns in an epoch; the head alone first, or never the stem.

A network is a row of layer groups: up to each of its backbone's taps, from the image on, and last
the head. What does not learn keeps its weights, and its BatchNorm its averages.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from tensorflow import keras

from attnrobust import config
from attnrobust.data.records import Dataset
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models import networks

log = logging.getLogger("attnrobust")
HEAD = 1


def learning(setting: config.Training, epoch: int) -> int | None:
    """How many groups learn in an epoch, counted from 0; groups from the head back; None: all."""
    return HEAD if epoch < setting.head_epochs else setting.groups


def choose(model: keras.Model, backbone: str, groups: int | None) -> None:
    """Have the last groups learn and no other; to be followed by `compile`.

    Args:
        model: From `build`.
        backbone: Its row of BACKBONES or SEGMENTERS.
        groups: How many, 1 for the head alone; None for all.

    Raises:
        UserError: More groups than the network has.
    """
    first = 0
    if groups is not None:
        places = starts(model, backbone)
        if groups > len(places):
            raise UserError(
                f"training.groups = {groups}: expected at most {len(places)}, the layer groups of "
                f"{backbone} and the head"
            )
        first = places[-groups]
    for place, layer in enumerate(model.layers):
        layer.trainable = place >= first


def starts(model: keras.Model, backbone: str) -> list[int]:
    """Places among `model.layers` where its groups begin, the one at the image first."""
    names = [layer.name for layer in model.layers]
    # Layers stand in the order of their depth, and all goes through a tap. The last tap, where the
    # cut is, has nothing but the head behind it.
    behind = [names.index(tap) + 1 for tap in networks.row_of(backbone).taps if tap in names]
    end = names.index("features")
    return [0, *(place for place in behind if place < end), end + 1]


def start(experiment: config.Experiment, dataset: Dataset, folder: Path) -> config.Model:
    """The network with the weights that `training.start` names, for a stage's folder.

    Raises:
        UserError: That run is not there, or was not trained to its end.
    """
    if not experiment.training.start:
        return experiment.model
    run = started_from(runs.Run(folder.parent, experiment))
    weights = run.path("train", "weights.h5")
    log.info("starting from %s", weights)
    if (run.stamp("train") or {}).get("inputs") != dataset.hash:
        log.warning(
            "warning: %s was trained on other records; test images may be among them", run.root
        )
    return dataclasses.replace(experiment.model, weights=str(weights))


def started_from(run: runs.Run) -> runs.Run:
    """The trained run that `training.start` names.

    Raises:
        UserError: It is not there, or was not trained to its end.
    """
    experiment, name = run.experiment, run.experiment.training.start
    before = run.beside(name)
    if not before.joinpath("config.json").is_file():
        raise UserError(
            f"training.start = {name}: no run {before}; expected a trained one: python "
            f"-m attnrobust run {experiment.data.dataset}.{name} train --seed {experiment.seed}"
        )
    found = runs.Run.open(before)
    found.require("train")
    return found
