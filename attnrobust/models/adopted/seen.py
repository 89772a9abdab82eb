"""What a model shows of itself: its input, outputs, own preprocessing, last feature map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

from attnrobust.config import lookup
from attnrobust.errors import UserError
from attnrobust.models.adopted import flat


class Input(NamedTuple):
    """What a model takes.

    Attributes:
        size: Height and width in pixels; None: any.
        channels: 3, or 1 for grey images.
    """

    size: int | None
    channels: int


def taken(model: keras.Model, file: str) -> Input:
    """What the model takes.

    Raises:
        UserError: Several inputs, no images, channels first, neither grey nor RGB, not square.
    """
    shapes = _input_shapes(model)
    if len(shapes) > 1:
        names = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise UserError(f"{file}: takes {len(shapes)} inputs ({names}); expected images alone")
    if not shapes:
        # A subclassed model that was never called says nothing.
        return Input(None, 3)
    (shape,) = shapes.values()
    if len(shape) != 4:
        raise UserError(f"{file}: takes {shape}; expected images (B, H, W, C)")
    _, height, width, channels = shape
    if height in (1, 3) and channels not in (1, 3):
        raise UserError(
            f"{file}: takes {shape}, channels first (NCHW); expected (B, H, W, C): put a "
            "keras.layers.Permute((3, 1, 2)) in front and save that model"
        )
    if channels not in (1, 3, None):
        raise UserError(f"{file}: takes {channels} channels; expected 3 (RGB) or 1 (grey)")
    if height != width:
        raise UserError(
            f"{file}: takes images of {height} x {width} pixels; expected as many rows as columns"
        )
    return Input(height, channels or 3)


def chosen(outputs: Any, names: list[str], wanted: str, file: str) -> Any:
    """One of the outputs of a model, by its name.

    Args:
        outputs: A tensor, or several in a list or by name.
        names: Of a list's.
        wanted: Name asked for; empty: the only one.
        file: For messages.

    Raises:
        UserError: There are several and none was asked for, or there is no such.
    """
    if isinstance(outputs, Mapping):
        named = dict(outputs)
    elif isinstance(outputs, list | tuple):
        known = names if len(names) == len(outputs) else list(map(str, range(len(outputs))))
        named = dict(zip(known, outputs, strict=True))
    else:
        named = {names[0] if len(names) == 1 else "output": outputs}
    if wanted:
        return lookup(f"output in {file}", named, wanted)
    if len(named) > 1:
        listed = ", ".join(f"{name} {tuple(each.shape)}" for name, each in named.items())
        raise UserError(f"{file}: has several outputs; choose one by --output: {listed}")
    return next(iter(named.values()))


def own_preprocessing(model: keras.Model) -> tuple[str, str]:
    """What the first layers prove of the pixels that a model takes.

    Returns:
        Row of PREPROCESSING and the reason, or two empty strings where nothing is proven.
    """
    if not flat.is_graph(model):
        return "", ""
    for layer, node in flat.calls(model):
        if layer.weights and not isinstance(layer, keras.layers.Normalization):
            break
        row = _proven(layer, node)
        if row:
            return row, f"its layer '{layer.name}' scales pixels itself"
    return "", ""


def last_map(model: keras.Model) -> tuple[int, str]:
    """The last feature map behind a convolution that is no mere pooling of another.

    Returns:
        Number of the call, as `flat.calls` counts them, and the layer's name; -1 where there is
        none.
    """
    found, seen = (-1, ""), False
    for place, (layer, node) in enumerate(flat.calls(model)):
        seen = seen or any(len(weight.shape) == 4 for weight in layer.weights)
        shape = node.output_shapes
        is_map = isinstance(shape, tuple) and len(shape) == 4 and tuple(shape[1:3]) != (1, 1)
        if seen and is_map and not _only_moves(layer):
            found = place, layer.name
    return found


def _input_shapes(model: keras.Model) -> dict[str, tuple[int | None, ...]]:
    if model.inputs:
        return {each.name: tuple(each.shape) for each in model.inputs}
    # A subclassed model knows how it was called before it was saved.
    spec = model.save_spec()
    tensors = tf.nest.flatten(spec[0]) if spec else []
    return {each.name or str(place): tuple(each.shape) for place, each in enumerate(tensors)}


def _only_moves(layer: keras.layers.Layer) -> bool:
    words = ("Pool", "Padding", "Cropping", "UpSampling", "Reshape", "Permute", "Dropout")
    return any(word in type(layer).__name__ for word in words)


def _proven(layer: keras.layers.Layer, node: Any) -> str:
    """What numbers the layer was made for: `inside` for 0 to 255, `unit`, or nothing."""
    if isinstance(layer, keras.layers.Rescaling):
        return _range_of(float(np.max(layer.scale)))
    if isinstance(layer, keras.layers.Normalization) and layer.axis:
        mean, spread = np.asarray(layer.mean), np.asarray(layer.variance) ** 0.5
        if mean.min() > 10 and spread.min() > 5:
            return "inside"
        return "unit" if mean.min() > 0 and mean.max() < 1 and spread.max() < 1 else ""
    if type(layer).__name__ != "TFOpLambda":
        return ""
    # As `preprocess_input` of keras.applications leaves it in a functional model.
    function, numbers = str(layer.get_config()["function"]), _constants(node)
    if len(numbers) == 1 and function in ("math.truediv", "math.multiply") and numbers[0] > 0:
        return _range_of(numbers[0] if function == "math.multiply" else 1 / numbers[0])
    means = np.array([103.939, 116.779, 123.68])
    subtracts = function == "nn.bias_add" and len(numbers) == 3
    return "inside" if subtracts and np.allclose(np.sort(np.abs(numbers)), means) else ""


def _range_of(scale: float) -> str:
    """What is brought to a range about 1 wide, or 2, by this factor."""
    if 0.9 < scale * 255 < 2.1:
        return "inside"
    return "unit" if scale == 2 else ""


def _constants(node: Any) -> list[float]:
    """Numbers among the arguments of a call."""
    flat_ = tf.nest.flatten((node.call_args, node.call_kwargs))
    found: list[float] = []
    for each in flat_:
        if isinstance(each, int | float) and not isinstance(each, bool):
            found.append(float(each))
        elif isinstance(each, tf.Tensor | np.ndarray) and not keras.backend.is_keras_tensor(each):
            found += [float(value) for value in np.asarray(each).ravel()[:4]]
    return found
