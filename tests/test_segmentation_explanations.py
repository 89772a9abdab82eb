"""Heatmaps of models that give every pixel a class: one class's logits, summed over the image."""

from __future__ import annotations

import numpy as np
import pixel_helpers
import pytest
import tensorflow as tf

from attnrobust import config, task
from attnrobust.explanations import faithfulness
from attnrobust.explanations.base import Batch
from attnrobust.explanations.methods import EXPLANATIONS, heatmaps
from attnrobust.task import overlap

WEIGHTS, BIAS = np.array([[0, 2, -1], [1, 0, 3], [0, -4, 0]]), np.array([0.5, 0, -1])
FEW = config.Explanation(
    smooth_samples=3,
    integration_steps=5,
    baseline_draws=2,
    # Squares of two pixels, side by side.
    occlusion_patch=56,
    occlusion_stride=56,
    occlusion_drop="logit",
)


def explained(name: str, replicas, images, targets, setting: config.Explanation = FEW):
    ids = np.array([f"i{place}" for place in range(len(images))])
    return heatmaps(name, replicas.model, Batch(images, np.asarray(targets), ids, 0), setting)


def test_gradient_of_a_linear_model_is_the_weights_of_its_class():
    """Each pixel's logit depends on that pixel alone, so that nothing else adds up in the sum."""
    images = pixel_helpers.images(3)
    found = explained("gradient", pixel_helpers.linear(WEIGHTS, BIAS), images, [0, 1, 2])
    for place, heat in enumerate(found["heatmap"]):
        assert heat == pytest.approx(np.full(heat.shape, np.abs(WEIGHTS[:, place]).sum()))
    assert found["signed"][1] == pytest.approx(np.full((8, 8), -2))
    times = explained("gradient_x_input", pixel_helpers.linear(WEIGHTS, BIAS), images, [0, 1, 2])
    assert times["signed"][2] == pytest.approx(images[2] @ WEIGHTS[:, 2], rel=1e-5)


def test_integrated_gradients_add_up_to_the_difference_of_summed_logits():
    images, black = pixel_helpers.images(2), config.Explanation(baseline="black")
    replicas = pixel_helpers.linear(WEIGHTS, BIAS)
    found = explained("integrated_gradients", replicas, images, [1, 2], black)
    expected = [(images[place] @ WEIGHTS[:, place + 1]).sum() for place in range(2)]
    assert found["logit_difference"] == pytest.approx(expected, rel=1e-4)
    assert found["completeness_error"] == pytest.approx([0, 0], abs=1e-3)


def test_occlusion_takes_what_the_square_adds_to_the_sum():
    """Squares do not overlap: a pixel's value is what its square of four loses by turning grey."""
    images = pixel_helpers.images(1)
    found = explained("occlusion", pixel_helpers.linear(WEIGHTS, BIAS), images, [1])
    lost = (images[0] - FEW.occlusion_fill) @ WEIGHTS[:, 1]
    squares = lost.reshape(4, 2, 4, 2).sum(axis=(1, 3))
    assert found["signed"][0] == pytest.approx(np.kron(squares, np.ones((2, 2))), abs=1e-4)


def test_grad_cam_weighs_maps_by_the_mean_slope_of_the_summed_logits():
    """By an eager tape, which shares no code with ours."""
    replicas, images = pixel_helpers.convolved(), pixel_helpers.images(3)
    first, last = replicas.model.layers
    setting = config.Explanation(layer=first.name)
    found = explained("grad_cam", replicas, images, [0, 1, 2], setting)["heatmap"]
    for place, image in enumerate(images):
        with tf.GradientTape() as tape:
            features = first(image[None])
            tape.watch(features)
            score = tf.reduce_sum(last(features)[..., place])
        weights = tape.gradient(score, features).numpy().mean(axis=(1, 2))
        expected = np.maximum((features.numpy() * weights[:, None, None]).sum(axis=-1)[0], 0)
        assert found[place] == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", [name for name, row in EXPLANATIONS.items() if not row.unfit])
def test_contract_of_every_method_that_fits(name: str):
    """Shape, type, finite, of the class asked for, and the same alone as among others."""
    replicas, images = pixel_helpers.convolved(), pixel_helpers.images(3)
    row, setting = EXPLANATIONS[name], FEW
    if row.needs_layer:
        setting = config.Explanation(layer=replicas.model.layers[0].name)
    maps = {target: explained(name, replicas, images, [target] * 3, setting) for target in (0, 1)}
    for found in maps.values():
        assert found["heatmap"].shape == (3, 8, 8)
        assert found["heatmap"].dtype == np.float32
        assert np.isfinite(found["heatmap"]).all()
        assert (found["heatmap"] >= 0).all()
        assert ("signed" in found) == row.signed
    assert not np.allclose(maps[0]["heatmap"], maps[1]["heatmap"])
    alone = explained(name, replicas, images[:1], [1], setting)["heatmap"]
    close = {"rtol": 1e-3, "atol": 1e-4 * float(alone.max())}
    np.testing.assert_allclose(alone[0], maps[1]["heatmap"][0], **close)


def test_the_class_of_a_map_is_its_largest_structure():
    maps = np.array([[[0, 0, 2], [2, 1, 0]], [[0, 0, 0], [0, 0, 0]], [[3, 3, 3], [1, 0, 0]]])
    assert overlap.largest(maps).tolist() == [2, 0, 3]
    assert task.main_class(maps).tolist() == [2, 0, 3]
    assert task.main_class(np.array([4, 0])).tolist() == [4, 0]


def test_deletion_follows_the_mean_probability_of_the_class():
    """Class 1 is what is bright: of a half white image, white first, the curve falls steadily.

    Logits 0 and 100 r - 50 are as good as certain, except where the image's mean, 1/2, has taken a
    pixel's place: there the class has 1/2. So the mean goes from 1/2 by 1/4 down, when all
    white is gone, and by 1/4 up as black gives way as well.
    """
    replicas = pixel_helpers.linear([[0, 100], [0, 0], [0, 0]], [0, -50])
    image = np.zeros((1, 8, 8, 3), np.float32)
    image[0, :4] = 1
    areas = faithfulness.causal(
        lambda frames: replicas.forward(frames).numpy(),
        image,
        image[..., 0],
        np.array([1]),
        steps=2,
    )
    assert areas[0] == pytest.approx([(0.5 + 0.25) / 4 + (0.25 + 0.5) / 4])
    assert areas[1] == pytest.approx([(0.5 + 0.75) / 4 + (0.75 + 0.5) / 4])
