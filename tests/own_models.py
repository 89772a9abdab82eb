"""Models as strangers save them: plain Keras and TensorFlow, nothing of the project.

Each is tiny, smooth, and has random weights under which the classes mix on images of noise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow import keras

L = keras.layers
SIDE, CLASSES = 12, ("ant", "bee", "cat")
Fed = Callable[[tf.Tensor], tf.Tensor]


class Bundle(NamedTuple):
    """A file and how its author uses it.

    Attributes:
        path: Of the file or folder.
        settings: What its author would say of it to the project.
        logits: Images in [0, 1] RGB -> logits as the author's own code has them, for Foolbox.
        predict: Images in [0, 1] RGB -> classes, by the author's own code.
    """

    path: Path
    settings: dict[str, Any]
    logits: keras.Model
    predict: Callable[[np.ndarray], np.ndarray]


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(0).random((number, SIDE, SIDE, 3)).astype(np.float32)


def body(x: tf.Tensor) -> tf.Tensor:
    x = L.Conv2D(6, 3, strides=2, activation="softplus")(x)
    return L.Flatten()(L.Conv2D(8, 3, activation="softplus")(x))


def head(units: int, activation: str | None = None, **options: Any) -> L.Dense:
    spread = keras.initializers.RandomNormal(0, 0.3)
    return L.Dense(units, activation=activation, kernel_initializer=spread, **options)


def unit(x: tf.Tensor) -> tf.Tensor:
    return x


def minus_one_one(x: tf.Tensor) -> tf.Tensor:
    return keras.applications.mobilenet_v2.preprocess_input(255 * x)


def caffe(x: tf.Tensor) -> tf.Tensor:
    return keras.applications.resnet50.preprocess_input(255 * x)


def torch(x: tf.Tensor) -> tf.Tensor:
    return keras.applications.densenet.preprocess_input(255 * x)


def bgr(x: tf.Tensor) -> tf.Tensor:
    return x[..., ::-1]


def grey(x: tf.Tensor) -> tf.Tensor:
    return tf.image.rgb_to_grayscale(x)


def raw(x: tf.Tensor) -> tf.Tensor:
    return 255 * x


def centred(model: keras.Model, last: L.Dense, fed: Fed) -> None:
    """Takes the mean over images of noise off the last layer's outputs."""
    kernel, bias = last.get_weights()
    before = keras.Model(model.input, last.input)
    mean = before(fed(tf.constant(noise(32)))).numpy().astype(np.float32).mean(axis=0)
    last.set_weights([kernel / np.abs(mean).max(), bias - mean @ kernel / np.abs(mean).max()])


def functional(units: int, activation: str | None, fed: Fed, channels: int = 3) -> keras.Model:
    images = keras.Input((SIDE, SIDE, channels))
    last = head(units, activation)
    model = keras.Model(images, last(body(images)))
    centred(model, last, fed)
    return model


def sequential(units: int, activation: str | None, fed: Fed) -> keras.Model:
    model = keras.Sequential(
        [
            L.Input((SIDE, SIDE, 3)),
            L.Conv2D(6, 3, strides=2, activation="softplus"),
            L.BatchNormalization(),
            L.Conv2D(8, 3, activation="softplus"),
            L.Flatten(),
            L.Dropout(0.5),
            head(units, activation),
        ]
    )
    centred(model, model.layers[-1], fed)
    return model


def nested(fed: Fed, end: L.Layer) -> keras.Model:
    """Transfer learning as in Keras' guide: a frozen network inside, called with training=False."""
    inner = keras.Input((SIDE, SIDE, 3))
    x = L.Conv2D(6, 3, strides=2, activation="softplus", name="conv")(inner)
    x = L.BatchNormalization(name="bn")(x)
    x = L.Conv2D(8, 3, activation="softplus", name="last_conv")(x)
    base = keras.Model(inner, x, name="base")
    base.trainable = False
    images = keras.Input((SIDE, SIDE, 3))
    augmented = keras.Sequential([L.RandomFlip(), L.RandomRotation(0.1)], name="augment")(images)
    last = head(3, name="conv")  # the name of a layer inside
    x = last(L.Dropout(0.2)(L.Flatten()(base(augmented, training=False))))
    model = keras.Model(images, end(x))
    centred(model, last, fed)
    return model


class Doubled(L.Layer):
    """A layer of the author's own."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return 2 * inputs


def doubled(x: tf.Tensor) -> tf.Tensor:
    """An activation of the author's own."""
    return 2 * x


class Subclassed(keras.Model):
    """Calls its layers in Python, so that a file shows none of it."""

    def __init__(self, activation: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.first = L.Conv2D(6, 3, strides=2, activation="softplus")
        self.second = L.Conv2D(8, 3, activation="softplus")
        self.flatten = L.Flatten()
        self.last = head(3, activation)

    def before(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.flatten(self.second(self.first(inputs)))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.last(self.before(inputs))


def subclassed(activation: str | None, fed: Fed) -> keras.Model:
    model = Subclassed(activation)
    images = fed(tf.constant(noise(32)))
    model(images)
    kernel, bias = model.last.get_weights()
    model.last.set_weights([kernel, bias - model.before(images).numpy().mean(axis=0) @ kernel])
    return model


def in_half_precision(fed: Fed) -> keras.Model:
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        images = keras.Input((SIDE, SIDE, 3))
        last = head(3)
        outputs = L.Activation("softmax", dtype="float32")(last(body(images)))
        model = keras.Model(images, outputs)
        centred(model, last, fed)
    finally:
        keras.mixed_precision.set_global_policy(before)
    return model


def of_two_outputs(fed: Fed) -> keras.Model:
    images = keras.Input((SIDE, SIDE, 3))
    x = L.Rescaling(1 / 127.5, offset=-1)(images)
    x = body(x)
    last = head(3)
    diagnosis = L.Softmax(name="diagnosis")(last(x))
    age = L.Dense(1, name="age")(x)
    model = keras.Model(images, [age, diagnosis])
    centred(model, last, fed)
    return model


def served(folder: Path, model: keras.Model) -> None:
    """As TensorFlow alone writes it: no Keras inside, a signature."""
    module = tf.Module()
    module.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, "images")])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": model(images, training=False)}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


class Called(L.Layer):
    """A function of images to logits."""

    def __init__(self, function: Fed, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.function(inputs)


def bundle(
    path: Path,
    model: keras.Model,
    fed: Fed,
    end: str,
    pick: int | None = None,
    judge: keras.Model | None = None,
    **settings: Any,
) -> Bundle:
    """Saved, with the author's own way from an image to a class.

    `judge` is what is attacked in the model's place, where that is not a float32 one.
    """
    if path.name == "served":
        served(path, model)
    else:
        model.save(path)

    def outputs(images: tf.Tensor) -> tf.Tensor:
        found = (judge or model)(fed(images), training=False)
        return tf.cast(found if pick is None else found[pick], tf.float32)

    def logits(images: tf.Tensor) -> tf.Tensor:
        found = outputs(images)
        if end == "softmax":
            return tf.math.log(found)
        if end == "sigmoid":
            return tf.concat([tf.math.log(1 - found), tf.math.log(found)], axis=1)
        return tf.concat([tf.zeros_like(found), found], axis=1) if found.shape[1] == 1 else found

    def predict(images: np.ndarray) -> np.ndarray:
        found = model.predict(fed(tf.constant(images)).numpy(), verbose=0)
        found = found if pick is None else found[pick]
        if found.shape[1] > 1:
            return np.asarray(found.argmax(axis=1))
        return (found[:, 0] > (0.5 if end == "sigmoid" else 0)).astype(int)

    images = keras.Input((SIDE, SIDE, 3))
    return Bundle(path, settings, keras.Model(images, Called(logits)(images)), predict)


def f_logits_unit(at: Path) -> Bundle:
    return bundle(at / "m.keras", functional(3, None, unit), unit, "logits", preprocess="unit")


def f_softmax_caffe_h5(at: Path) -> Bundle:
    model = functional(3, "softmax", caffe)
    return bundle(at / "m.h5", model, caffe, "softmax", preprocess="caffe")


def s_softmax_minus(at: Path) -> Bundle:
    model = sequential(3, "softmax", minus_one_one)
    return bundle(at / "m.keras", model, minus_one_one, "softmax", preprocess="minus_one_one")


def s_sigmoid_h5(at: Path) -> Bundle:
    return bundle(at / "m.h5", sequential(1, "sigmoid", unit), unit, "sigmoid", preprocess="unit")


def s_one_logit_bgr(at: Path) -> Bundle:
    model = sequential(1, None, bgr)
    return bundle(at / "m.keras", model, bgr, "logits", preprocess="unit", bgr=True)


def n_softmax_minus(at: Path) -> Bundle:
    model = nested(minus_one_one, L.Activation("softmax", dtype="float32"))
    return bundle(at / "m.keras", model, minus_one_one, "softmax", preprocess="minus_one_one")


def n_softmax_caffe_saved(at: Path) -> Bundle:
    model = nested(caffe, keras.Sequential([L.Softmax()]))
    return bundle(at / "saved", model, caffe, "softmax", preprocess="caffe")


def c_logits_saved(at: Path) -> Bundle:
    return bundle(at / "saved", subclassed(None, unit), unit, "logits", preprocess="unit")


def c_softmax_saved(at: Path) -> Bundle:
    model, how = subclassed("softmax", torch), {"preprocess": "torch", "ends": "softmax"}
    return bundle(at / "saved", model, torch, "softmax", **how)


def g_logits(at: Path) -> Bundle:
    model = functional(3, None, grey, channels=1)
    return bundle(at / "m.h5", model, grey, "logits", preprocess="unit")


def h_softmax(at: Path) -> Bundle:
    model, judge = in_half_precision(unit), functional(3, "softmax", unit)
    judge.set_weights(model.get_weights())
    return bundle(at / "m.keras", model, unit, "softmax", judge=judge, preprocess="unit")


def t_softmax_inside(at: Path) -> Bundle:
    model = of_two_outputs(raw)
    return bundle(at / "m.keras", model, raw, "softmax", pick=1, output="diagnosis")


def v_softmax(at: Path) -> Bundle:
    model, how = functional(3, "softmax", unit), {"preprocess": "unit", "ends": "softmax"}
    return bundle(at / "served", model, unit, "softmax", **how)


BUNDLES: dict[str, Callable[[Path], Bundle]] = {
    "functional, logits": f_logits_unit,
    "functional, softmax, caffe, h5": f_softmax_caffe_h5,
    "sequential, softmax, [-1, 1]": s_softmax_minus,
    "sequential, one sigmoid, h5": s_sigmoid_h5,
    "sequential, one logit, BGR": s_one_logit_bgr,
    "nested, softmax, [-1, 1]": n_softmax_minus,
    "nested, softmax model, caffe, SavedModel": n_softmax_caffe_saved,
    "subclassed, logits, SavedModel": c_logits_saved,
    "subclassed, softmax, torch, SavedModel": c_softmax_saved,
    "grey, logits, h5": g_logits,
    "mixed precision, softmax": h_softmax,
    "two outputs, pixels scaled inside": t_softmax_inside,
    "served, softmax": v_softmax,
}
