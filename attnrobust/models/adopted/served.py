"""A SavedModel that Keras did not write, or wrote for serving alone: one layer, all inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow import keras

from attnrobust.errors import UserError

SIGNATURE = "serving_default"


@keras.saving.register_keras_serializable(package="attnrobust")
class Served(keras.layers.Layer):
    """A serving signature of a SavedModel.

    Args:
        folder: Of the SavedModel.

    Shapes: images (B, H, W, C) -> dict of outputs by name, as the signature gives them.

    Attributes:
        spec: Shape and dtype of the one input.

    Raises:
        UserError: No signature, or one that does not take images alone.
    """

    def __init__(self, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        # Kept, since its variables live as long as it does.
        self.loaded = tf.saved_model.load(folder)
        self.function = _signature(self.loaded, folder)
        ((self.input_key, self.spec),) = self.function.structured_input_signature[1].items()
        # Keras does not look for variables inside a function.
        self._non_trainable_weights.extend(self.function.variables)

    def call(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        images = inputs
        if self.spec.dtype.is_integer:
            images = tf.round(images)
        outputs: dict[str, tf.Tensor] = self.function(
            **{self.input_key: tf.cast(images, self.spec.dtype)}
        )
        return outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "folder": self.folder}


def opened(path: Path) -> keras.Model:
    """The SavedModel as a model of one layer, `served`, with its outputs by name.

    Raises:
        UserError: No signature that takes images alone.
    """
    layer = Served(str(path), name="served")
    if layer.spec.shape.rank != 4:
        raise UserError(
            f"{path}: its signature takes {layer.spec.shape}; expected images (B, H, W, C)"
        )
    images = keras.Input(layer.spec.shape[1:], name="fed")
    return keras.Model(images, layer(images), name="served_model")


def _signature(loaded: Any, folder: str) -> Any:
    signatures = getattr(loaded, "signatures", {})
    if not signatures:
        raise UserError(
            f"{folder}: a SavedModel without a serving signature; write it with "
            "tf.saved_model.save(…, signatures=…), model.export(…) or model.save(…)"
        )
    name = SIGNATURE if SIGNATURE in signatures else min(signatures)
    function = signatures[name]
    inputs = function.structured_input_signature[1]
    if len(inputs) != 1:
        raise UserError(
            f"{folder}: signature {name} takes {', '.join(sorted(inputs)) or 'nothing'}; expected "
            "images alone"
        )
    return function
