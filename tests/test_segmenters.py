"""SEGMENTERS: sizes by hand, maps of the image's size, how they connect, weights that come back."""

from __future__ import annotations

import functools
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.models import build, networks
from attnrobust.models.segmenters import SEGMENTERS, fc_densenet
from attnrobust.models.segmenters.segnet import MaxPoolingWithPlaces, MaxUnpooling

# At which they are cheap.
THIN = {"segnet": 0.125, "unet": 0.125, "fc_densenet": 0.125, "fc_densenet56": 0.125}


# Hundreds of layers take their time; `small_tiramisu` is built by the same function.
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] * name.startswith("fc_densenet"))
    for name in SEGMENTERS
]


@functools.cache
def built(name: str, width: float, size: int = 32, classes: int = 4) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = config.Model(name, "", weights="none", width=width)
    return build.build(model, classes=classes, image_size=size)


def conv(before: int, after: int, kernel: int = 3) -> int:
    """Weights of a convolution and its BatchNorm."""
    return kernel**2 * before * after + 4 * after


def with_bias(before: int, after: int, kernel: int) -> int:
    return kernel**2 * before * after + after


def unet_size(base: int, classes: int) -> int:
    levels = [base * 2**level for level in range(5)]
    down = sum(conv(a, b) + conv(b, b) for a, b in pairwise([3, *levels]))
    up = sum(with_bias(b, a, 2) + conv(2 * a, a) + conv(a, a) for a, b in pairwise(levels))
    return down + up + with_bias(base, classes, 1)


def segnet_size(base: int, classes: int) -> int:
    down = [1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8]
    up = [8, 8, 8, 8, 8, 4, 4, 4, 2, 2, 1, 1, 1]
    row = [3, *(base * each for each in down + up)]
    return sum(conv(a, b) for a, b in pairwise(row)) + with_bias(base, classes, 1)


def tiramisu_size(layers: list[int], growth: int, classes: int, first: int = 48) -> int:
    def layer(before: int, after: int, kernel: int) -> int:
        return 4 * before + with_bias(before, after, kernel)

    def block(before: int, number: int) -> int:
        return sum(layer(before + place * growth, growth, 3) for place in range(number))

    total, width, skips = with_bias(3, first, 3), first, []
    for number in layers[:-1]:
        total += block(width, number)
        width += number * growth
        skips.append(width)
        total += layer(width, width, 1)
    total += block(width, layers[-1])
    new = layers[-1] * growth
    for number, skip in zip(reversed(layers[:-1]), reversed(skips), strict=True):
        total += with_bias(new, new, 3)
        width = new + skip
        total += block(width, number)
        new = number * growth
    return total + with_bias(width + new, classes, 1)


# Sizes at width 1 and, where another width is the published one, its millions.
SIZES = {
    "unet": (unet_size(32, 4), 2, unet_size(64, 4), 31.0),
    "segnet": (segnet_size(32, 4), 2, segnet_size(64, 4), 29.5),
    "fc_densenet": (tiramisu_size([4, 5, 7, 10, 12, 15], 16, 4), 1, None, 9.4),
    "fc_densenet56": (tiramisu_size([4] * 6, 12, 4), 1, None, 1.4),
}


@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_those_of_the_papers_and_of_the_formulas(name: str):
    plain, width, wide, millions = SIZES[name]
    with tf.Graph().as_default():
        made = build.build(config.Model(name, "", weights="none"), classes=4, image_size=32)
    assert made.count_params() == plain
    assert (wide or plain) / 1e6 == pytest.approx(millions, rel=0.015), width
    if name != "fc_densenet56":
        assert 7e6 < plain < 10e6, "of comparable size"


def small_tiramisu() -> keras.Model:
    """With two blocks down."""
    images = keras.Input((32, 32, 3))
    layers = (2, 3, 2)
    return fc_densenet._network(images, 0.25, None, name="small", layers=layers, growth=8)


def test_a_small_tiramisu_has_the_size_of_the_formula():
    network = small_tiramisu()
    # The skip, what the block below has added, and what the last one adds.
    assert network.output_shape == (None, 32, 32, (12 + 2 * 2) + 3 * 2 + 2 * 2)
    features = network.output_shape[-1]
    expected = tiramisu_size([2, 3, 2], 2, 1, first=12) - with_bias(features, 1, 1)
    assert network.count_params() == expected


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_every_pixel_and_all_taps(name: str):
    network = built(name, THIN[name])
    logits = network(np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32))
    assert logits.shape == (2, 32, 32, 4)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits.numpy()).all()
    names = [layer.name for layer in network.layers]
    assert {"preprocessing", "features", "logits"} <= set(names)
    places = [names.index(tap) for tap in SEGMENTERS[name].taps]
    assert places == sorted(places)
    assert network.get_layer(SEGMENTERS[name].taps[-1]).output.shape[1:3] == (32, 32)
    assert build.input_scale(network) == 2


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back(name: str, tmp_path: Path):
    network = built(name, THIN[name])
    network.save_weights(tmp_path / "weights.h5")
    keras.utils.set_random_seed(1)
    model = config.Model(name, "", weights=str(tmp_path / "weights.h5"), width=THIN[name])
    again = build.build(model, classes=4, image_size=32)
    images = np.random.default_rng(0).random((1, 32, 32, 3), dtype=np.float32)
    np.testing.assert_array_equal(again(images), network(images))


@pytest.mark.parametrize("name", SEGMENTERS)
def test_what_a_segmenter_cannot_be_is_said(name: str):
    for settings, said in (
        ({"head": "gap"}, f"model.head = gap: {name} gives every pixel its logits"),
        ({"head": "", "cut": "literal"}, "model.cut"),
    ):
        with pytest.raises(UserError, match=said):
            build.ready(config.Model(name, weights="none", **settings), image_size=64)
    model = config.Model(name, "", weights="none")
    with pytest.raises(UserError, match=rf"data.image_size = 72: {name} needs a multiple of"):
        build.ready(model, image_size=72)
    with pytest.raises(UserError, match=rf"there are none for {name}"):
        build.build(config.Model(name, ""), classes=2, image_size=32)
    assert networks.kind_of(name) == "segment"
    assert networks.kind_of("resnet50") == "classify"


def test_pooling_remembers_where_the_maxima_were():
    values = np.array([[1, 5, 2, 2], [3, 4, 0, 1]], np.float32)[None, ..., None]
    pooled, places = MaxPoolingWithPlaces()(values)
    np.testing.assert_array_equal(pooled[0, ..., 0], [[5, 2]])
    found = MaxUnpooling()([pooled * 10, places])
    # Of two that are equal the first.
    np.testing.assert_array_equal(found[0, ..., 0], [[0, 50, 20, 0], [0, 0, 0, 0]])


def test_pooling_is_tensorflows_and_so_is_its_gradient():
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(2, 8, 6, 3)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        (pooled, places), theirs = (
            MaxPoolingWithPlaces()(images),
            tf.nn.max_pool2d(images, 2, 2, "VALID"),
        )
    np.testing.assert_array_equal(pooled, theirs)
    np.testing.assert_array_equal(tape.gradient(pooled, images), tape.gradient(theirs, images))
    _, flat = tf.nn.max_pool_with_argmax(images, 2, 2, "VALID", include_batch_in_index=True)
    scattered = tf.scatter_nd(
        tf.reshape(flat, (-1, 1)), tf.reshape(pooled, [-1]), [tf.size(images, tf.int64)]
    )
    found = MaxUnpooling()([pooled, places])
    np.testing.assert_array_equal(tf.reshape(found, [-1]), scattered)


@pytest.mark.parametrize(
    ("name", "reached"), [("segnet", False), ("unet", True), ("tiramisu", True)]
)
def test_who_has_long_skips(name: str, reached: bool):
    """Whether something of the image still arrives where the way through the bottom is cut."""
    network = small_tiramisu() if name == "tiramisu" else built(name, THIN[name])
    cut = {"unet": "up4_grow", "segnet": "up5_unpool", "tiramisu": "up2_grow"}[name]
    taps = keras.Model(network.input, [network.get_layer(cut).output, network.output])

    @tf.function
    def slopes(images: tf.Tensor) -> tf.Tensor:
        low, logits = taps(images)
        through = tf.gradients(logits, images)[0]
        (behind,) = tf.gradients(logits, images, stop_gradients=[low])
        return through, behind

    images = tf.constant(np.random.default_rng(0).random((1, 32, 32, 3), dtype=np.float32))
    through, behind = slopes(images)
    assert np.abs(through).max() > 0
    assert (behind is not None and np.abs(behind).max() > 0) == reached
