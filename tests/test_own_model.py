"""A stranger's model: its answers are its own, its attacks Foolbox's, its mistakes are named."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow import keras

from attnrobust.config.adopted import Adopted
from attnrobust.errors import UserError
from attnrobust.models.adopted import adopting, files, flat, preprocessing
from attnrobust.models.build import input_scale

L = keras.layers
SIDE, CLASSES = 8, ("ant", "bee", "cat")
IMAGES = np.random.default_rng(0).random((6, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def nested(tmp_path_factory):
    """A file of a model inside a model, and what it says of 0 to 255 pixels the caffe way."""
    keras.utils.set_random_seed(0)
    base = keras.Sequential(
        [L.Input((SIDE, SIDE, 3)), L.Conv2D(4, 3, activation="relu"), L.BatchNormalization()]
    )
    images = keras.Input((SIDE, SIDE, 3))
    x = L.GlobalAveragePooling2D()(base(images, training=False))
    model = keras.Model(images, L.Dense(3)(L.Dropout(0.5)(x)))
    path = tmp_path_factory.mktemp("nested") / "model.keras"
    model.save(path)
    return path, model(keras.applications.resnet50.preprocess_input(255 * IMAGES)).numpy()


def test_a_nested_model_is_flat_and_says_what_it_said(nested):
    path, theirs = nested
    model = adopting.load(Adopted(str(path), preprocess="caffe"), classes=CLASSES)
    np.testing.assert_allclose(model(IMAGES).numpy(), theirs, rtol=1e-5, atol=1e-4)
    assert input_scale(model) == 255
    assert not any(flat.is_graph(layer) for layer in model.layers)
    assert model.get_layer("features").output.shape[1:] == (6, 6, 4)
    assert adopting.told(model).features == "batch_normalization"


def test_the_size_and_the_hash_are_the_file_s(nested):
    path, _ = nested
    assert files.image_size(Adopted(str(path))) == SIDE
    before = files.digest(Adopted(str(path)))
    path.with_name("other.keras").write_bytes(path.read_bytes() + b"0")
    assert files.digest(Adopted(str(path.with_name("other.keras")))) != before


def test_preprocessing_is_asked_for(nested):
    with pytest.raises(UserError, match="unit, minus_one_one, caffe"):
        adopting.load(Adopted(str(nested[0])), classes=CLASSES)


def test_numbers_stand_for_a_row():
    layer = preprocessing.layer("0.5,0.25,0/0.5", bgr=True, channels=3)
    np.testing.assert_allclose(layer(np.ones((1, 1, 1, 3), np.float32))[0, 0, 0], [2, 1.5, 1])
