"""Predictions of the clean and the corrupted test split."""

from __future__ import annotations

import dataclasses
import shutil

import data_helpers
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import sweep
from attnrobust.corruptions import corrupt
from attnrobust.data import inputs, records
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas
from attnrobust.stages import prediction


@pytest.fixture(scope="module")
def model():
    """Logits are mean colours, so that a corruption shows."""
    image = keras.Input((32, 32, 3))
    return Replicas(
        keras.Model(image, keras.layers.Lambda(lambda x: tf.reduce_mean(x, axis=(1, 2)))(image))
    )


def test_every_corruption_asked_for_has_a_file(tiny, records_folder, tmp_path, model):
    asked = config.with_settings(
        tiny, ["corruptions.names=brightness,motion_blur", "corruptions.severities=2,5"]
    )
    dataset = records.load(records_folder)
    prediction.predict(asked, dataset, tmp_path, model)
    assert {path.name for path in tmp_path.iterdir()} == {
        "clean.npz",
        "validation.npz",
        "corruption-brightness-2.npz",
        "corruption-brightness-5.npz",
        "corruption-motion_blur-2.npz",
        "corruption-motion_blur-5.npz",
    }
    found = runs.load_npz(tmp_path / "corruption-brightness-5.npz")
    clean = runs.load_npz(tmp_path / "clean.npz")
    np.testing.assert_array_equal(found["id"], clean["id"])
    examples = inputs.read(dataset, "test", list(clean["id"]), data=tiny.data)
    expected = corrupt(examples["image"], list(clean["id"]), "brightness", 5)
    np.testing.assert_allclose(found["logits"], expected.mean(axis=(1, 2)), atol=1e-5)
    assert (found["logits"].mean(axis=1) > clean["logits"].mean(axis=1)).all()


def test_the_group_of_every_image_is_kept(tiny, records_folder, tmp_path, model):
    dataset = records.load(records_folder)
    prediction.predict(tiny, dataset, tmp_path, model)
    for split, file in (("test", "clean.npz"), ("validation", "validation.npz")):
        found = runs.load_npz(tmp_path / file)
        examples = data_helpers.stored(dataset, split)
        assert list(found["group"]) == [examples[id_]["group"] for id_ in found["id"]]
    assert len(set(found["group"])) < len(found["group"]), "a lesion was photographed twice"


def test_an_attacks_files_keep_the_group_too(tiny, records_folder, tmp_path):
    image = keras.Input((32, 32, 3))
    colours = keras.layers.GlobalAveragePooling2D()(image)
    seven = keras.layers.Lambda(lambda x: tf.pad(x, [[0, 0], [0, 4]]) - 1.0)(colours)
    model = Replicas(keras.Model(image, seven))
    asked = config.with_settings(tiny, ["attack.name=sign_noise", "attack.epsilons=0.01"])
    dataset = records.load(records_folder)
    prediction.predict(tiny, dataset, tmp_path, model)
    clean = runs.load_npz(tmp_path / "clean.npz")
    sweep.Sweep(asked, dataset, model).run(tmp_path)
    for epsilon in (0.0, 0.01):
        found = runs.load_npz(tmp_path / runs.attack_file("sign_noise", epsilon))
        np.testing.assert_array_equal(found["group"], clean["group"])


def test_an_image_without_a_group_is_one_by_itself(tiny, records_folder, tmp_path, model):
    copy = shutil.copytree(records_folder, tmp_path / "records")
    dataset = records.load(copy)
    for file in dataset.files("test"):
        raw = list(tf.data.TFRecordDataset(file).as_numpy_iterator())
        with tf.io.TFRecordWriter(file) as writer:
            for each in raw:
                example = tf.train.Example.FromString(each)
                del example.features.feature["group"]
                writer.write(example.SerializeToString())
    prediction.predict(tiny, dataset, tmp_path / "predict", model)
    found = runs.load_npz(tmp_path / "predict" / "clean.npz")
    np.testing.assert_array_equal(found["group"], found["id"])


def test_the_validation_split_is_predicted_without_corruption(
    tiny, records_folder, tmp_path, model
):
    asked = config.with_settings(tiny, ["corruptions.names=brightness"])
    dataset = records.load(records_folder)
    prediction.predict(asked, dataset, tmp_path, model)
    found = runs.load_npz(tmp_path / "validation.npz")
    assert len(found["id"]) == dataset.count("validation") > 0
    assert not set(found["id"]) & set(runs.load_npz(tmp_path / "clean.npz")["id"])
    examples = inputs.read(dataset, "validation", list(found["id"]), data=tiny.data)
    np.testing.assert_array_equal(found["label"], examples["label"])
    np.testing.assert_allclose(found["logits"], examples["image"].mean(axis=(1, 2)), atol=1e-5)


def test_a_data_set_without_a_validation_split_is_predicted(tiny, records_folder, tmp_path, model):
    dataset = records.load(records_folder)
    nothing = {**dataset.splits["validation"], "count": 0, "shards": []}
    without = dataclasses.replace(dataset, splits={**dataset.splits, "validation": nothing})
    prediction.predict(tiny, without, tmp_path, model)
    assert [path.name for path in tmp_path.iterdir()] == ["clean.npz"]


def test_an_unknown_corruption_is_named_before_anything_is_done(
    tiny, records_folder, tmp_path, model
):
    asked = config.with_settings(tiny, ["corruptions.names=jpg"])
    with pytest.raises(UserError, match=r"no corruptions\.names 'jpg'; did you mean jpeg"):
        prediction.predict(asked, records.load(records_folder), tmp_path, model)
    assert not list(tmp_path.iterdir())


def test_a_severity_out_of_range_is_refused(tiny):
    with pytest.raises(UserError, match=r"corruptions\.severities = \(0, 6\): expected of 1 to 5"):
        config.with_settings(tiny, ["corruptions.severities=0,6"])
