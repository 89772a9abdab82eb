"""EXPLANATIONS: images and targets to heatmaps, float32 (N, H, W), 0 or larger, not normalised."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow import keras

# (model, images (N, H, W, 3) in [0, 1], targets (N,), layer name) to heatmaps (N, H, W)
Explanation = Callable[[keras.Model, np.ndarray, np.ndarray, str], np.ndarray]


def grad_cam(model: keras.Model, images: np.ndarray, targets: np.ndarray, layer: str) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017) of the target's logit, through tf-keras-vis.

    The maps are resized linearly from the layer's size to the image's. A model that does not
    depend on the layer gives zeros.
    """
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.scores import CategoricalScore

    heatmaps = Gradcam(model)(
        CategoricalScore([int(target) for target in targets]), images, penultimate_layer=layer,
        seek_penultimate_conv_layer=False, normalize_cam=False,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )  # fmt: skip
    return np.asarray(heatmaps, dtype=np.float32)


EXPLANATIONS: dict[str, Explanation] = {"grad_cam": grad_cam}
