"""Backbones: names that hold, pixels as the weights expect them, cuts where they belong."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, stack
from attnrobust.errors import UserError
from attnrobust.models.backbones import (
    BACKBONES,
    efficientnet,
    inception,
    inception_v4,
    mobilenet,
    resnet,
)
from attnrobust.models.backbones.base import Preprocessing
from attnrobust.models.build import build
from attnrobust.models.heads import HEADS

NAMES = list(BACKBONES)  # before the tests add theirs
EFFICIENTNETS = tuple(efficientnet.ROWS)
# Keras' own for EfficientNet does nothing; this is what the network was made for.
_torch = functools.partial(keras.applications.imagenet_utils.preprocess_input, mode="torch")
# keras.applications' own preprocessing of the networks that come from there.
KERAS_PREPROCESSING = {
    "resnet50": keras.applications.resnet50.preprocess_input,
    "inception_resnet_v2": keras.applications.inception_resnet_v2.preprocess_input,
    "inception_v3": keras.applications.inception_v3.preprocess_input,
    "mobilenet": keras.applications.mobilenet.preprocess_input,
    **dict.fromkeys(EFFICIENTNETS, _torch),
}
# Feature maps at the usual image size.
MAPS = {
    ("resnet50", "full"): (7, 7, 2048),
    ("resnet50", "literal"): (7, 7, 2048),
    ("inception_resnet_v2", "full"): (8, 8, 1536),
    ("inception_resnet_v2", "literal"): (8, 8, 192),
    ("mobilenet", "full"): (7, 7, 1024),
    ("resnet18", "full"): (7, 7, 512),
    ("inception_v3", "full"): (8, 8, 2048),
    ("inception_v4", "full"): (8, 8, 1536),
    ("efficientnet_b0", "full"): (7, 7, 1280),
    ("efficientnet_b1", "full"): (8, 8, 1280),
    ("efficientnet_b2", "full"): (9, 9, 1408),
    ("efficientnet_b3", "full"): (10, 10, 1536),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _network(name: str, *, size: int | None = None, width: float = 1.0) -> keras.Model:
    row = BACKBONES[name]
    size = size or row.size
    return row.build(keras.Input((size, size, 3)), width, None)


# They take many seconds to build; efficientnet_b0 and inception_v3 share their functions.
LARGE = ("inception_resnet_v2", "inception_v4", *EFFICIENTNETS[1:])


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in BACKBONES],
)
def uncut(request: pytest.FixtureRequest) -> tuple[str, keras.Model]:
    return request.param, _network(request.param)


@pytest.mark.parametrize("variant", ["paper", "literal"])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_fits_on_the_map_of_every_backbone(head: str, variant: str) -> None:
    """In a graph, so that no weights are drawn; that those are the maps stands below."""
    assert {name for name, _ in MAPS} == set(NAMES)
    for (name, cut), shape in MAPS.items():
        with tf.Graph().as_default():
            features = keras.Input(shape)
            model = config.Model(name, head, cut=cut, variant=variant)
            logits = HEADS[head](features, classes=5, model=model)
            assert logits.shape.as_list() == [None, 5]
            keras.Model(features, logits)


def test_a_cut_down_efficientnet_is_that_of_keras_on_standardised_images(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth as wide and deep, built as the rows are: whole ones take many seconds."""
    made = []
    family = importlib.import_module(keras.applications.EfficientNetB0.__module__)

    def constructor(**options: object) -> keras.Model:
        made.append(family.EfficientNet(0.1, 0.1, 32, **options))
        return made[-1]

    row = efficientnet._row("cut_down", constructor, 32)
    monkeypatch.setitem(BACKBONES, "cut_down", row)
    model = config.Model("cut_down", "soft_attention", weights="none", maps=4)
    network = build(model, classes=3, image_size=32)
    for tap, side in zip(row.taps, (16, 8, 4, 2, 1), strict=True):
        assert network.get_layer(tap).output.shape[1] == side
    (original,) = made
    for layer in original.layers:  # so that BatchNorm does something
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, each.shape) for each in layer.get_weights()])
    weights = original.get_weights()[3:]
    features = keras.Model(network.input, network.get_layer("features").output)
    features.set_weights([*features.get_weights()[:2], *weights])
    images = rng.random((2, 32, 32, 3), dtype=np.float32)
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = original(255 * (images - np.float32(mean)) / np.float32(deviation)).numpy()
    assert np.isfinite(expected).all()
    assert expected.std() > 0
    np.testing.assert_allclose(features(images), expected, rtol=1e-3, atol=1e-5)
    logits = network(images)
    assert logits.shape == (2, 3)
    assert np.isfinite(logits).all()


def test_every_family_is_in_the_table() -> None:
    families = (resnet, inception, inception_v4, mobilenet, efficientnet)
    assert [name for family in families for name in family.ROWS] == NAMES


def test_taps_exist_and_shrink_towards_the_end(uncut: tuple[str, keras.Model]) -> None:
    name, network = uncut
    sizes = [network.get_layer(tap).output.shape[1] for tap in BACKBONES[name].taps]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_cuts_give_the_documented_maps(uncut: tuple[str, keras.Model]) -> None:
    name, network = uncut
    for cut, find in BACKBONES[name].cuts.items():
        assert tuple(find(network).shape[1:]) == MAPS[name, cut]


def test_cut_full_is_the_last_tap(uncut: tuple[str, keras.Model]) -> None:
    name, network = uncut
    last = network.get_layer(BACKBONES[name].taps[-1]).output
    assert BACKBONES[name].cuts["full"](network) is last


def test_preprocessing_is_that_of_keras(
    uncut: tuple[str, keras.Model], rng: np.random.Generator
) -> None:
    name, network = uncut
    if name not in KERAS_PREPROCESSING:
        pytest.skip(f"{name} is not from keras.applications")
    images = rng.random((2, 5, 4, 3), dtype=np.float32)
    expected = KERAS_PREPROCESSING[name](255 * images)
    np.testing.assert_allclose(network.get_layer("preprocessing")(images), expected, atol=1e-3)


def test_the_network_is_flat(uncut: tuple[str, keras.Model]) -> None:
    _, network = uncut
    assert not any(isinstance(layer, keras.Model) for layer in network.layers)


@pytest.mark.slow
@pytest.mark.parametrize("uncut", ["inception_resnet_v2"], indirect=True)
def test_side_branch_ends_before_its_relu(uncut: tuple[str, keras.Model]) -> None:
    name, network = uncut
    branch = BACKBONES[name].cuts["literal"](network)
    (layer,) = [layer for layer in network.layers if layer.output is branch]
    assert isinstance(layer, keras.layers.BatchNormalization)
    assert layer is network.layers[-28 + 2]  # the published index counts pooling and top too


@pytest.mark.parametrize(
    ("size", "expected"), [(32, 4), (63, 8), (64, 4), (127, 8), (128, 4), (224, 7)]
)
def test_resnet18_keeps_a_map_of_four_to_eight(size: int, expected: int) -> None:
    network = _network("resnet18", size=size, width=0.05)
    assert tuple(network.output.shape[1:3]) == (expected, expected)


def test_resnet18_has_the_size_of_the_paper() -> None:
    # torchvision's resnet18 has 11,689,512 with its 513,000 of the top; ours adds the running
    # means and variances of batch normalisation, 2 x 4,800, which that number leaves out.
    assert _network("resnet18").count_params() == 11_689_512 - 513_000 + 2 * 4_800


@pytest.mark.parametrize("size", [6, 7])
def test_the_shortcut_of_narrow_networks_is_the_same_function(
    size: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """It leaves out what a stride would; such a stride ends the process in training."""
    images = keras.Input((size, size, 8))
    blocks = []
    for narrow in (0, 16):
        monkeypatch.setattr(resnet, "NARROW", narrow)
        blocks.append(keras.Model(images, resnet._basic_block(images, 16, 2, "block")))
    strided, pooled = blocks
    pooled.set_weights(strided.get_weights())
    assert strided.get_layer("block_0_conv").strides == (2, 2)
    assert pooled.get_layer("block_0_conv").strides == (1, 1)
    batch = rng.normal(size=(4, size, size, 8)).astype(np.float32)
    np.testing.assert_allclose(pooled(batch), strided(batch), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("uncut", ["inception_v4"], indirect=True)
def test_inception_v4_has_the_layers_of_the_paper_and_the_size_that_is_published(
    uncut: tuple[str, keras.Model],
) -> None:
    """Shapes at 299 px as in figures 3 to 9."""
    _, network = uncut
    shapes = {
        "stem_1_relu": (149, 149, 32),
        "stem_2_relu": (147, 147, 32),
        "stem_3_relu": (147, 147, 64),
        "mixed_3a": (73, 73, 160),
        "mixed_4a": (71, 71, 192),
        "mixed_5a": (35, 35, 384),
        "mixed_5e": (35, 35, 384),
        "mixed_6a": (17, 17, 1024),
        "mixed_6h": (17, 17, 1024),
        "mixed_7a": (8, 8, 1536),
        "mixed_7d": (8, 8, 1536),
    }
    assert {name: network.get_layer(name).output.shape[1:] for name in shapes} == shapes
    convolutions = [each for each in network.layers if isinstance(each, keras.layers.Conv2D)]
    assert len(convolutions) == 3 + 1 + 6 + 1 + 4 * 7 + 4 + 7 * 10 + 6 + 3 * 10
    # timm's inception_v4 has 42,679,816 with its 1,537,000 of the top; its batch normalisations
    # have a scale and a shift, ours, as the authors', only the shift.
    kernels, shifts = (
        sum(weight.shape.num_elements() for weight in network.weights if kind in weight.name)
        for kind in ("kernel", "beta")
    )
    assert kernels + 2 * shifts == 42_679_816 - 1_537_000
    trainable = sum(weight.shape.num_elements() for weight in network.trainable_weights)
    assert trainable == kernels + shifts


@pytest.mark.slow
def test_inception_v4_answers_on_its_smallest_images(rng: np.random.Generator) -> None:
    model = config.Model("inception_v4", "gap", weights="none", width=0.03)
    network = build(model, classes=3, image_size=75)
    logits = network(rng.random((2, 75, 75, 3), dtype=np.float32))
    assert logits.shape == (2, 3)
    assert np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).min() > 0, "another image, another answer"


@pytest.mark.parametrize("name", ["mobilenet", "resnet18"])
def test_width_scales_the_filters(name: str) -> None:
    narrow = _network(name, size=64, width=0.25)
    assert narrow.output.shape[-1] * 4 == MAPS[name, "full"][-1]


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"mobilenet", "resnet18", "inception_v4"}))
def test_width_is_refused_where_there_is_one(name: str) -> None:
    with pytest.raises(UserError, match=rf"model\.width = 0\.5: {name}"):
        _network(name, width=0.5)


def test_width_too_small_for_mobilenet() -> None:
    with pytest.raises(UserError, match="at least 1/32"):
        _network("mobilenet", width=0.01)


def test_imagenet_weights_of_an_odd_width_or_of_our_own_networks_do_not_exist() -> None:
    images = keras.Input((64, 64, 3))
    with pytest.raises(UserError, match="ImageNet weights of mobilenet exist for"):
        BACKBONES["mobilenet"].build(images, 0.3, "imagenet")
    for name in ("resnet18", "inception_v4"):
        with pytest.raises(UserError, match=f"none for {name}"):
            BACKBONES[name].build(images, 1.0, "imagenet")


@pytest.mark.parametrize(
    ("name", "width", "file"),
    [
        ("mobilenet", 0.25, "mobilenet_2_5_128_tf_no_top.h5"),
        ("efficientnet_b0", 1.0, "efficientnetb0_notop.h5"),
    ],
)
def test_failed_download_names_the_file_and_the_way_out(
    name: str, width: float, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(name: str, origin: str, **_: object) -> str:
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] unknown host")

    monkeypatch.setattr(stack.inside_keras("src.utils.data_utils"), "get_file", no_network)
    with pytest.raises(UserError) as caught:
        BACKBONES[name].build(keras.Input((128, 128, 3)), width, "imagenet")
    message = str(caught.value)
    assert file in message
    assert "--set model.weights=FILE.h5" in message
    assert "\n" not in message


def test_other_errors_of_keras_pass_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(name: str, origin: str, **_: object) -> str:
        raise ValueError("hash differs")

    monkeypatch.setattr(stack.inside_keras("src.utils.data_utils"), "get_file", damaged)
    with pytest.raises(ValueError, match="hash differs"):
        BACKBONES["mobilenet"].build(keras.Input((128, 128, 3)), 0.25, "imagenet")


def test_preprocessing_survives_a_round_trip() -> None:
    layer = Preprocessing("caffe", name="preprocessing")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.mode, again.name, again.dtype) == ("caffe", "preprocessing", "float32")


def test_unknown_preprocessing_lists_the_known() -> None:
    with pytest.raises(UserError, match="known: caffe, tf"):
        Preprocessing("torch")


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the one that Keras downloads: random weights, ImageNet's mistaken variances."""
    network = keras.applications.EfficientNetB0(False, weights=None, input_shape=(64, 64, 3))
    rng = np.random.default_rng(3)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        if isinstance(layer, keras.layers.Normalization):
            pixels = np.array(efficientnet.MEAN), np.array(efficientnet.DEVIATION)
            layer.set_weights([*pixels, np.array(0)])
    path = tmp_path_factory.mktemp("imagenet") / "efficientnetb0_notop.h5"
    network.save_weights(path)
    return path


@pytest.fixture
def stock(imagenet: Path, monkeypatch: pytest.MonkeyPatch) -> keras.Model:
    """Keras' own network from that file, in place of a download."""
    monkeypatch.setattr(
        stack.inside_keras("src.utils.data_utils"), "get_file", lambda *_, **__: str(imagenet)
    )
    return keras.applications.EfficientNetB0(False, weights="imagenet", input_shape=(64, 64, 3))


@pytest.mark.slow
def test_efficientnet_sees_what_keras_sees(stock: keras.Model, rng: np.random.Generator) -> None:
    """Features and gradients by the image, the same twice: no dropped connection, no noise."""
    ours = BACKBONES["efficientnet_b0"].build(keras.Input((64, 64, 3)), 1.0, "imagenet")
    images = tf.constant(rng.random((2, 64, 64, 3), dtype=np.float32))
    answers = []
    for function in (lambda x: stock(255 * x, training=False), lambda x: ours(x, training=False)):
        for _ in range(2):
            with tf.GradientTape() as tape:
                tape.watch(images)
                features = function(images)
                loss = tf.reduce_sum(tf.square(features))
            answers.append((features.numpy(), tape.gradient(loss, images).numpy()))
    (features, gradient), _, first, second = answers
    for one, two, expected in zip(first, second, (features, gradient), strict=True):
        np.testing.assert_array_equal(one, two)
        scale = np.abs(expected).max()
        assert scale > 0
        np.testing.assert_allclose(one / scale, expected / scale, atol=1e-4)


@pytest.mark.slow
def test_efficientnet_is_one_network_with_and_without_imagenet(stock: keras.Model) -> None:
    images = keras.Input((64, 64, 3))
    networks = [BACKBONES["efficientnet_b0"].build(images, 1.0, w) for w in (None, "imagenet")]
    for network in networks:
        mean, deviation = network.get_layer("preprocessing").get_weights()
        np.testing.assert_array_equal(mean, np.float32(efficientnet.MEAN))
        np.testing.assert_array_equal(deviation, np.float32(efficientnet.DEVIATION))
        assert not network.get_layer("preprocessing").trainable_weights
        assert not any(isinstance(layer, keras.layers.Normalization) for layer in network.layers)
    one, other = ([(w.name, w.shape) for w in network.weights] for network in networks)
    assert one == other
    one, other = ([layer.name for layer in network.layers] for network in networks)
    assert one == other


@pytest.mark.slow
def test_efficientnet_keeps_its_pixels_in_half_precision(rng: np.random.Generator) -> None:
    images = rng.random((1, 32, 32, 3), dtype=np.float32)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = _network("efficientnet_b0", size=32)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert network.output.dtype == tf.bfloat16
    assert {weight.dtype for weight in network.weights} == {tf.float32}
    pixels = keras.Model(network.input, network.get_layer("preprocessing").output)(images)
    np.testing.assert_allclose(pixels, _torch(255 * images), atol=1e-5)


@pytest.mark.slow
def test_efficientnet_cloned_is_the_same(rng: np.random.Generator) -> None:
    network = _network("efficientnet_b0", size=32)
    pixels = [np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])]
    network.get_layer("preprocessing").set_weights(pixels)
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    images = rng.random((2, 32, 32, 3), dtype=np.float32)
    np.testing.assert_array_equal(copy(images), network(images))
