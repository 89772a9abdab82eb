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
from attnrobust.explanations import base, gradients, precision, stage
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


def test_sums_and_a_softmax_over_positions_keep_all_digits(bfloat16):
    """Of a convolution that copies: pixels that bfloat16 holds add up, shares of a map to 1."""
    image = keras.Input((16, 16, 3))
    copied = keras.layers.Conv2D(3, 1, use_bias=False)
    ends = keras.layers.Lambda(
        lambda x: tf.stack(
            [
                tf.reduce_sum(x, axis=(1, 2, 3)),
                tf.reduce_sum(tf.nn.softmax(tf.reshape(x, (-1, 768)), axis=1), axis=1),
            ],
            axis=1,
        )
    )
    network = keras.Model(image, ends(copied(image)))
    copied.set_weights([np.eye(3, dtype=np.float32)[None, None]])
    images = np.random.default_rng(1).integers(0, 129, (2, 16, 16, 3)).astype(np.float32) / 128
    with precision.computing("bfloat16"):
        step = gradients._slopes(network)  # In its graph a softmax lies between convolutions.
        sums, shares = (
            np.array([score for _, (_, score) in base.in_batches(step, rows)])
            for rows in (
                [(place, image, of) for place, image in enumerate(images)] for of in (0, 1)
            )
        )
    np.testing.assert_allclose(sums, images.sum(axis=(1, 2, 3), dtype=np.float64), rtol=2**-20)
    np.testing.assert_allclose(shares, 1, rtol=2**-20)


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


def test_paths_are_halved_for_a_kink_and_not_for_what_a_logit_is_rounded_by(bfloat16):
    """The logit of pixels, rounded, and of what they exceed three tenths of their sum by, exact."""
    images = np.random.default_rng(0).random((1, 16, 16, 3), dtype=np.float32)
    whole = images.sum()
    image = keras.Input((16, 16, 3))
    raised = keras.layers.Conv2D(3, 1)
    ends = keras.layers.Lambda(
        lambda x: (
            (tf.reduce_sum(x[0], (1, 2, 3)) - 100 * images.size)[:, None]
            + tf.nn.relu(tf.reduce_sum(x[1], (1, 2, 3)) - 0.3 * whole)[:, None]
        )
    )
    network = keras.Model(image, ends([raised(image), image]))
    raised.set_weights([np.eye(3, dtype=np.float32)[None, None], np.full(3, 100, np.float32)])
    full, half = (
        heatmaps(
            "integrated_gradients",
            network,
            batch_of(images, [0]),
            dataclasses.replace(setting, completeness=0.02, baseline="black"),
        )
        for setting in (FEW, HALF)
    )
    # The part of the kink, and one of every two halves, until four halvings are enough.
    assert full["gradients"] == half["gradients"] == FEW.integration_steps + 8
    assert (half["completeness_error"] < 0.02 * half["logit_difference"]).all()


def test_float32_touches_nothing(monkeypatch):
    def refuse(_):
        pytest.fail("what is compiled would be compiled anew")

    before = dict(os.environ)
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", refuse)
    with precision.computing("float32"):
        assert dict(os.environ) == before


def test_what_raises_leaves_float32_behind(bfloat16):
    before = dict(os.environ)
    with pytest.raises(KeyError), precision.computing("bfloat16"):
        raise KeyError
    assert dict(os.environ) == before
    assert not tf.config.optimizer.get_experimental_options().get(precision.REWRITE)


def test_lists_of_the_user_come_back(monkeypatch):
    monkeypatch.setenv("TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD", "Relu")
    with precision.computing("bfloat16"):
        assert os.environ["TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD"] == precision.KEPT
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
        r"in float32, with a rank correlation of -?0\.\d+ on 4 clean images \(least -?0\.\d+\); "
        r"expected at least 0\.9, or float32",
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


def test_maps_alike_everywhere_rank_nothing_but_one_that_is_so_in_one_precision_is_unlike(caplog):
    flat, steep = np.ones((1, 2, 2)), np.arange(4.0).reshape(1, 2, 2)
    with caplog.at_level("INFO", "attnrobust"):
        precision.require_agreement("grad_cam", lambda name: flat, "bfloat16", ["clean"])
    assert "grad_cam in bfloat16: maps are the same everywhere, as in float32" in caplog.text
    for alike in ("float32", "bfloat16"):
        made = {"float32": steep, "bfloat16": steep, alike: flat}
        with pytest.raises(UserError, match=r"0\.0000 on 1 clean images \(least 0\.0000\)"):
            precision.require_agreement("grad_cam", made.__getitem__, "bfloat16", ["clean"])


def test_attacked_images_are_asked_too_from_weak_to_strong(monkeypatch, tmp_path):
    """Their maps may change where clean ones stay."""
    seen, images = [], {}
    for number, name in enumerate(("clean", "a-1", "a-2", "a-3", "a-4", "a-5")):
        images[name] = tmp_path / f"{name}.npz"
        ids = np.array([f"i{k}" for k in range(5)])
        pictures = np.full((5, 16, 16, 3), number / 8, np.float32)
        pictures[:, 0, 0, 0] += np.arange(5, dtype=np.float32) / 100
        shown = {"sample_id": ids, "sample_image": pictures}
        logits = np.zeros((5, 1), np.float32)
        runs.save_npz(images[name], id=ids, label=np.zeros(5, int), logits=logits, **shown)
    steep = np.arange(256.0).reshape(16, 16)

    def made(method, model, batch, setting):
        seen.append((batch.images[:, 1, 1, 0] * 8, list(batch.ids)))
        turned = batch.images[:, 1, 1, 0] * (setting.precision == "bfloat16") > 0
        return {"heatmap": np.where(turned[:, None, None], -steep, steep)}

    monkeypatch.setattr(stage, "heatmaps", made)
    monkeypatch.setattr(precision, "require", lambda _: None)
    setting = dataclasses.replace(HALF, methods=("gradient",))
    network = convolution(np.ones((3, 3, 3, 1), np.float32), np.ones((1, 1), np.float32))
    with pytest.raises(
        UserError,
        match=r"of 1\.0000 on 4 clean images \(least 1\.0000\), -1\.0000 on 4 attacked images",
    ):
        stage.explain(network, setting, images, tmp_path, classes=["one"], seed=0)
    strengths, ids = seen[0]
    np.testing.assert_allclose(strengths, [0, 0, 0, 0, 1, 2, 4, 5])
    assert ids == ["i0", "i1", "i2", "i3"] * 2


def test_a_machine_without_it_makes_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: False)
    images = np.random.default_rng(3).random((5, 16, 16, 3), dtype=np.float32)
    setting = dataclasses.replace(HALF, methods=("gradient",))
    with pytest.raises(UserError, match=r"explanation.precision = bfloat16: .*; expected float32"):
        explained(cancelling(900.0), setting, tmp_path / "half", images)
    assert [each.name for each in (tmp_path / "half").iterdir()] == ["samples.npz"]


@pytest.mark.parametrize(
    ("listed", "refused"),
    [
        ("flags\t\t: fpu avx512f avx512_vnni sse\n", True),
        ("flags\t\t: fpu avx512f avx512_bf16\n", False),
        ("flags\t\t: fpu amx_bf16 avx512f\n", False),
        ("Features\t: fp asimd\n", False),  # another kind of processor
        (None, False),  # another system
    ],
)
def test_a_processor_that_only_imitates_it_is_refused(listed, refused, monkeypatch, tmp_path):
    """With AVX-512 alone oneDNN rounds, too, but takes longer than for float32."""
    monkeypatch.setattr(precision, "_has_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "PROCESSORS", tmp_path / "cpuinfo")
    if listed is not None:
        runs.save_text(tmp_path / "cpuinfo", f"processor\t: 0\n{listed}bugs\t\t:\n")
    precision.require("float32")
    if refused:
        with pytest.raises(UserError, match=r"this processor only imitates it.*; expected float32"):
            precision.require("bfloat16")
    else:
        precision.require("bfloat16")


def test_other_words_are_refused():
    with pytest.raises(UserError, match=r"explanation.precision = half: expected float32 or"):
        config.Explanation(precision="half")
