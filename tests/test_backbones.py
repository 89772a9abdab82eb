"""Backbones: names that hold, pixels as the weights expect them, cuts where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow import keras

from attnrobust.errors import UserError
from attnrobust.models.backbones import BACKBONES, Preprocessing

# keras.applications' own preprocessing of the networks that come from there.
KERAS_PREPROCESSING = {
    "resnet50": keras.applications.resnet50.preprocess_input,
    "inception_resnet_v2": keras.applications.inception_resnet_v2.preprocess_input,
    "mobilenet": keras.applications.mobilenet.preprocess_input,
}
# Feature maps at the usual image size.
MAPS = {
    ("resnet50", "full"): (7, 7, 2048),
    ("resnet50", "literal"): (7, 7, 2048),
    ("inception_resnet_v2", "full"): (8, 8, 1536),
    ("inception_resnet_v2", "literal"): (8, 8, 192),
    ("mobilenet", "full"): (7, 7, 1024),
    ("resnet18", "full"): (7, 7, 512),
}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _network(name: str, *, size: int | None = None, width: float = 1.0) -> keras.Model:
    row = BACKBONES[name]
    size = size or row.size
    return row.build(keras.Input((size, size, 3)), width, None)


@pytest.fixture(scope="module", params=BACKBONES)
def uncut(request: pytest.FixtureRequest) -> tuple[str, keras.Model]:
    return request.param, _network(request.param)


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


@pytest.mark.parametrize("name", ["mobilenet", "resnet18"])
def test_width_scales_the_filters(name: str) -> None:
    narrow = _network(name, size=64, width=0.25)
    assert narrow.output.shape[-1] * 4 == MAPS[name, "full"][-1]


@pytest.mark.parametrize("name", ["resnet50", "inception_resnet_v2"])
def test_width_is_refused_where_there_is_one(name: str) -> None:
    with pytest.raises(UserError, match=rf"model\.width = 0\.5: {name}"):
        _network(name, width=0.5)


def test_width_too_small_for_mobilenet() -> None:
    with pytest.raises(UserError, match="at least 1/32"):
        _network("mobilenet", width=0.01)


def test_imagenet_weights_of_an_odd_width_or_of_resnet18_do_not_exist() -> None:
    images = keras.Input((64, 64, 3))
    with pytest.raises(UserError, match="ImageNet weights of mobilenet exist for"):
        BACKBONES["mobilenet"].build(images, 0.3, "imagenet")
    with pytest.raises(UserError, match="none for resnet18"):
        BACKBONES["resnet18"].build(images, 1.0, "imagenet")


def test_failed_download_names_the_file_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(name: str, origin: str, **_: object) -> str:
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] unknown host")

    monkeypatch.setattr("keras.src.utils.data_utils.get_file", no_network)
    with pytest.raises(UserError) as caught:
        BACKBONES["mobilenet"].build(keras.Input((128, 128, 3)), 0.25, "imagenet")
    message = str(caught.value)
    assert "mobilenet_2_5_128_tf_no_top.h5" in message
    assert "--set model.weights=FILE.h5" in message
    assert "\n" not in message


def test_other_errors_of_keras_pass_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(name: str, origin: str, **_: object) -> str:
        raise ValueError("hash differs")

    monkeypatch.setattr("keras.src.utils.data_utils.get_file", damaged)
    with pytest.raises(ValueError, match="hash differs"):
        BACKBONES["mobilenet"].build(keras.Input((128, 128, 3)), 0.25, "imagenet")


def test_preprocessing_survives_a_round_trip() -> None:
    layer = Preprocessing("caffe", name="preprocessing")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.mode, again.name, again.dtype) == ("caffe", "preprocessing", "float32")


def test_unknown_preprocessing_lists_the_known() -> None:
    with pytest.raises(UserError, match="known: caffe, tf"):
        Preprocessing("torch")
