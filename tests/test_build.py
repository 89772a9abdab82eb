"""Models as a whole: the contract of every backbone with every head, weights, sizes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.models.backbones import BACKBONES
from attnrobust.models.build import (
    PAPER_MODELS,
    attention_model,
    build,
    count_parameters,
    input_scale,
    parameter_table,
)
from attnrobust.models.heads import HEADS

CLASSES = 3
SMALL = config.Model("resnet18", "gap", weights="none", width=0.1, maps=4)
# Hundreds of layers: many seconds a build.
LARGE = ("inception_resnet_v2", "inception_v4", *(f"efficientnet_b{number}" for number in range(4)))
# A head sees a map alone, so all of them are shown on a small network, and one on each backbone.
PAIRS = [
    (backbone, head)
    for backbone in BACKBONES
    for head in HEADS
    if head == "soft_attention" or backbone == "resnet18"
]


def _slow(backbone: str, large: tuple[str, ...] = LARGE) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] * (backbone in large)


def _rows(pairs: list[tuple[str, str]]) -> list:
    return [pytest.param(pair, id="-".join(pair), marks=_slow(pair[0])) for pair in pairs]


def _config(backbone: str, head: str, **fields: object) -> config.Model:
    width = 0.25 if backbone in ("mobilenet", "resnet18") else 1.0
    return replace(config.Model(backbone, head, weights="none", width=width), **fields)


def _size(backbone: str) -> int:
    return max(64, BACKBONES[backbone].smallest)


def _images(size: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(5).random((count, size, size, 3), dtype=np.float32)


def _logits(network: keras.Model, images: np.ndarray) -> np.ndarray:
    return network(images, training=False).numpy()


@pytest.fixture(scope="module", params=_rows(PAIRS))
def built(request: pytest.FixtureRequest) -> tuple[config.Model, keras.Model]:
    keras.utils.set_random_seed(7)
    model = _config(*request.param)
    return model, build(model, classes=CLASSES, image_size=_size(model.backbone))


def test_contract(built: tuple[config.Model, keras.Model]) -> None:
    model, network = built
    size = _size(model.backbone)
    assert network.name == f"{model.backbone}_{model.head}"
    assert not any(isinstance(layer, keras.Model) for layer in network.layers)
    assert network.get_layer("logits").output is network.output
    assert network.get_layer("features").output.shape.rank == 4
    for tap in BACKBONES[model.backbone].taps:
        assert network.get_layer(tap).output.shape.rank == 4
    images = np.stack([np.zeros((size, size, 3)), np.ones((size, size, 3))]).astype(np.float32)
    logits = network(images, training=False)
    assert logits.shape == (2, CLASSES)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()


def test_attention_model(built: tuple[config.Model, keras.Model]) -> None:
    model, network = built
    attending = attention_model(network)
    if not model.head.startswith("soft_attention"):
        assert attending is None
        return
    images = _images(_size(model.backbone))
    outputs = attending(images, training=False)
    np.testing.assert_array_equal(outputs["logits"], _logits(network, images))
    assert outputs["attention_map"].shape == (2, *network.get_layer("features").output.shape[1:3])
    total = tf.reduce_sum(outputs["attention_map"], axis=(1, 2))
    np.testing.assert_allclose(total, model.maps, rtol=1e-4)


@pytest.mark.slow
def test_whole_model_file_gives_the_same_logits(
    built: tuple[config.Model, keras.Model], tmp_path: Path
) -> None:
    model, network = built
    _check_round_trip(model, network, tmp_path / "model.h5", _size(model.backbone))


def _check_round_trip(model: config.Model, network: keras.Model, path: Path, size: int) -> None:
    # Random moving averages and biases, so that an exchange of two like-shaped arrays shows.
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    network.save_weights(path)
    again = build(replace(model, weights=str(path)), classes=CLASSES, image_size=size)
    expected = _logits(network, _images(size))
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(_logits(again, _images(size)), expected)


@pytest.mark.slow
def test_whole_model_file_of_a_literal_cut(tmp_path: Path) -> None:
    model = _config("resnet50", "soft_attention", cut="literal", variant="literal")
    network = build(model, classes=CLASSES, image_size=32)
    _check_round_trip(model, network, tmp_path / "model.h5", 32)


def _check_keras_file(model: config.Model, path: Path) -> None:
    network = build(model, classes=CLASSES, image_size=_size(model.backbone))
    network.save(path)
    again = keras.models.load_model(path, safe_mode=True)
    images = _images(_size(model.backbone))
    np.testing.assert_array_equal(_logits(again, images), _logits(network, images))


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["paper", "literal"])
@pytest.mark.parametrize("head", HEADS)
def test_keras_file_of_every_head(head: str, variant: str, tmp_path: Path) -> None:
    _check_keras_file(replace(SMALL, head=head, variant=variant), tmp_path / "model.keras")


@pytest.mark.parametrize(
    "backbone",
    [
        # Keras takes up to a minute to load hundreds of layers from a .keras file.
        pytest.param(name, marks=_slow(name, (*LARGE, "inception_v3", "resnet50")))
        for name in BACKBONES
    ],
)
def test_keras_file_of_every_backbone(backbone: str, tmp_path: Path) -> None:
    _check_keras_file(_config(backbone, "gap"), tmp_path / "model.keras")


def test_same_seed_same_weights() -> None:
    networks = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        networks.append(
            build(replace(SMALL, head="soft_attention"), classes=CLASSES, image_size=32)
        )
    first, same, other = (_logits(network, _images(32)) for network in networks)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_literal_cut_drops_what_lies_behind_it() -> None:
    network = build(_config("resnet50", "gap", cut="literal"), classes=CLASSES, image_size=32)
    names = [layer.name for layer in network.layers]
    assert "conv5_block3_add" in names
    assert "conv5_block3_out" not in names
    assert (network.get_layer("features")(-np.ones(2)) < 0).numpy().all()


def test_sizes_of_the_papers_resnet() -> None:
    """Seven classes; 1.25 % and 1.31 % more weights on ResNet-50 (Wasserman: under 1.3 %)."""
    plain, paper, literal = parameter_table(PAPER_MODELS[:3])
    assert plain.parameters == 23_602_055
    assert (plain.variant, plain.attention, plain.share) == ("", 0, 0)
    assert (literal.parameters, literal.attention) == (23_911_319, 294_928)
    assert (paper.parameters, paper.attention) == (23_911_320, 294_929)  # gamma
    assert round(100 * literal.attention / plain.parameters, 2) == 1.25
    assert round(literal.share, 2) == 1.25
    assert round(100 * (literal.parameters / plain.parameters - 1), 2) == 1.31
    assert [row.variant for row in (plain, paper, literal)] == ["", "paper", "literal"]


@pytest.mark.slow
def test_sizes_of_the_papers_inception() -> None:
    rows = parameter_table()
    assert [(row.backbone, row.head, row.cut) for row in rows] == [
        (model.backbone, model.head, model.cut) for model in PAPER_MODELS
    ]
    branch, branch_paper, branch_literal = rows[3:]
    assert branch.parameters == 47_550_631
    assert branch_literal.parameters == 47_535_287
    assert branch_paper.parameters == 47_535_288
    assert [row.variant for row in rows[3:]] == ["", "paper", "literal"]


@pytest.mark.parametrize("model", [SMALL, replace(SMALL, head="soft_attention", variant="literal")])
def test_sizes_are_those_of_the_network(model: config.Model) -> None:
    (row,) = parameter_table([model], classes=CLASSES)
    network = build(model, classes=CLASSES, image_size=BACKBONES[model.backbone].size)
    assert (row.parameters, row.attention) == count_parameters(network)


@pytest.mark.parametrize(
    ("fields", "size", "message"),
    [
        ({"backbone": "resnet5"}, 64, "no model.backbone 'resnet5'; did you mean resnet50"),
        (
            {"head": "softattention"},
            64,
            "no model.head 'softattention'; did you mean soft_",
        ),
        ({"cut": "literal"}, 64, "no model.cut of resnet18 'literal'; known: full"),
        ({"backbone": "inception_resnet_v2", "width": 1.0}, 64, "data.image_size = 64: .* 75"),
        ({"weights": "imagenett"}, 64, "imagenett: no such file; expected imagenet, none"),
    ],
)
def test_user_errors(fields: dict[str, object], size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(replace(SMALL, **fields), classes=CLASSES, image_size=size)


def _build_from(path: Path, **fields: object) -> keras.Model:
    model = config.Model("mobilenet", weights=str(path), width=0.25)
    return build(replace(model, **fields), classes=CLASSES, image_size=64)


@pytest.fixture(scope="module")
def with_top(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """A whole MobileNet as Keras saves it, standing for the downloaded ImageNet file."""
    network = keras.applications.MobileNet((64, 64, 3), alpha=0.25, weights=None, classes=11)
    path = tmp_path_factory.mktemp("weights") / "top.h5"
    network.save_weights(path)
    return network, path


def test_file_with_top_fills_the_backbone(with_top: tuple[keras.Model, Path]) -> None:
    network, path = with_top
    ours = _build_from(path)
    expected = keras.Model(network.input, network.get_layer("conv_pw_13_relu").output)
    images = _images(64)
    found = keras.Model(ours.input, ours.get_layer("features").output)(images, training=False)
    np.testing.assert_allclose(found, expected(2 * images - 1, training=False), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "constructor", "top"),
    [
        ("efficientnet_b0", "EfficientNetB0", True),
        ("efficientnet_b0", "EfficientNetB0", False),
        ("efficientnet_b1", "EfficientNetB1", False),
        ("efficientnet_b2", "EfficientNetB2", False),
        ("efficientnet_b3", "EfficientNetB3", True),
        ("inception_v3", "InceptionV3", True),
        ("inception_v3", "InceptionV3", False),
    ],
)
def test_file_of_a_keras_network_gives_its_features(backbone, constructor, top, tmp_path) -> None:
    size = BACKBONES[backbone].smallest
    network = getattr(keras.applications, constructor)(
        top, weights=None, input_shape=(size, size, 3), classes=11
    )
    rng, last = np.random.default_rng(2), BACKBONES[backbone].taps[-1]
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        if isinstance(layer, keras.layers.Normalization):  # of a user's own training
            pixels = np.array([0.3, 0.4, 0.5]), np.array([0.04, 0.09, 0.16])
            layer.set_weights([*pixels, np.array(7)])
    network.save_weights(tmp_path / "keras.h5")
    model = config.Model(backbone, weights=str(tmp_path / "keras.h5"))
    ours = build(model, classes=CLASSES, image_size=size)
    images = _images(size)
    # EfficientNet takes 0 to 255, the others [-1, 1].
    pixels = 255 * images if "efficient" in backbone else 2 * images - 1
    expected = keras.Model(network.input, network.get_layer(last).output)(pixels, training=False)
    found = keras.Model(ours.input, ours.get_layer("features").output)(images, training=False)
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)


def test_other_layouts_of_keras_files_are_read(
    with_top: tuple[keras.Model, Path], tmp_path: Path
) -> None:
    nested, chunks = tmp_path / "nested.h5", tmp_path / "chunks.h5"
    with h5py.File(with_top[1], "r") as source, h5py.File(nested, "w") as target:
        source.copy(source, target, name="model_weights")  # as model.save() writes it
    shutil.copy(with_top[1], chunks)
    with h5py.File(chunks, "r+") as file:  # as Keras splits long lists
        names = file.attrs.pop("layer_names")
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:10], names[10:]
    for path in (nested, chunks):
        ours = _build_from(path).get_weights()[:-2]
        for one, other in zip(ours, with_top[0].get_weights()[:-2], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("content", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(99)])
def test_damaged_weights_of_a_run_say_what_to_do(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    model = replace(SMALL, weights=str(path))
    with pytest.raises(UserError, match=r"weights\.h5: not a readable HDF5 file .*; do it again$"):
        build(model, classes=2, image_size=64, again="do it again")
    with pytest.raises(UserError, match=r"not a readable HDF5 file \([^;]*\)$"):
        build(model, classes=2, image_size=64)


def test_weights_of_another_width_are_refused(with_top: tuple[keras.Model, Path]) -> None:
    with pytest.raises(UserError, match=r"top\.h5: layer 'conv1' holds .* needs \[\(3, 3, 3, 16\)"):
        _build_from(with_top[1], width=0.5)


def test_weights_with_too_few_or_too_many_layers_are_refused(
    with_top: tuple[keras.Model, Path], tmp_path: Path
) -> None:
    for change in ("fewer", "more"):
        path = tmp_path / f"{change}.h5"
        shutil.copy(with_top[1], path)
        with h5py.File(path, "r+") as file:
            names = list(file.attrs["layer_names"])
            names = names[:-10] if change == "fewer" else [*names, "a", "b"]
            for extra in ("a", "b"):
                group = file.create_group(extra)
                group["w"] = np.zeros(2)
                group.attrs["weight_names"] = [b"w"]
            file.attrs["layer_names"] = [np.bytes_(name) for name in names]
        with pytest.raises(UserError, match=r"layers with weights, but mobilenet_0\.25_64 has 54"):
            _build_from(path)


def test_whole_model_file_of_other_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seven.h5"
    build(SMALL, classes=7, image_size=32).save_weights(path)
    with pytest.raises(UserError, match=r"seven\.h5: layer 'logits' holds .*7.* needs .*3"):
        build(replace(SMALL, weights=str(path)), classes=CLASSES, image_size=32)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.h5"
    network = build(SMALL, classes=CLASSES, image_size=32)
    layer = next(layer for layer in network.layers if layer.weights)
    layer.set_weights([array + np.nan for array in layer.get_weights()])
    network.save_weights(path)
    with pytest.raises(UserError, match=rf"broken\.h5: layer {layer.name} holds numbers that are"):
        build(replace(SMALL, weights=str(path)), classes=CLASSES, image_size=32)


def test_unreadable_weights_are_one_line(tmp_path: Path) -> None:
    text, cut, other = (tmp_path / name for name in ("text.h5", "cut.h5", "x.weights.h5"))
    text.write_text("<html>not found</html>")
    network = build(SMALL, classes=CLASSES, image_size=32)
    network.save_weights(other)
    network.save_weights(cut)
    cut.write_bytes(cut.read_bytes()[:-1000])
    unreadable, foreign = "not a readable HDF5 file", "not a Keras weights file"
    for path, message in ((text, unreadable), (cut, unreadable), (other, foreign)):
        with pytest.raises(UserError, match=message) as caught:
            build(replace(SMALL, weights=str(path)), classes=CLASSES, image_size=32)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_real_weights_give_what_keras_gives(real_weights: Path) -> None:
    path = real_weights / "mobilenet_0.75_224_notop.h5"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    theirs = keras.applications.MobileNet(
        (128, 128, 3), alpha=0.75, include_top=False, weights=str(path)
    )
    model = config.Model("mobilenet", weights=str(path), width=0.75)
    ours = build(model, classes=CLASSES, image_size=128)
    images = _images(128)
    expected = theirs(keras.applications.mobilenet.preprocess_input(255 * images), training=False)
    features = keras.Model(ours.input, ours.get_layer("features").output)(images, training=False)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(features, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "scale"), [("resnet50", 255), ("mobilenet", 2), ("efficientnet_b0", 1 / 0.224)]
)
def test_input_scale_is_that_of_the_preprocessing(backbone, scale):
    model = build(config.Model(backbone, weights="none"), classes=2, image_size=32)
    assert input_scale(model) == pytest.approx(scale, rel=1e-5)
