"""Model config -> Keras model: backbone, cut, head, starting weights.

Every model maps float32 RGB images in [0, 1], (B, H, W, 3), to float32 logits (B, classes), or of
every pixel (B, H, W, classes), under every precision policy. It is one flat functional model with
three stable layer names: `features` (what the head receives), `logits`, and `soft_attention` where
there is one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.models import networks
from attnrobust.models.backbones.base import Stored
from attnrobust.models.heads import HEADS, pixels


class ParameterRow(NamedTuple):
    """How large a model is.

    Attributes:
        backbone: Row of BACKBONES.
        head: Row of HEADS.
        cut: Where the head is put on.
        variant: Reading of the soft attention; empty without it.
        parameters: Number of weights, trainable or not.
        attention: Those of the soft-attention layer.
        share: `attention` as a percentage of all the others.
    """

    backbone: str
    head: str
    cut: str
    variant: str
    parameters: int
    attention: int
    share: float


# The models of Wasserman, section 3.3, each with its twin without attention.
PAPER_MODELS: tuple[config.Model, ...] = (
    config.Model("resnet50", "gap"),
    config.Model("resnet50", "soft_attention", variant="paper"),
    config.Model("resnet50", "soft_attention", variant="literal"),
    config.Model("inception_resnet_v2", "flatten", cut="literal"),
    config.Model("inception_resnet_v2", "soft_attention_flatten", cut="literal", variant="paper"),
    config.Model("inception_resnet_v2", "soft_attention_flatten", cut="literal", variant="literal"),
)


def ready(model: config.Model, *, image_size: int) -> None:
    """What can be known of a network before it is built.

    Raises:
        UserError: Unknown backbone, head or cut, too small an image, no such weights file.
    """
    row = networks.row_of(model.backbone)
    if networks.kind_of(model.backbone) == "classify":
        config.lookup("model.head", HEADS, model.head)
    elif model.head:
        raise UserError(
            f"model.head = {model.head}: {model.backbone} gives every pixel its logits and has no "
            "head; leave it empty"
        )
    config.lookup(f"model.cut of {model.backbone}", row.cuts, model.cut)
    if image_size < row.smallest:
        raise UserError(
            f"data.image_size = {image_size}: {model.backbone} needs at least {row.smallest}"
        )
    if image_size % row.multiple:
        raise UserError(
            f"data.image_size = {image_size}: {model.backbone} needs a multiple of {row.multiple}"
        )
    if model.weights not in ("none", "imagenet") and not Path(model.weights).expanduser().is_file():
        raise UserError(
            f"model.weights = {Path(model.weights).expanduser()}: no such file; expected imagenet, "
            "none or a Keras .h5 file"
        )


def build(model: config.Model, *, classes: int, image_size: int, again: str = "") -> keras.Model:
    """The network that `model` describes; same seed, same initial weights.

    Seed it with `keras.utils.set_random_seed` before; to train on several devices, call it inside
    the strategy's scope.

    Args:
        model: Backbone, cut, head, weights. A weights file may hold the uncut backbone, with or
            without its ImageNet top, or this whole model as `save_weights("x.h5")` wrote it.
        classes: Number of logits.
        image_size: Height and width of the images, in pixels.
        again: What to do where the weights file is damaged, for the message.

    Raises:
        UserError: Unknown backbone, head or cut; width or image size that the backbone lacks;
            weights that cannot be downloaded or read, or do not fit.
    """
    ready(model, image_size=image_size)
    row, head = networks.row_of(model.backbone), HEADS.get(model.head, pixels)
    cut = row.cuts[model.cut]
    stored: Stored = []
    if model.weights not in ("none", "imagenet"):
        stored = _read(Path(model.weights), again)
    whole = "logits" in dict(stored)

    images = keras.Input((image_size, image_size, 3), name="image", dtype="float32")
    backbone = row.build(images, model.width, "imagenet" if model.weights == "imagenet" else None)
    if stored and not whole:
        _load(
            backbone, row.translate(stored), model.weights, spare=1
        )  # the ImageNet top is one layer
    # A layer of its own, so that Grad-CAM has one target name in every model.
    features = keras.layers.Activation("linear", name="features")(cut(backbone))
    logits = head(features, classes=classes, model=model)
    name = "_".join(filter(None, (model.backbone, model.head)))
    network = keras.Model(images, logits, name=name)
    if whole:
        _load(network, stored, model.weights, spare=0)
    return network


def attention_model(model: keras.Model) -> keras.Model | None:
    """The same network, weights shared, that also returns its attention map.

    Returns:
        A model with the outputs {"logits": (B, classes), "attention_map": (B, h, w) float32, the
        sum of the K maps}; None when `model` has no soft attention.
    """
    if all(layer.name != "soft_attention" for layer in model.layers):
        return None
    _, attention = model.get_layer("soft_attention").output
    return keras.Model(model.input, {"logits": model.output, "attention_map": attention})


def count_parameters(model: keras.Model) -> tuple[int, int]:
    """Number of weights, trainable or not: of the whole model, and of its soft attention (or 0)."""
    attention = (layer for layer in model.layers if layer.name == "soft_attention")
    return model.count_params(), sum(layer.count_params() for layer in attention)


def input_scale(model: keras.Model) -> float:
    """What a step of 1 in [0, 1] pixels becomes in the numbers the first layer receives."""
    layer = model.get_layer("preprocessing")
    ends = (layer(np.full((1, 1, 1, 3), value, np.float32)).numpy() for value in (0, 1))
    black, white = ends
    return float(np.abs(white - black).max())


def parameter_table(
    models: Iterable[config.Model] = PAPER_MODELS, *, classes: int = 7
) -> list[ParameterRow]:
    """Sizes of `models` at each backbone's usual image size; their weights are not loaded."""
    rows = []
    for model in models:
        below, shape = _backbone_size(model.backbone, model.width, model.cut)
        features = keras.Input(shape)
        head = config.lookup("head", HEADS, model.head)(features, classes=classes, model=model)
        above, attention = count_parameters(keras.Model(features, head))
        total = below + above
        rows.append(
            ParameterRow(
                backbone=model.backbone,
                head=model.head,
                cut=model.cut,
                variant=model.variant if attention else "",
                parameters=total,
                attention=attention,
                share=100 * attention / (total - attention),
            )
        )
    return rows


@functools.cache
def _backbone_size(backbone: str, width: float, cut: str) -> tuple[int, tuple[int, ...]]:
    """Number of weights below the head, and the map (h, w, C) it receives.

    Built once for all heads: 1-6 s on a CPU.
    """
    row = networks.row_of(backbone)
    images = keras.Input((row.size, row.size, 3), name="image", dtype="float32")
    features = row.cuts[cut](row.build(images, width, None))
    return keras.Model(images, features).count_params(), tuple(features.shape[1:])


def _read(path: Path, again: str) -> Stored:
    """The layers with weights of a Keras .h5 file, in its order, which is topological.

    Raises:
        UserError: Not HDF5, damaged, or without Keras' list of layers.
    """
    path = path.expanduser()
    remedy = f"; {again}" if again else ""
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)  # a file of model.save() nests them
            groups = {name: root[name] for name in _attribute(root, "layer_names")}
            stored = [
                (name, [np.asarray(group[key]) for key in _attribute(group, "weight_names")])
                for name, group in groups.items()
            ]
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: not a readable HDF5 file ({_one_line(error)}){remedy}") from error
    stored = [(name, arrays) for name, arrays in stored if arrays]
    for name, arrays in stored:
        if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
            raise UserError(
                f"{path}: layer {name} holds numbers that are not finite; expected "
                f"weights of a training that did not break down{remedy}"
            )
    if not stored:
        raise UserError(
            f"{path}: not a Keras weights file (it lists no layers)"
            + (remedy or "; write one with model.save_weights('x.h5'), not 'x.weights.h5'")
        )
    return stored


def _attribute(group: h5py.Group, key: str) -> list[str]:
    """A list of names; Keras splits long ones over key0, key1, … (HDF5 allows 64 kB each)."""
    if key in group.attrs:
        chunks = [group.attrs[key]]
    else:
        numbered = (f"{key}{index}" for index in itertools.count())
        present = itertools.takewhile(group.attrs.__contains__, numbered)
        chunks = [group.attrs[part] for part in present]
    return [name.decode() if isinstance(name, bytes) else name for name in itertools.chain(*chunks)]


def _load(network: keras.Model, stored: Stored, path: str, *, spare: int) -> None:
    """Puts `stored` into `network`, layer by layer in topological order, when all of it fits.

    Args:
        spare: So many further layers at the end of the file are ignored.

    Raises:
        UserError: First layer whose shapes differ, or number of layers.
    """
    layers = [layer for layer in network.layers if layer.weights]
    for layer, (name, arrays) in zip(layers, stored, strict=False):
        needed = [tuple(weight.shape) for weight in layer.weights]
        found = [array.shape for array in arrays]
        if needed != found:
            raise UserError(
                f"{path}: layer '{name}' holds {found}, but layer '{layer.name}' of "
                f"{network.name} needs {needed}"
            )
    if not len(layers) <= len(stored) <= len(layers) + spare:
        raise UserError(
            f"{path}: {len(stored)} layers with weights, but {network.name} has {len(layers)}"
        )
    for layer, (_, arrays) in zip(layers, stored, strict=False):
        layer.set_weights(arrays)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
