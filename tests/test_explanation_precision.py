"""`explanation.precision`: what bfloat16 changes, what it leaves, and where it is refused."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.explanations import base, precision, ready, stage
from attnrobust.explanations.base import Batch
from attnrobust.explanations.methods import EXPLANATIONS, heatmaps
from attnrobust.models import build

FEW = config.Explanation(
    smooth_samples=3, integration_steps=6, baseline_draws=1, occlusion_patch=70, score_maps=4
)
HALF = dataclasses.replace(FEW, precision="bfloat16")


@pytest.fixture(scope="module")
def bfloat16():
    """Skips where the machine has none."""
    try:
        precision.require("bfloat16")
    except UserError as error:
        pytest.skip(str(error))


def rounded(values):
    """To the nearest bfloat16."""
    return tf.cast(tf.cast(values, tf.bfloat16), tf.float32).numpy()


def batch_of(images, targets):
    return Batch(images, np.asarray(targets), np.array([f"i{k}" for k in range(len(images))]), 0)


def convolution(kernel, weights):
    """Mean over positions of what one convolution finds, weighed."""
    image = keras.Input((16, 16, 3))
    found = keras.layers.Conv2D(kernel.shape[-1], 3, padding="valid", use_bias=False)
    head = keras.layers.Dense(weights.shape[-1], use_bias=False)
    mean = keras.layers.GlobalAveragePooling2D()
    network = keras.Model(image, head(mean(found(image))))
    found.set_weights([kernel])
    head.set_weights([weights])
    return network


def test_a_gradient_goes_back_through_a_rounded_kernel(bfloat16):
    """Of a middle pixel it is the sum of the kernel's nine places, each rounded, over 14 x 14."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 3, 8)).astype(np.float32)
    network = convolution(kernel, np.ones((8, 1), np.float32))
    images = rng.random((2, 16, 16, 3), dtype=np.float32)
    half, full = (
        heatmaps("gradient", network, batch_of(images, [0, 0]), setting)["signed"]
        for setting in (HALF, FEW)
    )
    np.testing.assert_allclose(full[:, 8, 8], kernel.sum() / 196, rtol=1e-5)
    slope = rounded(np.float32(1 / 196))
    wanted = rounded(rounded(kernel).sum(axis=(0, 1, 3), dtype=np.float64) * slope).sum()
    np.testing.assert_allclose(half[:, 8, 8], wanted, rtol=2**-7)
    assert not np.array_equal(half, full)


def test_the_means_and_the_dense_layer_keep_all_digits(bfloat16):
    """Of pixels and a kernel that bfloat16 holds, the logit is as in float32, to 1 in 2 ** 20."""
    kernel = np.zeros((3, 3, 3, 2), np.float32)
    kernel[1, 1, 0, 0] = kernel[1, 1, 1, 1] = 1
    network = convolution(kernel, np.array([[1 + 2**-12], [3 - 2**-11]], np.float32))
    images = np.random.default_rng(1).integers(0, 129, (4, 16, 16, 3)).astype(np.float32) / 128
    with precision.computing("bfloat16"):
        logits = base.scored(base.scores(network), zip(range(4), images, [0] * 4, strict=True))
    means = images[:, 1:-1, 1:-1, :2].astype(np.float64).mean(axis=(1, 2))
    np.testing.assert_allclose(logits, means @ [1 + 2**-12, 3 - 2**-11], rtol=2**-20)


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_every_method_is_near_its_own_in_float32_and_leaves_that_as_it_was(name, bfloat16, tiny):
    keras.utils.set_random_seed(0)
    model = build.build(tiny.model, classes=7, image_size=32)
    images = np.random.default_rng(0).random((3, 32, 32, 3), dtype=np.float32)
    batch, lists = batch_of(images, [0, 3, 6]), dict(os.environ)
    full = heatmaps(name, model, batch, FEW)
    half = heatmaps(name, model, batch, HALF)
    again = heatmaps(name, model, batch, FEW)
    assert dict(os.environ) == lists
    for key, values in full.items():
        np.testing.assert_array_equal(again[key], values)
    apart = np.abs(half["heatmap"] - full["heatmap"]).max()
    assert 0 < apart < 0.2 * full["heatmap"].max()
    if "logit_difference" in full:
        # What attributions should add up to is what the model itself says.
        np.testing.assert_array_equal(half["logit_difference"], full["logit_difference"])


def test_what_raises_leaves_float32_behind(bfloat16):
    before = dict(os.environ)
    with pytest.raises(KeyError), precision.computing("bfloat16"):
        raise KeyError
    assert dict(os.environ) == before
    assert not tf.config.optimizer.get_experimental_options().get(precision.REWRITE)


def test_lists_of_the_user_come_back(monkeypatch):
    monkeypatch.setenv("TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD", "Relu")
    with precision.computing("bfloat16"):
        assert os.environ["TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD"] == "MatMul,Mean"
    assert os.environ["TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD"] == "Relu"


def explained(network, setting, folder, images):
    folder.mkdir()
    ids = np.array([f"i{k}" for k in range(len(images))])
    runs.save_npz(
        folder / "samples.npz",
        id=ids,
        label=np.zeros(len(ids), int),
        logits=np.zeros((len(ids), 1), np.float32),
        sample_id=ids,
        sample_image=images,
    )
    clean = {"clean": folder / "samples.npz"}
    stage.explain(network, setting, clean, folder, classes=["one"], seed=0)


def cancelling(part):
    """Two kernels of a thousand and their difference, which bfloat16 cannot hold."""
    rng = np.random.default_rng(2)
    kernel = np.full((3, 3, 3, 2), 1000, np.float32)
    kernel[..., 0] += part * rng.normal(size=(3, 3, 3)).astype(np.float32)
    image = keras.Input((16, 16, 3))
    found = keras.layers.Conv2D(2, 3, use_bias=False)
    both = found(image)
    apart = keras.layers.Lambda(lambda x: tf.square(x[..., :1] - x[..., 1:]))(both)
    network = keras.Model(image, keras.layers.GlobalAveragePooling2D()(apart))
    found.set_weights([kernel])
    return network


def test_maps_that_bfloat16_changes_are_refused(bfloat16, tmp_path):
    images = np.random.default_rng(3).random((5, 16, 16, 3), dtype=np.float32)
    setting = dataclasses.replace(HALF, methods=("gradient",))
    with pytest.raises(
        UserError,
        match=r"explanation.precision = bfloat16: the maps of gradient rank pixels otherwise than "
        r"in float32, with a rank correlation of -?0\.\d+ \(least -?0\.\d+, 4 images\); expected "
        r"at least 0\.9, or float32",
    ):
        explained(cancelling(0.1), setting, tmp_path / "explain", images)
    assert not (tmp_path / "explain" / "gradient-clean.npz").exists()


def test_maps_that_stay_are_made_and_how_alike_they_are_is_said(bfloat16, tmp_path, caplog):
    images = np.random.default_rng(3).random((5, 16, 16, 3), dtype=np.float32)
    setting = dataclasses.replace(HALF, methods=("gradient",))
    with caplog.at_level("INFO", "attnrobust"):
        explained(cancelling(900.0), setting, tmp_path / "explain", images)
    assert "gradient in bfloat16: rank correlation with its maps in float32 0.99" in caplog.text
    assert (tmp_path / "explain" / "gradient-clean.npz").exists()


def test_maps_alike_everywhere_rank_nothing_but_one_that_becomes_so_is_unlike():
    flat, steep = np.ones((1, 2, 2)), np.arange(4.0).reshape(1, 2, 2)
    precision.require_agreement("grad_cam", lambda name: flat, "bfloat16")
    with pytest.raises(UserError, match=r"0\.0000 \(least 0\.0000, 1 images\)"):
        precision.require_agreement(
            "grad_cam", lambda name: steep if name == "float32" else flat, "bfloat16"
        )


def test_a_machine_without_it_says_so_before_anything_is_made(monkeypatch, tiny):
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: False)
    with pytest.raises(UserError, match=r"explanation.precision = bfloat16: .*; expected float32"):
        ready.ready(HALF, tiny.model, classes=["a"] * 7, size=32)
    ready.ready(FEW, tiny.model, classes=["a"] * 7, size=32)


def test_other_words_are_refused():
    with pytest.raises(UserError, match=r"explanation.precision = half: expected float32 or"):
        config.Explanation(precision="half")
