"""What a model makes of heatmaps: networks whose answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tensorflow import keras

from attnrobust import config
from attnrobust.disk import runs
from attnrobust.explanations import faithfulness, randomisation
from attnrobust.explanations.base import NotFinite
from attnrobust.measures import maps

SIDE = 4
LOGIT = 2.0


def bright(images):
    """Two classes: the logit of class 1 is LOGIT times the sum of the left column's red."""
    score = LOGIT * images[:, :, 0, 0].sum(axis=1)
    return np.stack([np.zeros_like(score), score], axis=1)


@pytest.fixture
def image():
    white = np.zeros((1, SIDE, SIDE, 3), np.float32)
    white[:, :, 0] = 1
    return white


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def test_deletion_and_insertion_of_a_model_that_sees_one_column(image):
    """Four pixels in a quarter of the steps hold all; then nothing changes."""
    heat = image[..., 0]
    black, one = np.zeros_like(image), np.array([1])
    deletion, insertion = faithfulness.causal(bright, image, heat, one, baseline=black, steps=4)
    high, low = sigmoid(4 * LOGIT), sigmoid(0)
    # Points high, low, low, low, low, and the other way round.
    assert deletion[0] == pytest.approx((high / 2 + 3.5 * low) / 4)
    assert insertion[0] == pytest.approx((low / 2 + 3.5 * high) / 4)
    worst = faithfulness.causal(bright, image, 1 - heat, one, baseline=black, steps=4)
    assert worst[0][0] == pytest.approx((3.5 * high + low / 2) / 4)
    assert worst[1][0] == pytest.approx((3.5 * low + high / 2) / 4)
    other = faithfulness.causal(bright, image, heat, np.array([0]), baseline=black, steps=4)
    assert other[0][0] == pytest.approx(1 - deletion[0]), "the other class of two"


def test_images_do_not_depend_on_their_batch(image):
    rng = np.random.default_rng(0)
    images = rng.random((7, SIDE, SIDE, 3)).astype(np.float32)
    heat, targets = rng.random((7, SIDE, SIDE)), np.array([0, 1, 1, 0, 1, 0, 1])
    together = faithfulness.causal(bright, images, heat, targets)
    for row in (0, 6):
        alone = faithfulness.causal(
            bright, images[row : row + 1], heat[row : row + 1], targets[row : row + 1]
        )
        np.testing.assert_allclose([each[0] for each in alone], [each[row] for each in together])


def test_a_flat_map_is_not_read_row_by_row():
    """Ties that go in the order of memory would take away the upper half before the lower."""
    ranks = faithfulness._ranks(np.ones((2, SIDE, SIDE)))
    assert sorted(ranks[0].ravel()) == list(range(SIDE * SIDE))
    assert not np.array_equal(ranks[0].ravel(), np.arange(SIDE * SIDE))
    np.testing.assert_array_equal(ranks[0], ranks[1])
    distinct = np.arange(SIDE * SIDE).reshape(1, SIDE, SIDE)
    np.testing.assert_array_equal(faithfulness._ranks(distinct)[0], distinct[0, ::-1, ::-1])


def test_max_sensitivity_is_the_farthest_move_over_the_length():
    images, targets, ids = np.full((3, 2, 2, 3), 0.5), np.zeros(3, int), np.array(["a", "b", "c"])

    def still(pixels, *_):
        return np.ones((len(pixels), 2, 2))

    def moves(pixels, *_):
        return pixels.sum(axis=-1) * 100

    assert not faithfulness.max_sensitivity(still, images, targets, ids).any()
    found = faithfulness.max_sensitivity(moves, images, targets, ids, draws=1, radius=0.02)
    assert (found > 0).all()
    assert (found < 0.02 / 0.5).all(), "no pixel moves by more than 4 %"
    more = faithfulness.max_sensitivity(moves, images, targets, ids, draws=5, radius=0.02)
    assert (more >= found).all()
    assert (more > found).any(), "the farthest of several draws"
    one = faithfulness.max_sensitivity(moves, images[1:2], targets[1:2], ids[1:2], draws=5)
    assert one[0] == pytest.approx(more[1]), "noise goes by image, not by batch"
    nothing = faithfulness.max_sensitivity(lambda *_: np.zeros((3, 2, 2)), images, targets, ids)
    assert np.isnan(nothing).all()


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    found = keras.layers.Normalization(mean=0.5, variance=0.1)(image)
    found = keras.layers.Conv2D(6, 3, activation="tanh", name="first", padding="same")(found)
    found = keras.layers.Conv2D(6, 3, activation="tanh", name="features", padding="same")(found)
    flat = keras.layers.Flatten()(found)
    return keras.Model(image, keras.layers.Dense(3, name="logits")(flat))


def test_the_cascade_goes_from_the_head_back_and_leaves_the_model_as_it_was(network):
    images = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)
    before, seen = network(images).numpy(), []

    def explain():
        seen.append({each.name: each.get_weights() for each in network.layers})
        return np.abs(network.get_layer("features").output_shape[1] * images[..., 0])

    shares = (0.0, 2 / 3, 1.0)
    found = randomisation.cascade(network, explain, shares)
    assert [name for name, _ in found] == ["logits", "features", "first"]
    for values, touched in zip(
        seen,
        ((), ("logits",), ("logits", "features"), ("logits", "features", "first")),
        strict=True,
    ):
        for layer, weights in values.items():
            same = all(map(np.array_equal, weights, seen[0][layer]))
            assert same == (layer not in touched), layer
            for one, other in zip(weights, seen[0][layer], strict=True):
                np.testing.assert_array_equal(np.sort(one.ravel()), np.sort(other.ravel()))
    np.testing.assert_array_equal(network(images).numpy(), before)
    with pytest.raises(ZeroDivisionError):
        randomisation.cascade(network, lambda: seen.append(1) or 1 / 0, shares)


def test_the_model_is_restored_when_an_explanation_fails(network):
    images, calls = np.ones((1, 8, 8, 3), np.float32), []
    before = network(images).numpy()

    def fails_later():
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("of a method")
        return images[..., 0]

    with pytest.raises(RuntimeError, match="of a method"):
        randomisation.cascade(network, fails_later)
    np.testing.assert_array_equal(network(images).numpy(), before)


def files(folder, images):
    ids = np.array([f"i{row}" for row in range(len(images))])
    place = folder / "clean.npz"
    runs.save_npz(place, id=ids, label=np.zeros(len(ids), int), sample_id=ids, sample_image=images)
    runs.save_npz(
        folder / "edges-clean.npz", id=ids, heatmap=images[..., 0], target=np.zeros(len(ids), int)
    )
    return place


@pytest.mark.parametrize("kind", ["warn", "pass", "note"])
def test_a_method_that_shows_the_image_alone_fails(kind, network, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.random((1 if kind == "note" else 8, 8, 8, 3)).astype(np.float32)
    place = files(tmp_path, images)

    def edges(pixels, *_):
        return pixels[..., 0]

    def weights(pixels, *_):
        kernel = network.get_layer("logits").kernel.numpy()[: len(pixels) * 64, 0]
        return np.abs(np.resize(kernel, (len(pixels), 8, 8)))

    method = weights if kind == "pass" else edges
    randomisation.write(network, {"edges": method}, place, tmp_path)
    found = runs.load_json(tmp_path / "randomisation.json")
    (check,) = found["checks"]
    assert (found["images"], check["status"]) == (len(images), kind)
    assert [step["n"] for step in check["cascade"]] == [len(images)] * 4
    value = check["cascade"][-1]["value"]
    assert value < 0.5 if kind == "pass" else value == pytest.approx(1)
    assert ("low" in check["cascade"][-1]) == (kind != "note"), "one image has no interval"


@pytest.mark.parametrize(("stays", "status"), [(False, "pass"), (True, "note")])
def test_a_network_that_overflows_is_judged_before_it_does(stays, status, network, tmp_path):
    """That maps change can be told then; that they stay with all layers random cannot."""
    rng = np.random.default_rng(0)
    images, calls = rng.random((8, 8, 8, 3)).astype(np.float32), []

    def overflows(pixels, *_):
        calls.append(1)
        if len(calls) == 4:
            raise NotFinite("the map of image i0 is not finite")
        return pixels[..., 0] if stays else rng.random((8, 8, 8))

    before = [each.copy() for each in network.get_weights()]
    randomisation.write(network, {"edges": overflows}, files(tmp_path, images), tmp_path)
    (check,) = runs.load_json(tmp_path / "randomisation.json")["checks"]
    assert check["status"] == status
    assert [step["n"] for step in check["cascade"]] == [8, 8, 0]
    assert "no longer finite at features" in check["said"]
    assert all(map(np.array_equal, before, network.get_weights()))


def test_maps_that_are_the_same_everywhere_tell_nothing(network, tmp_path):
    images = np.ones((3, 8, 8, 3), np.float32)
    randomisation.write(
        network, {"edges": lambda pixels, *_: pixels[..., 0]}, files(tmp_path, images), tmp_path
    )
    (check,) = runs.load_json(tmp_path / "randomisation.json")["checks"]
    assert check["status"] == "note"
    assert "nan" not in check["said"]


def test_a_network_whose_scales_fit_only_what_it_learned_ends_in_a_check(tmp_path):
    """Of each layer one channel is as small as its scale is large; shuffled, they multiply."""
    rng = np.random.default_rng(0)
    image = found = keras.Input((4, 4, 3))
    for _ in range(5):
        found = keras.layers.Conv2D(4, 1, use_bias=False)(found)
        found = keras.layers.BatchNormalization(center=False)(found)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(found)))
    scale = np.array([1e10, 1, 1, 1])
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([scale, np.zeros(4), np.ones(4)])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([rng.normal(size=layer.kernel.shape) / scale])
    images, targets = rng.random((4, 4, 4, 3)).astype(np.float32), np.zeros(4, int)
    ids = np.array([f"i{row}" for row in range(4)])
    methods = faithfulness.explainers(model, config.Explanation(methods=("gradient",)), 0)
    place, heat = files(tmp_path, images), methods["gradient"](images, targets, ids)
    assert heat.any()
    runs.save_npz(tmp_path / "gradient-clean.npz", id=ids, heatmap=heat, target=targets)
    randomisation.write(model, methods, place, tmp_path)
    (check,) = runs.load_json(tmp_path / "randomisation.json")["checks"]
    assert check["status"] in ("pass", "note")
    assert check["cascade"][-1]["n"] == 0


def test_what_shares_nothing_counts_as_zero_and_an_empty_map_does_not_count():
    ramp = np.arange(9.0).reshape(3, 3)
    assert randomisation._alike(ramp, np.zeros((3, 3))) == 0
    assert np.isnan(randomisation._alike(np.zeros((3, 3)), ramp))
    assert randomisation._alike(ramp, ramp) == pytest.approx(maps.spearman(ramp, ramp))
