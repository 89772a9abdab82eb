"""EXPLANATIONS: images and targets to heatmaps, float32 (N, H, W), 0 or larger, not normalised."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

# (model, images (N, H, W, 3) in [0, 1], targets (N,), layer name) to heatmaps (N, H, W)
Explanation = Callable[[keras.Model, np.ndarray, np.ndarray, str], np.ndarray]


def grad_cam(model: keras.Model, images: np.ndarray, targets: np.ndarray, layer: str) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) of the target's logit.

    The maps are those of tf-keras-vis, and resized as there: linearly, from the layer's size to
    the image's, corner to corner. A model that does not depend on the layer gives zeros.
    """
    from scipy.ndimage import zoom
    from tf_keras_vis.utils import zoom_factor

    maps = _class_maps(model, layer)(
        tf.convert_to_tensor(images, tf.float32), tf.convert_to_tensor(targets, tf.int32)
    ).numpy()
    heatmaps = zoom(maps, zoom_factor(maps.shape, images.shape), order=1)
    return np.asarray(heatmaps, dtype=np.float32)


@functools.lru_cache(maxsize=1)
def _class_maps(model: keras.Model, layer: str) -> Callable[..., tf.Tensor]:
    """Images and targets to maps of the layer's size; the last one asked for is kept compiled.

    In a graph only what leads to the maps is computed: the derivative of what comes after the
    layer, for its activations alone. The eager tape of tf-keras-vis also computes those for all
    weights there, which costs three times as much and, on a narrow network with an odd batch,
    meets the fault of TensorFlow's oneDNN that `models.backbones.resnet` names.
    """
    tap = keras.Model(model.input, [model.get_layer(layer).output, model.output])
    size = [None, *model.input_shape[1:]]

    @tf.function(input_signature=[tf.TensorSpec(size, tf.float32), tf.TensorSpec([None], tf.int32)])
    def maps(images: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        features, logits = tap(images, training=False)
        score = tf.gather(logits, targets, axis=1, batch_dims=1)
        (slopes,) = tf.gradients(score, features, unconnected_gradients="zero")
        # Under mixed precision, the sums are float32.
        slopes, features = tf.cast(slopes, tf.float32), tf.cast(features, tf.float32)
        weights = tf.reduce_mean(slopes, axis=(1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))

    return maps


EXPLANATIONS: dict[str, Explanation] = {"grad_cam": grad_cam}
