"""EXPLANATIONS: images and targets to heatmaps, explained on logits, not normalised.

A method gives attributions, one for each value of the image or each place. How their channels
become one map is said here and nowhere else: `heatmap` is the sum of absolute values (Margeloiu et
al. 2020, appendix B), `signed` the sum as it is, where the method's row is signed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.explanations import precision
from attnrobust.explanations.attention import attention
from attnrobust.explanations.base import Batch, NotFinite, Row
from attnrobust.explanations.cams import grad_cam, grad_cam_pp, layer_cam, score_cam
from attnrobust.explanations.gradients import (
    gradient,
    gradient_x_input,
    integrated_gradients,
    smooth_grad,
)
from attnrobust.explanations.occlusion import occlusion


def heatmaps(
    method: str, model: keras.Model, batch: Batch, setting: config.Explanation
) -> dict[str, np.ndarray]:
    """Explain images by a row of EXPLANATIONS.

    Returns:
        `heatmap` (N, H, W) float32, 0 or larger; `signed` (N, H, W) float32 where the row is;
        where theory says what attributions add up to, `logit_difference` (N,), that sum, and
        `completeness_error` (N,), how far from it they are, both float32; where their number was
        not settled before, `gradients` (N,), how many were taken.

    Raises:
        NotFinite: A map is not; named with its image.
    """
    row = EXPLANATIONS[method]
    with precision.computing(setting.precision):
        attributions, difference, gradients = row.explain(model, batch, setting)
    for id_, each in zip(batch.ids, attributions, strict=True):
        if not np.isfinite(each).all():
            raise NotFinite(f"explanation.methods '{method}': the map of image {id_} is not finite")
    found = {"heatmap": np.abs(attributions).sum(axis=-1)}
    if row.signed:
        found["signed"] = attributions.sum(axis=-1)
    if difference is not None:
        total = attributions.sum(axis=(1, 2, 3), dtype=np.float64)
        found["logit_difference"] = difference.astype(np.float32)
        found["completeness_error"] = np.abs(total - difference).astype(np.float32)
    if gradients is not None:
        found["gradients"] = gradients
    return found


def require_fit(methods: Sequence[str], segmenter: str) -> None:
    """Raise a UserError unless all methods explain a model that gives every pixel a class."""
    for name in methods:
        if why := EXPLANATIONS[name].unfit:
            fit = ", ".join(each for each, row in EXPLANATIONS.items() if not row.unfit)
            raise UserError(
                f"explanation.methods '{name}': {segmenter} gives every pixel a class, and {why}; "
                f"expected of {fit}"
            )


EXPLANATIONS: dict[str, Row] = {
    "gradient": Row(gradient, signed=True),
    "gradient_x_input": Row(gradient_x_input, signed=True),
    "smooth_grad": Row(smooth_grad, signed=True, random=True),
    "integrated_gradients": Row(integrated_gradients, signed=True, random=True),
    "occlusion": Row(occlusion, signed=True),
    "grad_cam": Row(grad_cam, needs_layer=True),
    "grad_cam_pp": Row(
        grad_cam_pp,
        needs_layer=True,
        unfit="its weights are those of the exponential of one logit, not of a sum over pixels",
    ),
    "layer_cam": Row(layer_cam, needs_layer=True),
    "score_cam": Row(
        score_cam,
        needs_layer=True,
        unfit="its softmax over logits that are summed over all pixels leaves a single map",
    ),
    "attention": Row(attention, needs_attention=True, unfit="it shows a head with soft attention"),
}
