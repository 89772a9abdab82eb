"""Heads: shapes, and soft attention against independent readings of both its variants."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.models.build import attention_model, build
from attnrobust.models.heads import HEADS, SoftAttention

MAPS = 5


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _layer(variant: str, features: np.ndarray, *, gamma: float = 1.0) -> SoftAttention:
    """A layer with weights large enough for attention far from uniform."""
    layer = SoftAttention(MAPS, variant, gamma)
    layer(features)
    rng = np.random.default_rng(1)
    kernel, bias, *rest = layer.get_weights()
    layer.set_weights([rng.normal(size=kernel.shape), rng.normal(size=bias.shape), *rest])
    return layer


def _attend(scores: tf.Tensor, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores (B, H, W, K) -> attended features, map: the text's formula, one map at a time."""
    total = tf.zeros_like(scores[..., 0])
    for index in range(scores.shape[-1]):
        one = tf.exp(tf.nn.relu(scores[..., index]))
        total += one / tf.reduce_sum(one, axis=(1, 2), keepdims=True)
    return features * total[..., None], total


def _features(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=(2, *shape)).astype(np.float32)


def _circulating(kernel: np.ndarray, bias: np.ndarray, features: tf.Tensor) -> tuple:
    """The layer in circulation: a 3-D convolution of (h, w, channels), written out.

    Kernel (C, 3, 3, 1, K) lies over height, width and channels in this order, stride C over the
    channels, 'same' padding. It is not asked of TensorFlow: 2.16 to 2.21 give wrong numbers for
    such strides, and so does 2.15 without oneDNN.
    """
    (height, width, channels), kernel = features.shape[1:], kernel[:, :, :, 0]
    # 'same' at stride 1: C - 1 rows and 2 columns more in all, the odd one behind.
    rows = ((channels - 1) // 2, channels // 2)
    # At stride C: one place, whose 3 channels begin before the first if there are fewer than 3.
    deep = max(3 - channels, 0)
    around = [[0, 0], rows, [1, 1], [deep // 2, deep - deep // 2]]
    volume = tf.pad(features, around)[..., :3]
    scores = bias + sum(
        tf.einsum("bhwc,ck->bhwk", volume[:, y : y + height, x : x + width], kernel[y, x])
        for y in range(channels)
        for x in range(3)
    )
    return _attend(scores, features)


SHAPES = [
    (7, 7, 64),
    (8, 8, 40),
    (5, 6, 33),
    (4, 3, 7),
    (7, 5, 6),
    (6, 6, 3),
    (6, 5, 2),
    (5, 5, 1),
    (1, 1, 8),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_literal_equals_the_3d_convolution(
    shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    features = _features(rng, *shape)
    layer = _layer("literal", features)
    cotangent = tf.constant(_features(rng, *shape))
    results = []
    for function in (layer, lambda x: _circulating(*layer.get_weights(), x)):
        x = tf.constant(features)
        with tf.GradientTape() as tape:
            tape.watch(x)
            attended, attention = function(x)
            loss = tf.reduce_sum(attended * cotangent)
        results.append((attended, attention, tape.gradient(loss, x)))
    (attended, attention, gradient), expected = results[0], results[1]
    np.testing.assert_allclose(attended, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(attention, expected[1], rtol=1e-5, atol=1e-5)
    error = tf.norm(gradient - expected[2]) / tf.norm(expected[2])
    assert error < 1e-5


def test_paper_equals_the_formula(rng: np.random.Generator) -> None:
    features = _features(rng, 7, 6, 20)
    layer = _layer("paper", features, gamma=0.3)
    kernel, bias, gamma = layer.get_weights()
    convolution = keras.layers.Conv2D(MAPS, 3, padding="same")
    convolution.build(features.shape)
    convolution.set_weights([kernel, bias])
    attended, attention = layer(features)
    expected = _attend(convolution(features), features)
    np.testing.assert_allclose(attended, gamma * expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(attention, expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("variant", "seen"), [("literal", [0, 1, 2]), ("paper", list(range(24)))])
def test_channels_that_the_map_depends_on(
    variant: str, seen: list[int], rng: np.random.Generator
) -> None:
    features = _features(rng, 6, 6, 24)
    layer = _layer(variant, features)
    x = tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(x)
        attention = layer(x)[1]
        loss = tf.reduce_sum(attention * tf.constant(_features(rng, 6, 6)))
    slopes = np.abs(tape.gradient(loss, x)).sum(axis=(0, 1, 2))
    assert np.flatnonzero(slopes).tolist() == seen


@pytest.mark.parametrize("variant", ["paper", "literal"])
def test_each_map_adds_up_to_one(variant: str, rng: np.random.Generator) -> None:
    features = _features(rng, 7, 8, 16)
    attention = _layer(variant, features)(features)[1]
    assert attention.shape == (2, 7, 8)
    np.testing.assert_allclose(tf.reduce_sum(attention, axis=(1, 2)), MAPS, rtol=1e-5)
    np.testing.assert_allclose(tf.reduce_mean(attention), MAPS / (7 * 8), rtol=1e-5)


def test_weights_of_the_variants(rng: np.random.Generator) -> None:
    features = _features(rng, 7, 7, 12)
    paper, literal = _layer("paper", features), _layer("literal", features)
    assert [w.shape for w in paper.get_weights()] == [(3, 3, 12, MAPS), (MAPS,), ()]
    assert [w.shape for w in literal.get_weights()] == [(12, 3, 3, 1, MAPS), (MAPS,)]
    assert paper.count_params() == literal.count_params() + 1


def test_gamma_starts_where_told_and_learns(rng: np.random.Generator) -> None:
    features = _features(rng, 4, 4, 6)
    layer = _layer("paper", features, gamma=0.25)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(features)[0] ** 2)
    assert layer.gamma.numpy() == np.float32(0.25)
    assert layer.gamma.trainable
    assert tape.gradient(loss, layer.gamma) != 0


@pytest.mark.parametrize("variant", ["paper", "literal"])
def test_soft_attention_survives_a_round_trip(variant: str) -> None:
    layer = SoftAttention(7, variant, 0.5, name="soft_attention")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.get_config() == layer.get_config()


def test_unknown_variant_and_open_shape_are_refused() -> None:
    with pytest.raises(UserError, match="expected paper or literal"):
        SoftAttention(variant="exact")
    with pytest.raises(ValueError, match="needs fixed H, W, C"):
        SoftAttention()(keras.Input((None, None, 8)))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7)])
def test_every_head_gives_logits(
    head: str, size: tuple[int, int], rng: np.random.Generator
) -> None:
    features = keras.Input((*size, 6), name="features")
    model = config.Model(head=head, weights="none", maps=3)
    logits = HEADS[head](features, classes=4, model=model)
    values = keras.Model(features, logits)(_features(rng, *size, 6))
    assert values.shape == (2, 4)
    assert values.dtype == tf.float32
    assert np.isfinite(values).all()


def test_pooled_and_flattened_widths() -> None:
    """At 7x7x2048 pooled 4096 and at 8x8x192 flattened 4*4*384 (Datta et al.'s two networks)."""
    model = config.Model(weights="none")
    widths = {}
    for head, shape in (("soft_attention", (7, 7, 2048)), ("soft_attention_flatten", (8, 8, 192))):
        features = keras.Input(shape)
        network = keras.Model(features, HEADS[head](features, classes=2, model=model))
        widths[head] = network.get_layer("logits").kernel.shape[0]
    assert widths == {"soft_attention": 4096, "soft_attention_flatten": 4 * 4 * 384}


@pytest.mark.parametrize("head", ["flatten", "gap_dropout", "soft_attention"])
def test_dropout_follows_the_config(head: str) -> None:
    features = keras.Input((4, 4, 6))
    model = config.Model(head=head, weights="none", dropout=0.25)
    network = keras.Model(features, HEADS[head](features, classes=2, model=model))
    assert network.get_layer("head_dropout").rate == 0.25


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    keras.mixed_precision.set_global_policy(request.param)
    yield request.param
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
@pytest.mark.parametrize("head", HEADS)
def test_logits_and_attention_stay_float32_in_half_precision(
    head: str, policy: str, rng: np.random.Generator
) -> None:
    model = config.Model("resnet18", head, weights="none", width=0.1, maps=MAPS)
    network = build(model, classes=3, image_size=32)
    assert network.get_layer("features").compute_dtype == policy.removeprefix("mixed_")
    assert network.get_layer("preprocessing").compute_dtype == "float32"
    logits = network(rng.random((2, 32, 32, 3), dtype=np.float32), training=False)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()
    attending = attention_model(network)
    if attending is not None:
        assert attending.output["attention_map"].dtype == tf.float32
