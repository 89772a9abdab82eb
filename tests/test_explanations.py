"""Explanations: contracts over every row of EXPLANATIONS, the stage, what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.disk import runs, schemas, stamps
from attnrobust.errors import UserError
from attnrobust.explanations import ready, stage
from attnrobust.explanations.base import Batch
from attnrobust.explanations.methods import EXPLANATIONS, heatmaps
from attnrobust.models import build
from attnrobust.report import galleries


@pytest.fixture(scope="module")
def model(tiny):
    keras.utils.set_random_seed(0)
    return build.build(tiny.model, classes=7, image_size=32)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 32, 32, 3), dtype=np.float32)


CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


# Few samples, so that rows stay fast.
FEW = config.Explanation(
    smooth_samples=5, integration_steps=7, baseline_draws=2, occlusion_patch=70, score_maps=4
)


def of(model, images, targets, *, seed=3, first=0):
    """A batch whose ids count from `first`."""
    ids = np.array([f"i{first + k}" for k in range(len(images))])
    return Batch(images, np.asarray(targets), ids, seed)


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_contract_of_every_explanation(name, model, images):
    """Shape, type, the same again, and the same alone: 5 images do not fill a batch of 16."""
    row, targets = EXPLANATIONS[name], np.array([0, 1, 2, 3, 6])
    found = heatmaps(name, model, of(model, images, targets), FEW)
    kept = {"heatmap": found["heatmap"], **({"signed": found["signed"]} if row.signed else {})}
    assert ("signed" in found) == row.signed
    for maps in kept.values():
        assert maps.shape == (5, 32, 32)
        assert maps.dtype == np.float32
        assert np.isfinite(maps).all()
        assert maps.any(axis=(1, 2)).all()
    assert (found["heatmap"] >= 0).all()
    if row.signed:
        assert (np.abs(found["signed"]) <= found["heatmap"] * 1.001 + 1e-9).all()
        assert found["signed"].min() < 0
    again = heatmaps(name, model, of(model, images, targets), FEW)
    alone = heatmaps(name, model, of(model, images[2:3], targets[2:3], first=2), FEW)
    for key, maps in kept.items():
        np.testing.assert_array_equal(again[key], maps)
        close = {"rtol": 1e-3, "atol": 1e-5 * float(found["heatmap"].max())}
        np.testing.assert_allclose(alone[key][0], maps[2], **close)


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_only_what_says_so_draws_and_by_seed_and_id_alone(name, model, images):
    one, other = (
        heatmaps(name, model, of(model, images[:2], [1, 2], seed=seed), FEW)["heatmap"]
        for seed in (0, 1)
    )
    assert (one != other).any() == EXPLANATIONS[name].random
    renamed = heatmaps(name, model, of(model, images[:2], [1, 2], seed=0, first=7), FEW)["heatmap"]
    assert (one != renamed).any() == EXPLANATIONS[name].random


@pytest.mark.parametrize(
    "name", [name for name, row in EXPLANATIONS.items() if not row.needs_attention]
)
def test_a_constant_model_has_nothing_to_explain(name, images):
    image = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(4, 3, name="features")(image)
    flat = keras.layers.GlobalAveragePooling2D()(features)
    constant = keras.layers.Dense(7, kernel_initializer="zeros", bias_initializer="ones")(flat)
    model = keras.Model(image, constant)
    found = heatmaps(name, model, of(model, images, np.zeros(5, int)), FEW)
    for values in found.values():
        assert not values.any()


NARROW = """
import sys
import numpy as np
import tensorflow as tf
from tensorflow import keras
from attnrobust import config
from attnrobust.explanations.base import Batch
from attnrobust.explanations.methods import heatmaps
from attnrobust.models import build

size, rng = int(sys.argv[1]), np.random.default_rng(0)
model = build.build(config.Model("resnet18", width=0.125, weights="none"), classes=7,
                    image_size=size)
for count in map(int, sys.argv[2].split()):
    images, targets = rng.random((count, size, size, 3), np.float32), np.zeros(count, int)
    for layer in ("features", "conv2_block2_out"):
        batch = Batch(images, targets, np.arange(count).astype(str), 0)
        setting = config.Explanation(layer=layer)
        found = heatmaps("grad_cam", model, batch, setting)["heatmap"]
        assert found.shape == (count, size, size)
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
    stage.explain(model, setting, images_of, tmp_path / "explain", classes=CLASSES, seed=0)
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


def test_stage_keeps_signed_maps_their_scale_and_completeness(
    model, images, tiny, tmp_path, caplog
):
    attacked(tmp_path / "attack", images, np.array([0, 3, 2, 2, 6]))
    setting = dataclasses.replace(FEW, methods=tuple(EXPLANATIONS), target="bkl")
    images_of = {"clean": stage.of_attack(tiny.attack, tmp_path / "attack")["clean"]}
    with caplog.at_level("INFO", "attnrobust"):
        stage.explain(model, setting, images_of, tmp_path / "explain", classes=CLASSES, seed=3)
    assert (
        "integrated_gradients, clean: attributions miss the differences of logits by" in caplog.text
    )
    for name, row in EXPLANATIONS.items():
        found = schemas.load_npz(tmp_path / "explain" / f"{name}-clean.npz", schemas.EXPLAINED)
        expected = heatmaps(name, model, of(model, images, [2] * 5), FEW)
        assert set(found) == {"id", "target", "prediction", "scale", *expected}
        assert (found["target"] == 2).all()
        assert np.isin(np.log2(found["scale"]) % 1, 0).all(), "a power of two loses nothing"
        for key in ("heatmap", "signed") if row.signed else ("heatmap",):
            assert found[key].dtype == np.float16
            unscaled = found[key].astype(np.float32) / found["scale"][:, None, None]
            atol = 1e-3 * float(expected["heatmap"].max())
            np.testing.assert_allclose(unscaled, expected[key], rtol=1e-3, atol=atol)
    found = runs.load_npz(tmp_path / "explain" / "integrated_gradients-clean.npz")
    np.testing.assert_array_equal(found["completeness_error"] >= 0, True)


@pytest.mark.parametrize(("steps", "warned"), [(1, True), (200, False)])
def test_too_few_steps_on_a_path_are_said(steps, warned, images, tiny, tmp_path, caplog):
    """From black to an image, the gradient of the sum of fourth powers is 4 x ** 3 at the end."""
    attacked(tmp_path / "attack", images, np.array([0, 3, 2, 2, 6]))
    image = keras.Input((32, 32, 3))
    powers = keras.layers.Lambda(lambda x: tf.reduce_sum(x**4, axis=(1, 2)))(image)
    setting = config.Explanation(
        methods=("integrated_gradients",), baseline="black", integration_steps=steps
    )
    images_of = {"clean": stage.of_attack(tiny.attack, tmp_path / "attack")["clean"]}
    network = keras.Model(image, keras.layers.Concatenate()([powers, powers, powers[:, :1]]))
    stage.explain(network, setting, images_of, tmp_path / "explain", classes=CLASSES, seed=0)
    assert ("attributions are incomplete (above 5 %)" in caplog.text) == warned
    # One gradient in the middle: 4 (x / 2) ** 3 times x is half of x ** 4.
    found = runs.load_npz(tmp_path / "explain" / "integrated_gradients-clean.npz")
    share = found["completeness_error"] / found["logit_difference"]
    np.testing.assert_allclose(share, 0.5 if steps == 1 else 0, atol=1e-3)


def test_a_map_that_is_not_finite_is_refused_by_method_and_image(model, images, tiny, tmp_path):
    attacked(tmp_path / "attack", images, np.array([0, 3, 2, 2, 6]))
    images_of = stage.of_attack(tiny.attack, tmp_path / "attack")
    image = keras.Input((32, 32, 3))
    # No number where the image's first value is the largest of all.
    limit = float(np.sort(images[:, 0, 0, 0])[-2])
    bad = int(images[:, 0, 0, 0].argmax())
    first = keras.layers.Lambda(lambda x: tf.sqrt(limit - x[:, 0, 0, :1] + 1e-6) * tf.ones((1, 7)))
    model = keras.Model(image, first(image))
    setting = config.Explanation(methods=("gradient",))
    with pytest.raises(UserError, match=f"'gradient': the map of image i{bad} is not finite"):
        stage.explain(model, setting, images_of, tmp_path / "explain", classes=CLASSES, seed=0)
    assert not list((tmp_path / "explain").glob("*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": "conv1_rel"}, "no such layer; did you mean conv1_relu"),
        ({"target": "nvv"}, r"explanation\.target = nvv: did you mean nv\? expected prediction"),
        ({"target": "7"}, "explanation.target = 7: expected .* or its number, 0 to 6"),
        ({"baseline": "blured"}, r"no explanation\.baseline 'blured'; did you mean blurred"),
        ({"methods": ("gradients",)}, "did you mean gradient"),
    ],
)
def test_what_does_not_fit_is_told_before_the_first_stage(settings, message, tiny):
    with pytest.raises(UserError, match=message) as caught:
        ready.ready(config.Explanation(**settings), tiny.model, classes=CLASSES, size=32)
    assert "\n" not in str(caught.value)


def test_attention_and_class_activation_maps_ask_for_what_they_show(tiny):
    gap = dataclasses.replace(tiny.model, head="gap")
    setting = config.Explanation(methods=("gradient", "attention"))
    with pytest.raises(UserError, match="'attention': the network has no soft attention"):
        ready.ready(setting, gap, classes=CLASSES, size=32)
    ready.ready(setting, tiny.model, classes=CLASSES, size=32)
    image = keras.Input((32, 32, 3))
    flat = keras.Model(image, keras.layers.Dense(7)(keras.layers.Flatten()(image)))
    for name, row in EXPLANATIONS.items():
        if row.needs_layer:
            with pytest.raises(UserError, match=f"'{name}': the network has no convolution"):
                ready.require(flat, config.Explanation(methods=(name,)))
        elif not row.needs_attention:
            ready.require(flat, config.Explanation(methods=(name,), layer="nope"))


def test_what_was_explained_before_there_were_settings_still_holds():
    """A stamp of long ago lacks them; each default does what was done then."""
    before = {"methods": ["grad_cam"], "layer": "features", "target": "prediction"}
    now = json.loads(json.dumps(dataclasses.asdict(config.Explanation())))
    assert stamps.completed({"explanation": before}) == {"explanation": now}


def test_pages_say_which_class_was_explained():
    results = [SimpleNamespace(explanation=config.Explanation(target=t)) for t in ("label", "mel")]
    assert galleries.explained(results) == "the class mel or (by run) the true class"


def test_a_class_is_given_by_name_or_number():
    assert [ready.class_of(each, CLASSES) for each in ("bcc", "1", "6")] == [1, 1, 6]
    # A name that is a number is the name.
    assert ready.class_of("0", ("1", "0")) == 1


def test_unknown_layer_lists_feature_maps_and_a_flat_layer_is_refused(model, tiny, tmp_path):
    for layer, message in (
        ("nope", "no such layer; features is the map .*; others: .*conv2_relu"),
        ("logits", r"gives no \(H, W, C\) feature map"),
    ):
        setting = config.Explanation(layer=layer)
        with pytest.raises(UserError, match=message):
            stage.explain(model, setting, {}, tmp_path, classes=CLASSES, seed=0)
        with pytest.raises(UserError, match=message):
            ready.ready(setting, tiny.model, classes=CLASSES, size=32)


@pytest.mark.parametrize("layer", ["features", "conv1_relu"])
def test_a_layer_known_by_its_name_needs_no_network(layer, tiny, monkeypatch):
    monkeypatch.setattr(build, "build", lambda *_, **__: pytest.fail("a network was built"))
    ready.ready(config.Explanation(layer=layer), tiny.model, classes=CLASSES, size=32)
    with pytest.raises(UserError, match=r"no explanation\.methods 'gradcam'; did you mean"):
        ready.ready(config.Explanation(methods=("gradcam",)), tiny.model, classes=CLASSES, size=32)


def test_float16_keeps_tiny_and_huge_maps():
    rng = np.random.default_rng(0)
    shape = rng.random((3, 4, 4)).astype(np.float32)
    scaled = shape * np.array([1e-9, 1, 1e9], np.float32)[:, None, None]
    scale = stage.scales(scaled)[:, None, None]
    kept = (scaled * scale).astype(np.float16).astype(np.float32)
    for before, after in zip(shape, kept, strict=True):
        np.testing.assert_allclose(after / after.max(), before / before.max(), atol=1e-3)
    np.testing.assert_array_equal(stage.scales(np.zeros((1, 4, 4), np.float32)), 1)
