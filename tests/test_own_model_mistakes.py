"""The usual mistakes with a stranger's model, each named in one line that says what to do."""

from __future__ import annotations

import re

import numpy as np
import own_models
import pytest
import tensorflow as tf
from own_models import SIDE, body, head
from tensorflow import keras

from attnrobust.config.adopted import Adopted
from attnrobust.errors import UserError
from attnrobust.measures import class_order
from attnrobust.models.adopted import adopting, classes, diagnosis, ends, trust

L = keras.layers
# Two are each other's with red and blue exchanged; greys so near that a wrong scale misses them.
COLOURS = {
    "red": (0.8, 0.2, 0.1),
    "blue": (0.1, 0.2, 0.8),
    "dark": (0.3, 0.3, 0.3),
    "grey": (0.5, 0.5, 0.5),
    "light": (0.7, 0.7, 0.7),
    "white": (0.9, 0.9, 0.9),
    "black": (0.1, 0.1, 0.1),
    "green": (0.2, 0.7, 0.2),
}
NAMES = tuple(COLOURS)


def pictures(number: int = 48):
    """Noisy images of the colours, and their labels."""
    rng = np.random.default_rng(1)
    labels = np.arange(number) % len(NAMES)
    plain = np.array(list(COLOURS.values()), np.float32)[labels][:, None, None]
    images = plain + rng.normal(0, 0.05, (number, SIDE, SIDE, 3))
    return np.clip(images, 0, 1).astype(np.float32), labels


def of_colours(fed, order=NAMES, end="logits", path=None):
    """A model that names the nearest colour, its outputs in some order, saved to a file."""
    points = np.array([COLOURS[name] for name in order], np.float32)[:, None, None]
    points = np.asarray(fed(tf.constant(points)))[:, 0, 0]
    sharp = 200 / ((points[:, None] - points[None]) ** 2).sum(axis=2).max()
    images = keras.Input((SIDE, SIDE, 3))
    pooled = L.GlobalAveragePooling2D()(L.DepthwiseConv2D(1, depthwise_initializer="ones")(images))
    last = L.Dense(len(order), activation=None if end == "logits" else end)
    model = keras.Model(images, last(pooled))
    last.set_weights([2 * sharp * points.T, -sharp * (points**2).sum(axis=1)])
    model.save(path)
    return str(path)


def refused(adopted, names=own_models.CLASSES, **options):
    with pytest.raises(UserError) as error:
        adopting.load(adopted, classes=names, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def saved(tmp_path, model):
    path = tmp_path / "model.keras"
    model.save(path)
    return str(path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A file of three logits."""
    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("plain") / "model.keras"
    images = keras.Input((SIDE, SIDE, 3))
    keras.Model(images, head(3)(body(images))).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("fed", "bgr", "true"),
    [
        (own_models.unit, False, "unit"),
        (own_models.minus_one_one, False, "minus_one_one"),
        (own_models.caffe, False, "caffe"),
        (lambda x: own_models.minus_one_one(x)[..., ::-1], True, "minus_one_one"),
        (own_models.raw, False, "0_255"),
    ],
)
def test_wrong_preprocessing_is_named_by_the_diagnosis(fed, bgr, true, tmp_path):
    wrong = "torch"
    file = of_colours(fed, path=tmp_path / "m.keras")
    table = diagnosis.diagnose(Adopted(file, preprocess=wrong), *pictures(), NAMES)
    best = table.iloc[0]
    assert (best.preprocess, best.bgr, best.accuracy) == (true, bgr, 1)
    assert table.given.sum() == 1
    assert table[table.given].accuracy.item() < 0.9
    lines = diagnosis.said(table)
    assert "no measurement" in lines[0]
    named = f"by --preprocess {true}{' --bgr' if bgr else ''}: was the model trained on that?"
    assert [line for line in lines if named in line]
    right = diagnosis.said(
        diagnosis.diagnose(Adopted(file, preprocess=true, bgr=bgr), *pictures(), NAMES)
    )
    assert not [line for line in right if "was the model trained" in line]


def test_every_way_to_feed_a_model_is_tried_once(tmp_path):
    file = of_colours(own_models.unit, path=tmp_path / "m.keras")
    table = diagnosis.diagnose(Adopted(file, preprocess="0.1/0.7"), *pictures(), NAMES)
    # Five rows, the numbers given, each in both orders; caffe has one.
    assert len(table) == 11
    assert not table.duplicated(["preprocess", "bgr"]).any()


def confusion_of(file, *, labels_shift=0, **settings):
    images, labels = pictures()
    labels = (labels + labels_shift) % len(NAMES)
    model = adopting.load(Adopted(file, preprocess="unit", **settings), classes=NAMES)
    confusion = np.zeros((len(NAMES),) * 2, int)
    np.add.at(confusion, (labels, model(images).numpy().argmax(axis=1)), 1)
    return confusion


def test_a_wrong_order_of_classes_is_named_with_the_right_one(tmp_path):
    order = tuple(sorted(NAMES))
    file = of_colours(own_models.unit, order, path=tmp_path / "m.keras")
    line = class_order.order_note(confusion_of(file), NAMES)
    assert "permuted" in line
    assert f"--classes {','.join(order)}?" in line
    right = confusion_of(file, classes=order)
    np.testing.assert_array_equal(right, 6 * np.eye(8))
    assert class_order.order_note(right, NAMES, order) == ""
    # A wrong list leads to the right one, too.
    wrong = (*order[1:], order[0])
    line = class_order.order_note(confusion_of(file, classes=wrong), NAMES, wrong)
    assert f"--classes {','.join(order)}?" in line


def test_labels_shifted_by_one_are_named(tmp_path):
    file = of_colours(own_models.unit, path=tmp_path / "m.keras")
    assert "shifted by one" in class_order.order_note(confusion_of(file, labels_shift=1), NAMES)
    assert "shifted by one" in class_order.order_note(confusion_of(file, labels_shift=-1), NAMES)
    lines = diagnosis.said(
        diagnosis.diagnose(Adopted(file), pictures()[0], (pictures()[1] + 1) % 8, NAMES)
    )
    assert [line for line in lines if "shifted by one" in line and "--preprocess unit" in line]


def test_two_classes_are_swapped():
    line = class_order.order_note(np.array([[3, 27], [29, 1]]), ("benign", "malignant"))
    assert "swapped" in line
    assert "--classes malignant,benign?" in line


@pytest.mark.parametrize(
    "confusion",
    [
        [[0, 0, 40], [0, 0, 9], [0, 0, 11]],  # names one class for all
        [[20, 5, 5], [6, 18, 6], [4, 4, 22]],  # right as it stands
        [[0, 2, 1], [2, 0, 1], [1, 0, 2]],  # too few to tell
        [[12, 11, 9], [9, 12, 11], [11, 12, 9]],  # knows nothing
    ],
)
def test_no_order_is_named_where_none_is_seen(confusion):
    assert class_order.order_note(np.array(confusion), ("a", "b", "c")) == ""


def test_probabilities_as_logits_are_named(tmp_path):
    file = of_colours(own_models.unit, end="softmax", path=tmp_path / "m.keras")
    said = refused(Adopted(file, preprocess="unit", ends="logits"), NAMES)
    assert "probabilities, not logits (on images of noise each row adds up to 1" in said
    assert said.endswith("--ends softmax")


def test_logits_as_probabilities_are_named(plain):
    said = refused(Adopted(plain, preprocess="unit", ends="softmax"))
    assert "no softmax" in said
    assert said.endswith("--ends logits")


def test_wrong_size_is_named(plain):
    said = refused(Adopted(plain, preprocess="unit"), image_size=224)
    assert f"takes images of {SIDE} pixels" in said
    assert said.endswith(f"--set data.image_size={SIDE}")


def test_nan_weights_are_named_by_layer(plain, tmp_path):
    model = keras.models.load_model(plain)
    layer = model.layers[2]
    kernel, bias = layer.get_weights()
    kernel[0, 0, 0, :2] = np.nan, np.inf
    layer.set_weights([kernel, bias])
    said = refused(Adopted(saved(tmp_path, model), preprocess="unit"))
    assert f"layer '{layer.name}' holds 2 of {kernel.size} weights that are not finite" in said


def test_preprocessing_that_is_not_given_is_asked_for(plain):
    assert "--preprocess unit|minus_one_one|caffe|torch|0_255|inside or" in refused(Adopted(plain))


def test_preprocessing_of_its_own_is_proven_and_said(tmp_path):
    images = keras.Input((SIDE, SIDE, 3))
    for number, (scaled, row) in enumerate(
        [
            (L.Rescaling(1 / 255)(images), "inside"),
            (L.Rescaling(2.0, offset=-1)(images), "unit"),
            (keras.applications.resnet50.preprocess_input(images), "inside"),
            (keras.applications.mobilenet_v2.preprocess_input(images), "inside"),
            (L.Normalization(mean=[0.5] * 3, variance=[0.04] * 3)(L.RandomFlip()(images)), "unit"),
        ]
    ):
        # The Ellipsis in the third is more than a .keras file of Keras 2.15 can hold.
        file = str(tmp_path / f"{number}.h5")
        keras.Model(images, head(3)(body(scaled))).save(file)
        told = adopting.told(adopting.load(Adopted(file), classes="abc"))
        assert told.preprocess == row
        assert "scales pixels itself" in told.notes[0]
    wrong = adopting.load(Adopted(str(tmp_path / "0.h5"), preprocess="unit"), classes="abc")
    assert "takes what 'inside' gives, not 'unit'" in adopting.told(wrong).notes[0]


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda x: L.Dropout(0.5, name="drop")(x, training=True), "again: layer drop works as in"),
        (lambda x: L.BatchNormalization(name="norm")(x, training=True), "alone and among others"),
        (lambda x: x + tf.random.normal(tf.shape(x)), "answers differently when it is asked again"),
    ],
)
def test_a_model_that_answers_differently_is_refused_unless_asked_for(layer, said, tmp_path):
    images = keras.Input((SIDE, SIDE, 3))
    file = saved(tmp_path, keras.Model(images, head(3)(layer(body(images)))))
    adopted = Adopted(file, preprocess="unit")
    message = refused(adopted)
    assert said in message
    assert message.endswith("--set adopted.allow_random=true")
    model = adopting.load(Adopted(file, preprocess="unit", allow_random=True), classes="abc")
    assert not adopting.told(model).steady


def test_a_sigmoid_s_saturation_is_told():
    images = keras.Input((1, 1, 1))
    unit = L.Flatten()(images)
    model = keras.Model(images, ends.Ending("sigmoid", name="logits")(unit))
    values = np.array([0, 1e-6, 0.5, 1 - 1e-6, 1], np.float32)[:, None, None, None]
    logits = model(values).numpy()
    np.testing.assert_allclose(logits[1:4, 1], [-13.8, 0, 13.8], atol=0.1)
    assert not logits[:, 0].any()
    assert ends.saturation(model, logits) == 0.4
    plain = keras.Model(images, ends.Ending(name="logits")(unit))
    assert ends.saturation(plain, logits) == 0


def test_columns_go_to_the_classes_by_name():
    order = classes.order("bca", "abc", outputs=3, file="m")
    assert order == [2, 0, 1]
    logits = ends.Ending(order=order)(tf.constant([[1.0, 2.0, 3.0]])).numpy()
    assert dict(zip("abc", logits[0], strict=True)) == {"b": 1, "c": 2, "a": 3}


def test_a_derivative_of_zero_is_none():
    images = keras.Input((2, 2, 3))
    flat = L.Flatten()(images)
    noise = np.random.default_rng(0).random((2, 2, 2, 3))
    assert trust.gives_gradients(keras.Model(images, L.Dense(2)(flat)), noise)
    assert not trust.gives_gradients(keras.Model(images, L.Dense(2)(tf.round(flat))), noise)


@pytest.mark.parametrize(
    ("settings", "classes_", "said"),
    [
        ({"classes": ("ant", "bea", "cat")}, "", "no 'bea' (did you mean 'bee'?)"),
        ({"classes": ("ant", "bee")}, "", "lacks cat"),
        ({}, ("ant", "bee"), "tells 3 classes apart, but the data has 2 (ant, bee); labels from 1"),
        ({"preprocess": "tf"}, "", "expected unit, minus_one_one, caffe"),
        ({"preprocess": "0.5,0.5/0.25"}, "", "one or three each"),
        ({"output": "dense"}, "", "no output in"),
        ({"ends": "sigmoid"}, "", "no sigmoid"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, classes_, said, plain):
    adopted = Adopted(plain, **{"preprocess": "unit", **settings})
    assert said in refused(adopted, classes_ or own_models.CLASSES)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda i: ([i, keras.Input((2,))], L.Dense(3)(L.Flatten()(i))), "takes 2 inputs"),
        (lambda i: (i, L.Dense(3, "sigmoid")(L.Flatten()(i))), "say so: --ends sigmoid"),
        (lambda i: (i, L.Dense(1, "softmax")(L.Flatten()(i))), "is always 1"),
        (lambda i: (i, L.Dense(3, "relu")(L.Flatten()(i))), "the last layer is relu); say it"),
        (lambda i: (i, L.Conv2D(3, 3)(i)), "one row of numbers"),
        (
            lambda i: (i, [L.Dense(3, name="one")(L.Flatten()(i)), L.Dense(2, name="two")(i)]),
            "choose one by --output: one (",
        ),
        (
            lambda i: (i, L.Average()([L.Dense(3, "softmax")(L.Flatten()(i)) for _ in "ab"])),
            "cannot tell what its outputs are (on images of noise each row adds up to 1",
        ),
    ],
)
def test_what_a_model_takes_and_gives_is_never_guessed(make, said, tmp_path):
    model = keras.Model(*make(keras.Input((SIDE, SIDE, 3))))
    assert said in refused(Adopted(saved(tmp_path, model), preprocess="unit"))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((3, SIDE, SIDE), "channels first (NCHW)"),
        ((SIDE, SIDE, 4), "takes 4 channels"),
        ((SIDE, 20, 3), f"takes images of {SIDE} x 20 pixels"),
        ((20,), "expected images (B, H, W, C)"),
    ],
)
def test_images_of_another_shape_are_named(shape, said, tmp_path):
    images = keras.Input(shape)
    file = saved(tmp_path, keras.Model(images, L.Dense(3)(L.Flatten()(images))))
    assert said in refused(Adopted(file, preprocess="unit"))


def test_an_average_of_softmaxes_is_undone_and_its_saturation_told(tmp_path):
    """What a log cannot undo is counted: those images have no derivative."""
    images = keras.Input((SIDE, SIDE, 3))
    members = [L.Dense(3, "softmax")(L.Flatten()(images)) for _ in "ab"]
    model = keras.Model(images, L.Average()(members))
    kernel = np.zeros((SIDE * SIDE * 3, 3), np.float32)
    kernel[:, 0] = 200 * SIDE**-2
    for layer in model.layers:
        if isinstance(layer, L.Dense):
            layer.set_weights([kernel, np.zeros(3)])
    file = saved(tmp_path, model)
    adopted = adopting.load(Adopted(file, preprocess="unit", ends="softmax"), classes="abc")
    assert not adopting.told(adopted).stripped
    dark, bright = (np.full((1, SIDE, SIDE, 3), value, np.float32) for value in (0.001, 1))
    both = np.concatenate([dark, bright])
    np.testing.assert_allclose(tf.nn.softmax(adopted(both)), model(both), atol=1e-6)
    assert ends.saturation(adopted, adopted(both).numpy()) == 0.5
    assert re.search("undone by a log", " ".join(adopting.told(adopted).notes))
