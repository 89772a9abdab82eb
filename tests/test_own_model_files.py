"""Files of strangers: what is read, what would run, what cannot be read and what to do about it."""

from __future__ import annotations

import json
import sys
import zipfile

import h5py
import numpy as np
import own_models
import pytest
import tensorflow as tf
from own_models import SIDE, body, head, noise
from tensorflow import keras

from attnrobust import stack
from attnrobust.config.adopted import Adopted
from attnrobust.errors import UserError
from attnrobust.models.adopted import adopting, files, memory, safety, seen, served

L = keras.layers
IMAGES = noise(4)


def loaded(file, **settings):
    adopted = Adopted(str(file), **{"preprocess": "unit", **settings})
    return adopting.load(adopted, classes=own_models.CLASSES)


def refused(file, **settings):
    with pytest.raises(UserError) as error:
        loaded(file, **settings)
    message = str(error.value)
    assert "\n" not in message
    return message


def model_with(layer):
    keras.utils.set_random_seed(2)
    images = keras.Input((SIDE, SIDE, 3))
    return keras.Model(images, head(3)(layer(body(images))))


def three(tmp_path, model):
    """A model as three files, in every form that Keras 2.15 writes."""
    for name in ("m.keras", "m.h5", "saved"):
        model.save(tmp_path / name)
        yield tmp_path / name


def test_code_in_a_file_runs_only_where_it_is_allowed_to(tmp_path):
    model = model_with(L.Lambda(lambda x: x * 2, name="twice"))
    for file in three(tmp_path, model):
        said = refused(file)
        assert "layer 'twice' holds Python code" in said
        assert "--allow-code" in said
        found = loaded(file, allow_code=True)
        np.testing.assert_allclose(found(IMAGES), model(IMAGES), atol=1e-5)


def test_it_is_refused_before_keras_reads_it(tmp_path, monkeypatch):
    """Keras 2.15 makes the functions of an .h5 file while it loads it."""
    model_with(L.Lambda(abs, output_shape=lambda shape: shape, name="size")).save(tmp_path / "m.h5")
    monkeypatch.setattr(keras.models, "load_model", lambda *_, **__: pytest.fail("it was read"))
    assert "layer 'size' holds Python code" in refused(tmp_path / "m.h5")


def test_layers_of_the_author_s_own_are_named(tmp_path):
    model = model_with(own_models.Doubled(name="mine"))
    for file in list(three(tmp_path, model))[:2]:
        said = refused(file)
        assert "'Doubled' is no layer or function of Keras" in said
        assert ":Doubled" in said
        found = loaded(file, custom=("own_models:Doubled",))
        np.testing.assert_allclose(found(IMAGES), model(IMAGES), atol=1e-5)
    # A SavedModel holds the layer's graph and needs no code.
    np.testing.assert_allclose(loaded(tmp_path / "saved")(IMAGES), model(IMAGES), atol=1e-5)
    assert "own_models has no 'Trebled'" in refused(
        tmp_path / "m.h5", custom=("own_models:Trebled",)
    )
    assert "cannot import nowhere" in refused(tmp_path / "m.h5", custom=("nowhere:Doubled",))


def test_functions_of_the_author_s_own_are_named(tmp_path):
    model = model_with(L.Activation(own_models.doubled))
    model.save(tmp_path / "m.keras")
    assert ":doubled" in refused(tmp_path / "m.keras")
    found = loaded(tmp_path / "m.keras", custom=("own_models:doubled",))
    np.testing.assert_allclose(found(IMAGES), model(IMAGES), atol=1e-5)
    # Keras 2.15 writes into an .h5 file what it cannot read there.
    model.save(tmp_path / "m.h5")
    assert "cannot read from an .h5" in refused(tmp_path / "m.h5", custom=("own_models:doubled",))


def rewritten(tmp_path, change):
    """A .keras file whose configuration was changed by hand."""
    source, file = tmp_path / "source.keras", tmp_path / "changed.keras"
    model_with(L.Activation("tanh", name="act")).save(source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(name, content.decode()) if "json" in name else content)
    return file


@pytest.mark.parametrize(
    "activation",
    [
        {"module": "os", "class_name": "function", "config": "getcwd", "registered_name": "getcwd"},
        {
            "module": "builtins",
            "class_name": "function",
            "config": "exec",
            "registered_name": "exec",
        },
    ],
)
def test_a_file_cannot_call_a_function_of_any_module(activation, tmp_path):
    """As in CVE-2025-1550: Keras imports whatever module a .keras file names."""

    def change(name, text):
        return text.replace('"activation": "tanh"', f'"activation": {json.dumps(activation)}')

    said = refused(rewritten(tmp_path, change))
    assert f"layer 'act': '{activation['config']}' is no layer or function of Keras" in said


def test_a_file_cannot_write_files(tmp_path):
    config = [
        {
            "class_name": "TFOpLambda",
            "config": {"name": "w", "function": "io.write_file"},
        }
    ]
    with pytest.raises(UserError, match=r"layer 'w' calls tf\.io\.write_file"):
        safety.require(tmp_path, config, Adopted("x"))

    def writes(images):
        with tf.control_dependencies([tf.io.write_file(str(tmp_path / "written"), "x")]):
            return means(images)

    file = saved_module(tmp_path / "writes", writes)
    assert "reads or writes files, or calls Python (WriteFile)" in refused(file)
    assert not (tmp_path / "written").exists()
    loaded(file, allow_code=True)
    (file / "saved_model.pb").write_bytes(b"no model")
    assert "saved_model.pb is damaged" in refused(file)


def test_a_file_of_keras_3_says_how_to_go_on(tmp_path):
    def change(name, text):
        if name == "metadata.json":
            return json.dumps({"keras_version": "3.3.3", "date_saved": "2024-05-01@00:00:00"})
        return text.replace("batch_input_shape", "batch_shape").replace(
            "keras.src.engine", "keras.src.models"
        )

    said = refused(rewritten(tmp_path, change))
    assert f"written by Keras 3.3.3, and {stack.keras()} cannot read it" in said
    assert "model.export('folder')" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("m.pt", "PyTorch"),
        ("m.pth", "PyTorch"),
        ("m.onnx", "ONNX"),
        ("m.tflite", "no derivatives"),
        ("saved_model.pb", "give its folder"),
        ("m.keras", "damaged, or no Keras model"),
        ("m.h5", "damaged, or no Keras model"),
    ],
)
def test_what_is_no_keras_model_is_named(name, said, tmp_path):
    (tmp_path / name).write_bytes(b"no model")
    assert said in refused(tmp_path / name)


def test_files_that_are_not_whole_are_named(tmp_path):
    assert "no such file" in refused(tmp_path / "gone.keras")
    assert "no SavedModel" in refused(tmp_path)
    model = model_with(L.Activation("tanh"))
    model.save_weights(tmp_path / "w.h5")
    assert "weights alone, without the network" in refused(tmp_path / "w.h5")
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file["model_weights"]
    said = refused(tmp_path / "m.h5")
    assert "Keras cannot read it" in said
    with zipfile.ZipFile(tmp_path / "z.keras", "w") as file:
        file.writestr("other.txt", "")
    assert "damaged, or no Keras model" in refused(tmp_path / "z.keras")


def test_a_function_that_makes_the_model(tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(
        "from tensorflow import keras\n"
        "def make():\n"
        "    return keras.Sequential([keras.layers.Input((12, 12, 3)), keras.layers.Conv2D(2, 3),\n"
        "        keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(3)])\n"
        "def fails():\n    raise RuntimeError('no weights here')\n"
        "def other():\n    return 1\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    model = loaded("theirs:make")
    assert model.output_shape == (None, 3)
    assert adopting.told(model).image_size == SIDE
    assert "has no function 'made'" in refused("theirs:made")
    assert "raised RuntimeError (no weights here)" in refused("theirs:fails")
    assert "expected a keras.Model, got int" in refused("theirs:other")
    assert "cannot import nowhere_at_all" in refused("nowhere_at_all:make")
    before = files.digest(Adopted("theirs:make"))
    assert files.digest(Adopted("theirs:make")) == before
    with (tmp_path / "theirs.py").open("a") as file:
        file.write("# other\n")
    assert files.digest(Adopted("theirs:make")) != before
    sys.modules.pop("theirs")


def saved_module(folder, function, dtype=tf.float32, inputs=1):
    """A SavedModel of TensorFlow alone."""
    module = tf.Module()
    specs = [tf.TensorSpec([None, SIDE, SIDE, 3], dtype, f"in_{i}") for i in range(inputs)]
    module.serve = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def means(images, *_):
    return {"scores": tf.reduce_mean(tf.cast(images, tf.float32), axis=(1, 2))}


def test_a_saved_model_without_derivatives_is_for_black_box_attacks(tmp_path):
    file = saved_module(tmp_path / "bytes", means, tf.uint8)
    model = loaded(file, preprocess="0_255")
    assert not adopting.told(model).gradients
    assert any("only black-box attacks" in line for line in adopting.told(model).notes)
    expected = np.round(255 * IMAGES).mean(axis=(1, 2))
    np.testing.assert_allclose(model(IMAGES), expected, rtol=1e-5)
    assert isinstance(model.get_layer("served"), served.Served)


def test_a_saved_model_of_tensorflow_gives_its_derivatives(tmp_path):
    file = saved_module(tmp_path / "floats", means)
    told = adopting.told(loaded(file))
    assert told.gradients
    two = saved_module(tmp_path / "two", means, inputs=2)
    assert "takes in_0, in_1; expected images alone" in refused(two)
    tf.saved_model.save(tf.Module(), str(tmp_path / "none"))
    assert "without a serving signature" in refused(tmp_path / "none")


def test_the_size_is_the_file_s_and_the_hash_its_content_s(tmp_path):
    model = model_with(L.Activation("tanh"))
    digests = set()
    for file in three(tmp_path, model):
        assert adopting.image_size(Adopted(str(file))) == SIDE
        digests.add(files.digest(Adopted(str(file))))
    assert len(digests) == 3
    moved = (tmp_path / "saved").rename(tmp_path / "moved")
    assert files.digest(Adopted(str(moved))) in digests
    (moved / "variables" / "variables.index").write_bytes(b"")
    assert files.digest(Adopted(str(moved))) not in digests


def test_any_size_is_any_size(tmp_path):
    images = keras.Input((None, None, 1))
    x = L.GlobalMaxPooling2D()(L.Conv2D(2, 3)(images))
    keras.Model(images, L.Dense(3)(x)).save(tmp_path / "m.keras")
    assert adopting.image_size(Adopted(str(tmp_path / "m.keras"))) is None
    assert loaded(tmp_path / "m.keras").input_shape == (None, None, None, 3)
    adopted = Adopted(str(tmp_path / "m.keras"), preprocess="0.5/0.25")
    fixed = adopting.load(adopted, classes="abc", image_size=20)
    assert fixed.input_shape == (None, 20, 20, 3)
    assert seen.taken(files.opened(adopted), "").channels == 1
    with pytest.raises(UserError, match="the model takes grey images"):
        loaded(tmp_path / "m.keras", preprocess="torch")


def test_a_model_in_memory_is_adopted_and_left_as_it_is():
    images = keras.Input((SIDE, SIDE, 3))
    last = L.Dense(3, "softmax", name="last")
    model = keras.Model(images, last(body(images)))
    before, name = model(IMAGES).numpy(), memory.hold(model)
    found = loaded(name)
    np.testing.assert_allclose(tf.nn.softmax(found(IMAGES)), before, atol=1e-5)
    np.testing.assert_array_equal(model(IMAGES), before)
    assert last.activation is keras.activations.softmax
    assert memory.hold(model) == name
    # The same weights with another function behind them are another model.
    last.activation = keras.activations.linear
    assert memory.hold(model) != name
    assert "of another process" in refused("memory:none")
