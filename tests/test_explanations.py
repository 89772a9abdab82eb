"""Explanations: contracts over every row of EXPLANATIONS; Grad-CAM against its formula."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.utils.scores import CategoricalScore

from attnrobust import config
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.explanations import stage
from attnrobust.explanations.methods import EXPLANATIONS, grad_cam
from attnrobust.models import build


@pytest.fixture(scope="module")
def model(tiny):
    keras.utils.set_random_seed(0)
    return build.build(tiny.model, classes=7, image_size=32)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 32, 32, 3), dtype=np.float32)


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_contract_of_every_explanation(name, model, images):
    targets = np.array([0, 1, 2, 3, 6])
    heatmaps = EXPLANATIONS[name](model, images, targets, "features")
    assert heatmaps.shape == (5, 32, 32)
    assert heatmaps.dtype == np.float32
    assert np.isfinite(heatmaps).all()
    assert (heatmaps >= 0).all()
    alone = EXPLANATIONS[name](model, images[2:3], targets[2:3], "features")
    np.testing.assert_allclose(alone[0], heatmaps[2], rtol=1e-3, atol=1e-5 * heatmaps.max())


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_a_constant_model_has_nothing_to_explain(name, images):
    image = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(4, 3, name="features")(image)
    flat = keras.layers.GlobalAveragePooling2D()(features)
    constant = keras.layers.Dense(7, kernel_initializer="zeros", bias_initializer="ones")(flat)
    heatmaps = EXPLANATIONS[name](
        keras.Model(image, constant), images, np.zeros(5, int), "features"
    )
    assert heatmaps.shape == (5, 32, 32)
    assert not heatmaps.any()


def as_tf_keras_vis(model, images, targets, layer):
    """Grad-CAM by its public implementation, whose eager tape needs an even batch here."""
    return Gradcam(model)(
        CategoricalScore([int(target) for target in targets]),
        images,
        penultimate_layer=layer,
        seek_penultimate_conv_layer=False,
        normalize_cam=False,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )


@pytest.mark.parametrize("layer", ["features", "conv1_relu"])
def test_grad_cam_is_that_of_tf_keras_vis(layer, model, images):
    targets = np.array([6, 0, 3, 3])
    expected = as_tf_keras_vis(model, images[:4], targets, layer)
    assert expected.max() > 0
    found = grad_cam(model, images[:4], targets, layer)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_grad_cam_follows_the_weights_of_a_network_that_it_has_seen(model, images):
    targets = np.array([1, 2])
    before = grad_cam(model, images[:2], targets, "features")
    kernel = model.get_layer("logits").kernel
    was = kernel.numpy()
    kernel.assign(2 * was)
    try:
        np.testing.assert_allclose(
            grad_cam(model, images[:2], targets, "features"),
            2 * before,
            rtol=1e-4,
            atol=1e-6 * before.max(),
        )
    finally:
        kernel.assign(was)


NARROW = """
import sys
import numpy as np
import tensorflow as tf
from tensorflow import keras
from attnrobust import config
from attnrobust.explanations.methods import grad_cam
from attnrobust.models import build

size, rng = int(sys.argv[1]), np.random.default_rng(0)
model = build.build(config.Model("resnet18", width=0.125, weights="none"), classes=7,
                    image_size=size)
for count in map(int, sys.argv[2].split()):
    images, targets = rng.random((count, size, size, 3), np.float32), np.zeros(count, int)
    for layer in ("features", "conv2_block2_out"):
        assert grad_cam(model, images, targets, layer).shape == (count, size, size)
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
for batch in map(int, sys.argv[3].split()):
    for _ in range(10):
        images, labels = rng.random((batch, size, size, 3), np.float32), np.zeros(batch, int)
        model.train_on_batch(images, labels)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("size", "explained", "trained"), [(32, "1 3 5", "3 1"), (48, "3", "16")])
def test_a_narrow_network_does_not_end_its_process(size, explained, trained):
    """A fault of TensorFlow's oneDNN ends it without a word, so this needs one of its own."""
    threads = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")  # fewer than usual in tests
    usual = {name: value for name, value in os.environ.items() if name not in threads}
    ended = subprocess.run(
        [sys.executable, "-c", NARROW, str(size), explained, trained],
        env=usual,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_grad_cam_is_the_formula(model, images):
    """Selvaraju et al. 2017, equations 1 and 2, at the layer's own resolution."""
    targets = np.array([1, 1, 4, 0, 5])
    tap = keras.Model(model.input, [model.get_layer("features").output, model.output])
    with tf.GradientTape() as tape:
        features, logits = tap(images)
        score = tf.gather(logits, targets, axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    expected = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy()
    heatmaps = grad_cam(model, images, targets, "features")
    # Linear zoom keeps the corners.
    corners = np.ix_(range(5), [0, -1], [0, -1])
    np.testing.assert_allclose(heatmaps[corners], expected[corners], rtol=1e-3, atol=1e-7)
    assert 0.8 * expected.max() < heatmaps.max() <= 1.001 * expected.max()


def attacked(folder, images, labels):
    ids = np.array([f"i{k}" for k in range(len(images))])
    for epsilon in (0, 0.01, 0.03):
        noisy = np.clip(images + epsilon, 0, 1)
        runs.save_npz(
            folder / runs.attack_file("linf_pgd", epsilon),
            id=ids[::-1],
            label=labels[::-1],
            sample_id=ids,
            sample_image=noisy,
        )


@pytest.mark.parametrize("target", ["prediction", "label"])
def test_stage_writes_one_file_for_each_condition(target, model, images, tiny, tmp_path):
    labels = np.array([0, 3, 2, 2, 6])
    attacked(tmp_path / "attack", images, labels)
    setting = config.Explanation(target=target)
    images_of = stage.of_attack(tiny.attack, tmp_path / "attack")
    stage.explain(model, setting, images_of, tmp_path / "explain")
    names = sorted(path.name for path in (tmp_path / "explain").iterdir())
    assert names == [
        "grad_cam-clean.npz",
        "grad_cam-linf_pgd-0.01.npz",
        "grad_cam-linf_pgd-0.03.npz",
    ]
    found = runs.load_npz(tmp_path / "explain" / "grad_cam-clean.npz")
    predictions = model(images).numpy().argmax(1)
    np.testing.assert_array_equal(found["prediction"], predictions)
    np.testing.assert_array_equal(found["target"], labels if target == "label" else predictions)
    assert found["heatmap"].dtype == np.float16
    assert found["heatmap"].shape == (5, 32, 32)


def test_unknown_layer_lists_feature_maps_and_a_flat_layer_is_refused(model, tiny, tmp_path):
    for layer, message in (
        ("nope", "no such layer; features is the map .*; others: .*conv2_relu"),
        ("logits", r"gives no \(H, W, C\) feature map"),
    ):
        setting = config.Explanation(layer=layer)
        with pytest.raises(UserError, match=message):
            stage.explain(model, setting, {}, tmp_path)
        with pytest.raises(UserError, match=message):
            stage.ready(setting, tiny.model, classes=7, size=32)


@pytest.mark.parametrize("layer", ["features", "conv1_relu"])
def test_a_layer_known_by_its_name_needs_no_network(layer, tiny, monkeypatch):
    monkeypatch.setattr(build, "build", lambda *_, **__: pytest.fail("a network was built"))
    stage.ready(config.Explanation(layer=layer), tiny.model, classes=7, size=32)
    with pytest.raises(UserError, match=r"no explanation\.methods 'gradcam'; did you mean"):
        stage.ready(config.Explanation(methods=("gradcam",)), tiny.model, classes=7, size=32)


def test_float16_keeps_tiny_and_huge_maps():
    rng = np.random.default_rng(0)
    shape = rng.random((3, 4, 4)).astype(np.float32)
    scaled = shape * np.array([1e-9, 1, 1e9], np.float32)[:, None, None]
    kept = stage.half(scaled).astype(np.float32)
    for before, after in zip(shape, kept, strict=True):
        np.testing.assert_allclose(after / after.max(), before / before.max(), atol=1e-3)
    assert not stage.half(np.zeros((1, 4, 4), np.float32)).any()
