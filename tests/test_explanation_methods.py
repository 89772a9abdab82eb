"""Methods of explanation: networks whose answer is known, and other people's implementations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
from tf_keras_vis.layercam import Layercam
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.scorecam import Scorecam
from tf_keras_vis.utils.scores import CategoricalScore

from attnrobust import config
from attnrobust.explanations import base
from attnrobust.explanations.base import Batch
from attnrobust.explanations.baselines import BASELINES
from attnrobust.explanations.methods import EXPLANATIONS, heatmaps
from attnrobust.keyed import generator
from attnrobust.models import build

PIXELS = [n for n, row in EXPLANATIONS.items() if not (row.needs_layer or row.needs_attention)]
CAMS = [name for name, row in EXPLANATIONS.items() if row.needs_layer]
# 7 px squares every 3 px on images of 24 px.
FINE = config.Explanation(
    occlusion_patch=round(7 * 224 / 24), occlusion_stride=round(3 * 224 / 24), occlusion_fill=0.0
)


def of(images, targets, seed=0):
    return Batch(images, np.asarray(targets), np.array([f"i{k}" for k in range(len(images))]), seed)


def attributions(name, model, batch, **settings):
    return EXPLANATIONS[name].explain(model, batch, config.Explanation(**settings)).attributions


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 24, 24, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def model(tiny):
    keras.utils.set_random_seed(0)
    return build.build(tiny.model, classes=7, image_size=32)


@pytest.fixture(scope="module")
def larger():
    return np.random.default_rng(0).random((5, 32, 32, 3), dtype=np.float32)


# --- networks whose answer is known by hand -------------------------------------------------------


@pytest.fixture(scope="module")
def linear():
    """Logits are sums of weights times values; with its weights (H, W, 3, 2)."""
    image = keras.Input((24, 24, 3))
    dense = keras.layers.Dense(2, bias_initializer="ones")
    network = keras.Model(image, dense(keras.layers.Flatten()(image)))
    weights = np.random.default_rng(1).normal(size=(24, 24, 3, 2)).astype(np.float32)
    dense.set_weights([weights.reshape(-1, 2), np.ones(2)])
    return network, weights


def test_of_a_linear_model_gradients_are_its_weights(linear, images):
    network, weights = linear
    targets = np.array([0, 1, 1, 0, 1])
    wanted = np.moveaxis(weights, -1, 0)[targets]
    batch = of(images, targets)
    for name in ("gradient", "smooth_grad"):
        np.testing.assert_allclose(attributions(name, network, batch), wanted, rtol=1e-5)
    found = attributions("gradient_x_input", network, batch)
    np.testing.assert_allclose(found, wanted * images, rtol=1e-5)
    maps = heatmaps("gradient", network, batch, config.Explanation())
    np.testing.assert_allclose(maps["heatmap"], np.abs(wanted).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(maps["signed"], wanted.sum(-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("baseline", BASELINES)
def test_of_a_linear_model_integrated_gradients_are_weights_times_difference(
    baseline, linear, images
):
    network, weights = linear
    targets = np.array([0, 1, 1, 0, 1])
    draws = 3 if BASELINES[baseline].random else 1

    def start(id_, image, draw):
        return BASELINES[baseline].of(generator(baseline, 5, id_, 0.0, draw), image)

    batch = of(images, targets, seed=5)
    starts = [
        np.mean([start(id_, image, draw) for draw in range(draws)], axis=0)
        for id_, image in zip(batch.ids, images, strict=True)
    ]
    setting = config.Explanation(baseline=baseline, baseline_draws=3, integration_steps=2)
    found = EXPLANATIONS["integrated_gradients"].explain(network, batch, setting)
    wanted = np.moveaxis(weights, -1, 0)[targets] * (images - np.stack(starts))
    np.testing.assert_allclose(found.attributions, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.difference, wanted.sum((1, 2, 3)), rtol=1e-3, atol=1e-3)


def test_of_a_square_the_middle_of_the_path_tells_all(images):
    """From black, the sum of squares is attributed as it stands, by one gradient already."""
    image = keras.Input((24, 24, 3))
    squares = keras.layers.Lambda(lambda x: tf.reduce_sum(x**2, axis=(1, 2)))(image)
    network = keras.Model(image, squares)
    found = attributions(
        "integrated_gradients", network, of(images, [2] * 5), baseline="black", integration_steps=1
    )
    np.testing.assert_allclose(found[..., 2], images[..., 2] ** 2, rtol=1e-5)
    assert not found[..., :2].any()


def test_parts_of_a_path_are_halved_around_a_kink_alone(images):
    """The logit rises from three tenths of the way on: halves close in on that place."""
    whole = images.sum(axis=(1, 2, 3))
    image = keras.Input((24, 24, 3))
    # Of the second class there is no kink.
    kinked = keras.layers.Lambda(
        lambda x: tf.stack(
            [tf.nn.relu(tf.reduce_sum(x, (1, 2, 3)) - 0.3 * whole[0]), x[:, 0, 0, 0]], axis=1
        )
    )(image)
    network = keras.Model(image, kinked)
    batch = of(images[[0, 0]], [0, 1])
    setting = config.Explanation(baseline="black", integration_steps=2)
    plain = heatmaps("integrated_gradients", network, batch, setting)
    assert "gradients" not in plain
    assert plain["completeness_error"][0] == pytest.approx(0.2 * whole[0], rel=1e-4)
    found = heatmaps(
        "integrated_gradients", network, batch, dataclasses.replace(setting, completeness=0.02)
    )
    # Two gradients, and two more for each of six halvings of the part that holds the kink; of
    # that, which goes from 0.296875 to 0.3046875, the gradient counts in full from its middle,
    # 0.30078, on: of the 0.0078125 of its way 0.0046875 are right.
    assert list(found["gradients"]) == [14, 2]
    assert found["completeness_error"][0] == pytest.approx(0.003125 * whole[0], rel=1e-2)
    np.testing.assert_array_equal(found["heatmap"][1], plain["heatmap"][1])


def test_of_a_linear_model_the_drop_is_the_weight_under_the_square(linear, images):
    """Squares of 12 px that do not overlap: each pixel has its own square's drop of the logit."""
    network, weights = linear
    found = attributions(
        "occlusion",
        network,
        of(images[:1], [1]),
        occlusion_patch=112,
        occlusion_stride=112,
        occlusion_fill=0.25,
        occlusion_drop="logit",
    )[0, ..., 0]
    lost = (weights[..., 1] * (images[0] - 0.25)).sum(-1)
    wanted = lost.reshape(2, 12, 2, 12).sum(axis=(1, 3))
    np.testing.assert_allclose(found, np.kron(wanted, np.ones((12, 12))), rtol=1e-3, atol=1e-3)


def test_overlapping_squares_are_averaged_and_reach_the_far_edge():
    """On a 4 x 1 picture of sums: squares of 2 px every 1 px, the last of them cut."""
    image = keras.Input((8, 8, 3))
    total = keras.layers.Lambda(lambda x: tf.reduce_sum(x[:, :, 0, :1], axis=1))(image)
    network = keras.Model(image, keras.layers.Concatenate()([total, total]))
    pixels = np.zeros((1, 8, 8, 3), np.float32)
    pixels[0, 7, 0, 0] = 1.0
    found = attributions(
        "occlusion",
        network,
        of(pixels, [0]),
        occlusion_patch=84,  # 3 px
        occlusion_stride=56,  # 2 px
        occlusion_fill=0.0,
        occlusion_drop="logit",
    )[0, ..., 0]
    # Rows 0-2, 2-4, 4-6 and 6-7; columns likewise. Pixel (7, 0) is in the last of the rows alone.
    wanted = np.zeros((8, 8))
    wanted[7, 0:2], wanted[6, 0:2], wanted[7, 2], wanted[6, 2] = 1.0, 0.5, 0.5, 0.25
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_the_drop_of_the_probability_is_that_of_the_softmax(linear, images):
    network, _ = linear
    whole = {"occlusion_patch": 224, "occlusion_stride": 224, "occlusion_fill": 0.5}
    found = attributions("occlusion", network, of(images[:2], [1, 0]), **whole)
    seen, grey = (tf.nn.softmax(network(x)).numpy() for x in (images[:2], images[:2] * 0 + 0.5))
    wanted = (seen - grey)[[0, 1], [1, 0]]
    np.testing.assert_allclose(found[:, 3, 5, 0], wanted, atol=1e-6)


def detector(offset=0.0):
    """Logit 0 is how bright the brightest 5 px square is; the map it looks at is `features`."""
    image = keras.Input((24, 24, 3))
    x = keras.layers.Conv2D(2, 5, padding="same", use_bias=False, name="bright")(image)
    features = keras.layers.Lambda(lambda x: x + offset, name="features")(x)
    x = keras.layers.ReLU()(keras.layers.Lambda(lambda x: x - offset - 0.3)(features))
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    dense = keras.layers.Dense(2, use_bias=False)
    network = keras.Model(image, dense(pooled))
    kernel = np.full((5, 5, 3, 2), 1 / 75)
    kernel[..., 1] *= 0.5
    network.get_layer("bright").set_weights([kernel])
    dense.set_weights([np.array([[50.0, 0.0], [0.0, 0.0]])])
    return network


@pytest.fixture(scope="module")
def squares():
    """Dim noise with one bright 5 px square; with the squares' corners."""
    rng = np.random.default_rng(2)
    pictures = 0.2 * rng.random((3, 24, 24, 3), dtype=np.float32)
    corners = [(3, 14), (10, 8), (12, 6)]
    for picture, (top, left) in zip(pictures, corners, strict=True):
        picture[top : top + 5, left : left + 5] = 0.9
    return pictures, corners


@pytest.mark.parametrize("name", [*CAMS, "occlusion", "integrated_gradients"])
def test_maps_peak_on_the_square_that_is_detected(name, squares):
    pictures, corners = squares
    network = detector()
    setting = dataclasses.replace(FINE, occlusion_drop="logit", baseline="black")
    maps = heatmaps(name, network, of(pictures, [0, 0, 0]), setting)["heatmap"]
    for each, (top, left) in zip(maps, corners, strict=True):
        row, column = np.unravel_index(each.argmax(), each.shape)
        assert top <= row < top + 5
        assert left <= column < left + 5


def test_score_cam_of_a_layer_below_zero_is_not_zero_as_tf_keras_vis_is(squares):
    """keisen/tf-keras-vis#75: positive weights on maps that are all negative."""
    pictures, corners = squares
    network = detector(offset=-5.0)
    theirs = Scorecam(network)(
        CategoricalScore([0, 0, 0]),
        pictures,
        penultimate_layer="features",
        seek_penultimate_conv_layer=False,
        normalize_cam=False,
    )
    assert not np.any(theirs)
    ours = heatmaps("score_cam", network, of(pictures, [0, 0, 0]), config.Explanation())["heatmap"]
    for each, (top, left) in zip(ours, corners, strict=True):
        assert each[top + 2, left + 2] > 0.9 * each.max() > 0


@pytest.mark.parametrize("name", PIXELS)
def test_where_a_model_is_blind_nothing_is_attributed(name, images):
    image = keras.Input((24, 24, 3))
    seen = keras.layers.Cropping2D(((0, 0), (0, 12)))(image)
    x = keras.layers.Conv2D(4, 3, activation="softplus")(seen)
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    # Squares of 3 px that do not overlap, so that none reaches over the border.
    setting = config.Explanation(occlusion_patch=28, occlusion_stride=28, integration_steps=5)
    found = heatmaps(name, network, of(images, [0, 1, 2, 0, 1]), setting)["heatmap"]
    assert not found[:, :, 12:].any()
    assert (found[:, :, :12] > 0).mean() > 0.95


def test_score_cam_weighs_as_algorithm_1(model, larger):
    """By hand for one image: masks resized, a softmax over all maps."""
    tap = keras.Model(model.input, model.get_layer("conv2_relu").output)
    features = tap(larger[:1]).numpy()[0]
    setting = config.Explanation(layer="conv2_relu")
    maps = [features[..., k] for k in range(features.shape[-1]) if np.ptp(features[..., k])]
    masked = []
    for each in maps:
        mask = base.enlarged(each[np.newaxis], larger[:1])[0]
        masked.append(larger[0] * (mask - mask.min()) / np.ptp(mask))
    weights = tf.nn.softmax(model(np.stack(masked))[:, 4]).numpy()
    summed = sum(w * (each - each.min()) for w, each in zip(weights, maps, strict=True))
    wanted = base.enlarged(summed[np.newaxis], larger[:1])[0, ..., 0]
    found = heatmaps("score_cam", model, of(larger[:1], [4]), setting)["heatmap"][0]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * wanted.max())
    few = dataclasses.replace(setting, score_maps=1)
    found = heatmaps("score_cam", model, of(larger[:1], [4]), few)["heatmap"][0]
    widest = max(maps, key=np.std)
    wanted = base.enlarged((widest - widest.min())[np.newaxis], larger[:1])[0, ..., 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_score_cam_of_a_resnet50_is_not_zero():
    keras.utils.set_random_seed(0)
    network = build.build(config.Model("resnet50", weights="none"), classes=7, image_size=64)
    pictures = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)
    for layer in ("features", "conv5_block3_3_conv"):
        setting = config.Explanation(layer=layer, score_maps=16)
        found = heatmaps("score_cam", network, of(pictures, [1, 2]), setting)["heatmap"]
        assert found.max(axis=(1, 2)).min() > 0


def test_attention_is_the_heads_own_map(model, larger):
    found = heatmaps("attention", model, of(larger, [0] * 5), config.Explanation())["heatmap"]
    wanted = build.attention_model(model)(larger)["attention_map"].numpy()
    corners = np.ix_(range(5), [0, -1], [0, -1])
    np.testing.assert_allclose(found[corners], wanted[corners], rtol=1e-5)


# --- integrated gradients on a network that has learned ------------------------------------------


@pytest.fixture(scope="module")
def learned():
    """A small network that tells on which half the bright square is; with eight such pictures."""
    rng = np.random.default_rng(3)
    pictures = rng.random((256, 24, 24, 3), dtype=np.float32) * 0.5
    labels = rng.integers(2, size=256)
    for picture, label in zip(pictures, labels, strict=True):
        top, left = rng.integers(0, 18), 12 * label + rng.integers(0, 6)
        picture[top : top + 6, left : left + 6] += 0.5
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    network.fit(pictures, labels, epochs=6, batch_size=32, verbose=0)
    assert network.evaluate(pictures, labels, verbose=0)[1] > 0.9
    return network, pictures[:8], labels[:8]


@pytest.mark.parametrize("baseline", ["black", "uniform_noise", "gaussian_unclipped", "blurred"])
def test_integrated_gradients_are_complete_to_2_percent(baseline, learned):
    network, pictures, labels = learned
    setting = config.Explanation(baseline=baseline)
    found = heatmaps("integrated_gradients", network, of(pictures, labels), setting)
    error, difference = found["completeness_error"], np.abs(found["logit_difference"])
    assert error.sum() < 0.01 * difference.sum()
    # Where draws lead from both sides, what is left of a difference may be small.
    whole = difference > 0.5
    assert whole.sum() >= 6
    assert (error < 0.02 * difference)[whole].all(), error / difference
    # What is kept is what the maps themselves show.
    np.testing.assert_allclose(
        np.abs(found["signed"].sum((1, 2)) - found["logit_difference"]), error, atol=1e-4
    )
    rough = dataclasses.replace(setting, integration_steps=1)
    worse = heatmaps("integrated_gradients", network, of(pictures, labels), rough)
    assert worse["completeness_error"].mean() > 3 * error.mean()


def test_more_draws_of_a_baseline_are_their_mean(learned):
    network, pictures, labels = learned
    batch = of(pictures[:2], labels[:2])
    one, two, four = (
        attributions("integrated_gradients", network, batch, baseline_draws=n, integration_steps=9)
        for n in (1, 2, 4)
    )
    second = 2 * two - one
    assert np.abs(second - one).max() > 0.01, "another draw"
    assert (
        np.corrcoef(second.ravel(), one.ravel())[0, 1]
        < np.corrcoef(four.ravel(), one.ravel())[0, 1]
    )


def test_any_number_of_samples_runs_in_batches_of_one_size(linear, images, monkeypatch):
    """What is compiled never sees more rows, and they are asked for no sooner than needed."""
    network, _ = linear
    asked, seen = [], []
    step = base.scores(network)

    def watched(*tensors):
        seen.append((len(asked), len(tensors[0])))
        return step(*tensors)

    def rows():
        for number in range(1000):
            asked.append(number)
            yield number, images[0], 1

    owners = [owner for owner, _ in base.in_batches(watched, rows())]
    assert owners == list(range(1000))
    assert {size for _, size in seen} == {base.BATCH}
    assert [number for number, _ in seen] == [*range(16, 1000, 16), 1000]


def test_baselines_are_what_they_are_called(images):
    made = {name: row.of(np.random.default_rng(0), images[0]) for name, row in BASELINES.items()}
    assert {(each.shape, each.dtype.name) for each in made.values()} == {((24, 24, 3), "float32")}
    assert not made["black"].any()
    assert (made["white"] == 1).all()
    assert 0.45 < made["uniform_noise"].mean() < 0.55
    noise = made["gaussian_unclipped"] - images[0]
    assert abs(noise.mean()) < 0.1
    assert 0.95 < noise.std() < 1.05
    np.testing.assert_array_equal(made["gaussian"], np.clip(made["gaussian_unclipped"], 0, 1))
    np.testing.assert_allclose(made["mean_colour"][3, 4], images[0].mean((0, 1)), rtol=1e-5)
    assert made["blurred"].std() < 0.2 * images[0].std()
    np.testing.assert_allclose(made["blurred"].mean(), images[0].mean(), atol=0.02)


def test_one_and_two_replicas_explain_alike(tiny, larger):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        keras.utils.set_random_seed(0)
        mirrored = build.build(tiny.model, classes=7, image_size=32)
    plain = build.build(tiny.model, classes=7, image_size=32)
    plain.set_weights(mirrored.get_weights())
    setting = config.Explanation(integration_steps=3, baseline_draws=1)
    for name in ("integrated_gradients", "occlusion", "layer_cam", "attention"):
        one, two = (
            heatmaps(name, each, of(larger[:2], [1, 2]), setting)["heatmap"]
            for each in (plain, mirrored)
        )
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-5 * one.max())


# --- other people's implementations --------------------------------------------------------------


@pytest.fixture(scope="module")
def smooth():
    """A small model without corners, in float64."""
    keras.utils.set_random_seed(0)
    # Each says it itself: a policy that another test has set would go before a default.
    wide = {"dtype": "float64"}
    return keras.Sequential(
        [
            keras.Input((24, 24, 3), **wide),
            keras.layers.Conv2D(4, 3, activation="softplus", name="features", **wide),
            keras.layers.Conv2D(4, 3, strides=2, activation="tanh", **wide),
            keras.layers.Flatten(**wide),
            keras.layers.Dense(3, **wide),
        ]
    )


def test_gradients_are_those_of_tf_keras_vis(smooth, images, monkeypatch):
    targets = [0, 1, 2, 2, 1]
    assert smooth.output.dtype == tf.float64
    theirs = Saliency(smooth)(
        CategoricalScore(targets),
        images.astype(np.float64),
        keepdims=True,
        gradient_modifier=None,
        normalize_map=False,
    )
    ours = attributions("gradient", smooth, of(images, targets))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())

    # Theirs draws all noise at once, of samples, images and pixels: that of ours.
    batch = of(images, targets)
    noise = np.stack(
        [
            [
                generator("smooth_grad", 0, id_, 0.0, sample).standard_normal(
                    images.shape[1:], dtype=np.float32
                )
                for id_ in batch.ids
            ]
            for sample in range(6)
        ]
    )
    monkeypatch.setattr(np.random, "normal", lambda _, sigma, __: np.asarray(sigma) * noise)
    theirs = Saliency(smooth)(
        CategoricalScore(targets),
        images.astype(np.float64),
        smooth_samples=6,
        smooth_noise=0.3,
        keepdims=True,
        gradient_modifier=None,
        normalize_map=False,
    )
    ours = attributions("smooth_grad", smooth, batch, smooth_samples=6, smooth_noise=0.3)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


def as_tf_keras_vis(kind, model, images, targets, layer):
    """A map by its public implementation, whose eager tape needs an even batch here."""
    return kind(model)(
        CategoricalScore([int(target) for target in targets]),
        images,
        penultimate_layer=layer,
        seek_penultimate_conv_layer=False,
        normalize_cam=False,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )


@pytest.mark.parametrize("layer", ["features", "conv1_relu"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("grad_cam", Gradcam), ("grad_cam_pp", GradcamPlusPlus), ("layer_cam", Layercam)],
)
def test_class_activation_maps_are_those_of_tf_keras_vis(name, kind, layer, model, larger):
    targets = np.array([6, 0, 3, 3])
    theirs = as_tf_keras_vis(kind, model, larger[:4], targets, layer)
    assert theirs.max() > 0
    setting = config.Explanation(layer=layer)
    ours = heatmaps(name, model, of(larger[:4], targets), setting)["heatmap"]
    if name == "grad_cam_pp":
        # Theirs has the exponential of all images' logits in it, which no shape depends on.
        ours, theirs = (maps / maps.max(axis=(1, 2), keepdims=True) for maps in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.max())


def test_grad_cam_follows_the_weights_of_a_network_that_it_has_seen(model, larger):
    def found():
        return heatmaps("grad_cam", model, of(larger[:2], [1, 2]), config.Explanation())["heatmap"]

    before = found()
    kernel = model.get_layer("logits").kernel
    was = kernel.numpy()
    kernel.assign(2 * was)
    try:
        np.testing.assert_allclose(found(), 2 * before, rtol=1e-4, atol=1e-6 * before.max())
    finally:
        kernel.assign(was)


def test_grad_cam_is_the_formula(model, larger):
    """Selvaraju et al. 2017, equations 1 and 2, at the layer's own resolution."""
    targets = np.array([1, 1, 4, 0, 5])
    tap = keras.Model(model.input, [model.get_layer("features").output, model.output])
    with tf.GradientTape() as tape:
        features, logits = tap(larger)
        score = tf.gather(logits, targets, axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    expected = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy()
    found = heatmaps("grad_cam", model, of(larger, targets), config.Explanation())["heatmap"]
    # Linear zoom keeps the corners.
    corners = np.ix_(range(5), [0, -1], [0, -1])
    np.testing.assert_allclose(found[corners], expected[corners], rtol=1e-3, atol=1e-7)
    assert 0.8 * expected.max() < found.max() <= 1.001 * expected.max()
