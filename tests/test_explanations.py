"""Explanations: contracts over every row of EXPLANATIONS; Grad-CAM against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, runs
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
    heatmaps = EXPLANATIONS[name](keras.Model(image, constant), images, np.zeros(5, int),
                                  "features")  # fmt: skip
    assert heatmaps.shape == (5, 32, 32)
    assert not heatmaps.any()


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
        runs.save_npz(folder / runs.attack_file("linf_pgd", epsilon), id=ids[::-1],
                      label=labels[::-1], sample_id=ids, sample_image=noisy)  # fmt: skip


@pytest.mark.parametrize("target", ["prediction", "label"])
def test_stage_writes_one_file_for_each_condition(target, model, images, tiny, tmp_path):
    labels = np.array([0, 3, 2, 2, 6])
    attacked(tmp_path / "attack", images, labels)
    setting = config.Explanation(target=target)
    images_of = stage.of_attack(tiny.attack, tmp_path / "attack")
    stage.explain(model, setting, images_of, tmp_path / "explain")
    names = sorted(path.name for path in (tmp_path / "explain").iterdir())
    assert names == ["grad_cam-clean.npz", "grad_cam-linf_pgd-0.01.npz",
                     "grad_cam-linf_pgd-0.03.npz"]  # fmt: skip
    found = runs.load_npz(tmp_path / "explain" / "grad_cam-clean.npz")
    predictions = model(images).numpy().argmax(1)
    np.testing.assert_array_equal(found["prediction"], predictions)
    np.testing.assert_array_equal(found["target"], labels if target == "label" else predictions)
    assert found["heatmap"].dtype == np.float16
    assert found["heatmap"].shape == (5, 32, 32)


def test_unknown_layer_lists_feature_maps_and_a_flat_layer_is_refused(model, tiny, tmp_path):
    for layer, message in (("nope", "no such layer; features is the map .*; others: .*conv2_relu"),
                           ("logits", r"gives no \(H, W, C\) feature map")):  # fmt: skip
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
