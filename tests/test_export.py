"""Export: named outputs, equal logits in a fresh process."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models import build
from attnrobust.stages import export


def test_a_fresh_process_gives_the_same_logits(tmp_path):
    """Of one layer: the other process takes three seconds as it is."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 3))
    logits = keras.layers.Dense(7, name="logits")(keras.layers.Flatten()(image))
    model = keras.Model(image, logits)
    images = np.random.default_rng(0).random((3, 4, 4, 3), dtype=np.float32)
    assert 0 <= export.export(model, images, tmp_path) <= 1e-4
    names = {path.name for path in (tmp_path / "saved_model").iterdir()}
    assert names == {"saved_model.pb", "variables", "assets", "fingerprint.pb"}
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]


@pytest.mark.parametrize(
    ("head", "outputs"),
    [
        ("gap", {"logits", "probabilities"}),
        ("soft_attention", {"logits", "probabilities", "attention_map"}),
    ],
)
def test_saved_model_gives_named_outputs_and_equal_logits(
    head, outputs, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(export, "_compare", lambda *_: 0.0)  # in a process of its own: see above
    keras.utils.set_random_seed(0)
    chosen = config.with_settings(tiny, [f"model.head={head}"])
    model = build.build(chosen.model, classes=7, image_size=32)
    images = np.random.default_rng(0).random((3, 32, 32, 3), dtype=np.float32)
    export.export(model, images, tmp_path)
    export.write_card(tmp_path, list("abcdefg"), 32)
    assert runs.load_json(tmp_path / "saved_model" / "classes.json")["classes"] == list("abcdefg")
    serve = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    result = serve(images=tf.constant(images[:2]))
    assert set(result) == outputs
    np.testing.assert_allclose(result["logits"], model(images[:2]), atol=1e-4)
    np.testing.assert_allclose(result["probabilities"], tf.nn.softmax(model(images[:2])), atol=1e-5)
    if head == "soft_attention":
        assert result["attention_map"].shape[0] == 2
        total = tf.reduce_sum(result["attention_map"], axis=(1, 2))
        np.testing.assert_allclose(total, chosen.model.maps, rtol=1e-4)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_logits_of_soft_attention(tiny, tmp_path):
    model = build.build(tiny.model, classes=7, image_size=32)
    images = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    assert export.export(model, images, tmp_path) <= export.TOLERANCE
    assert (tmp_path / "saved_model" / "saved_model.pb").is_file()


def test_a_model_that_changes_when_loaded_again_is_refused(tiny, tmp_path, monkeypatch):
    model = build.build(tiny.model, classes=7, image_size=32)
    images = np.zeros((1, 32, 32, 3), np.float32)

    def answer(command, **_):
        np.save(command[-1], np.full((1, 7), 1e6, np.float32))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(export.subprocess, "run", answer)
    with pytest.raises(UserError, match="its logits differ by"):
        export.export(model, images, tmp_path)
    assert not (tmp_path / "saved_model").exists()
