"""What can be known of an explanation before there are heatmaps: methods, layers, classes."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence

from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.explanations.baselines import BASELINES
from attnrobust.explanations.methods import EXPLANATIONS, require_fit
from attnrobust.models import build, networks

# Words of `explanation.target` that are no class.
OWN, TRUE = "prediction", "label"


def ready(
    setting: config.Explanation,
    model: config.Model,
    *,
    classes: Sequence[str],
    size: int,
    given: Callable[[], keras.Model] | None = None,
) -> None:
    """What can be known before there are weights; the network is built where its names must be.

    Args:
        setting: Methods, layer, target.
        model: The network, whatever its weights.
        classes: Names of its logits.
        size: Height and width of its images.
        given: Loads the network, where it was trained elsewhere.

    Raises:
        UserError: No such method, baseline or class; no such layer, or one that gives no (H, W, C)
            map, for a method that needs one; no soft attention for one that shows it; a method that
            does not explain class maps.
    """
    rows = [config.lookup("explanation.methods", EXPLANATIONS, name) for name in setting.methods]
    if networks.kind_of(model.backbone) == "segment":
        require_fit(setting.methods, model.backbone)
    config.lookup("explanation.baseline", BASELINES, setting.baseline)
    if setting.target not in (OWN, TRUE):
        class_of(setting.target, classes)
    if given:
        if any(row.needs_layer or row.needs_attention for row in rows):
            require(given(), setting)
        return
    taps = networks.row_of(model.backbone).taps if model.cut == "full" else ()
    unknown = setting.layer not in ("features", *taps) and any(row.needs_layer for row in rows)
    if unknown or any(row.needs_attention for row in rows):
        require(
            build.build(
                dataclasses.replace(model, weights="none"), classes=len(classes), image_size=size
            ),
            setting,
        )


def class_of(target: str, classes: Sequence[str]) -> int:
    """The class that `explanation.target` names, or gives the number of.

    Raises:
        UserError: There is none.
    """
    if target in classes:
        return list(classes).index(target)
    if target.isdecimal() and int(target) < len(classes):
        return int(target)
    raise UserError(
        f"explanation.target = {target}: {_near(target, classes)}expected {OWN}, {TRUE}, a class "
        f"({', '.join(classes)}) or its number, 0 to {len(classes) - 1}"
    )


def require(model: keras.Model, setting: config.Explanation) -> None:
    """Raise a UserError unless the model has what the methods look at."""
    for name in setting.methods:
        row = EXPLANATIONS[name]
        if row.needs_layer:
            _require_layer(model, setting.layer, name)
        if row.needs_attention and build.attention_model(model) is None:
            raise UserError(
                f"explanation.methods '{name}': the network has no soft attention; "
                "model.head says which head it has"
            )


def _require_layer(model: keras.Model, layer: str, method: str) -> None:
    names = [each.name for each in model.layers]
    convolution = any(isinstance(each, keras.layers.Conv2D) for each in model.layers)
    if not convolution and "features" not in names:
        raise UserError(
            f"explanation.methods '{method}': the network has no convolution in sight; "
            "integrated_gradients, say, needs none"
        )
    if layer not in names:
        ends = ("_out", "_ac", "_relu")
        maps = [name for name in names if name.endswith(ends)]
        raise UserError(
            f"explanation.layer '{layer}': no such layer; {_near(layer, names)}features is the map "
            f"the head receives; others: {', '.join(maps[-9:])}"
        )
    if len(_shape(model.get_layer(layer))) != 4:
        raise UserError(f"explanation.layer '{layer}' gives no (H, W, C) feature map")


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(near)}? " if near else ""


def _shape(layer: keras.layers.Layer) -> tuple[int | None, ...]:
    shape = layer.output_shape
    # Input layers and layers with several outputs give a list.
    return tuple(shape) if isinstance(shape, tuple) else ()
