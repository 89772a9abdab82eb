"""A stranger's model: its answers are its own, its attacks Foolbox's, its mistakes are named."""

from __future__ import annotations

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from own_models import BUNDLES, CLASSES, noise
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import cheap
from attnrobust.attacks.methods import ATTACKS, settled
from attnrobust.config.adopted import Adopted
from attnrobust.errors import UserError
from attnrobust.explanations import base, randomisation, ready
from attnrobust.explanations.base import Batch
from attnrobust.explanations.methods import EXPLANATIONS, heatmaps
from attnrobust.models import memory
from attnrobust.models.adopted import adopting, asking, assembly, flat, preprocessing
from attnrobust.models.build import input_scale
from attnrobust.models.replicas import Replicas
from attnrobust.training import strategy

L = keras.layers
IMAGES = noise(24)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Each saved once."""
    found = {}

    def get(name):
        if name not in found:
            keras.utils.set_random_seed(7)
            found[name] = BUNDLES[name](tmp_path_factory.mktemp("bundle"))
        return found[name]

    return get


def classes_of(bundle):
    return CLASSES[: bundle.logits.output_shape[-1]]


def loaded(bundle, **changes):
    adopted = Adopted(str(bundle.path), **{**bundle.settings, **changes})
    return adopting.load(adopted, classes=classes_of(bundle))


@pytest.mark.parametrize("name", BUNDLES)
def test_it_says_what_its_author_s_code_says(name, bundles):
    bundle = bundles(name)
    theirs = bundle.predict(IMAGES)
    model = loaded(bundle)
    assert len(set(theirs)) == len(classes_of(bundle)), "one class alone would show nothing"
    np.testing.assert_array_equal(model(IMAGES).numpy().argmax(axis=1), theirs)
    told = adopting.told(model)
    hidden = ("SavedModel" in name and "subclassed" in name) or "served" in name
    assert (told.features == "") == hidden
    assert told.gradients
    assert told.stripped == (bundle.settings.get("ends") != "softmax")


# One of each end and each way to be called; the others in the slow run.
FAST = {
    "functional, logits",
    "sequential, one sigmoid, h5",
    "nested, softmax, [-1, 1]",
    "subclassed, softmax, torch, SavedModel",
    "mixed precision, softmax",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] * (each not in FAST)) for each in BUNDLES],
)
def test_pgd_fells_the_images_that_stock_foolbox_fells(name, bundles):
    bundle = bundles(name)
    model = loaded(bundle)
    labels = tf.constant(bundle.predict(IMAGES), tf.int64)
    asked = settled(
        config.Attack("linf_pgd", steps=8, rel_stepsize=0.2, random_start=False, early_stop=False)
    )
    stock = foolbox.attacks.LinfPGD(steps=8, rel_stepsize=0.2, random_start=False)
    wrapped = foolbox.models.TensorFlowModel(bundle.logits, bounds=(0, 1), device="/CPU:0")
    for epsilon in (0.001, 0.003, 0.01, 0.03, 0.1):
        _, _, fallen = stock(wrapped, tf.constant(IMAGES), labels, epsilons=epsilon)
        if 4 <= fallen.numpy().sum() <= 20:
            break
    assert 4 <= fallen.numpy().sum() <= 20
    attack = ATTACKS["linf_pgd"].make(Replicas(model), asked, 5)
    made, _ = attack(tf.constant(IMAGES), labels, [str(i) for i in range(24)], epsilon, 0)
    mine = model(np.asarray(made)).numpy().argmax(axis=1) != labels.numpy()
    np.testing.assert_array_equal(mine, fallen.numpy())


NESTED, HIDDEN = "nested, softmax, [-1, 1]", "served, softmax"
BATCH = Batch(IMAGES[:3], np.array([0, 1, 2]), np.array(["a", "b", "c"]), 0)


def test_grad_cam_of_a_nested_model_is_that_of_its_inside(bundles):
    bundle = bundles(NESTED)
    theirs = keras.models.load_model(bundle.path)
    fed = tf.constant(2 * BATCH.images - 1)
    with tf.GradientTape() as tape:
        features = theirs.get_layer("base")(fed, training=False)
        tape.watch(features)
        logits = theirs.get_layer("conv")(L.Flatten()(features))
        score = tf.gather(logits, BATCH.targets, axis=1, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy()
    mine = heatmaps("grad_cam", loaded(bundle), BATCH, config.Explanation())["heatmap"]
    assert maps.max() > 1e-3
    np.testing.assert_allclose(mine, base.enlarged(maps, BATCH.images)[..., 0], atol=1e-6)


@pytest.mark.parametrize("name", [NESTED, HIDDEN])
def test_what_looks_at_a_feature_map_works_or_says_why_not(name, bundles):
    model, few = loaded(bundles(name)), {"smooth_samples": 2, "integration_steps": 2}
    for method, row in EXPLANATIONS.items():
        setting = config.Explanation((method,), baseline_draws=1, **few)
        if row.needs_attention or (row.needs_layer and name == HIDDEN):
            with pytest.raises(UserError, match=r"has no (convolution in sight|soft attention)"):
                ready.require(model, setting)
            continue
        ready.require(model, setting)
        assert heatmaps(method, model, BATCH, setting)["heatmap"].max() > 0
    setting = config.Explanation(("gradient",))
    explain = lambda: heatmaps("gradient", model, BATCH, setting)["heatmap"]  # noqa: E731
    (_, alike), *_ = randomisation.cascade(model, explain)
    assert (alike < 0.99).all()


@pytest.mark.parametrize("name", [NESTED, HIDDEN, "subclassed, logits, SavedModel"])
def test_it_says_the_same_on_two_devices(name, bundles):
    bundle = bundles(name)
    alone = loaded(bundle)
    spread = strategy.mirrored()
    assert spread.num_replicas_in_sync == 2
    with spread.scope():
        model = loaded(bundle)
    np.testing.assert_allclose(
        Replicas(model, spread).forward(IMAGES), alone(IMAGES), rtol=1e-5, atol=1e-6
    )
    assert memory.activations(model) > IMAGES[0].nbytes
    assert [variable.name for variable in model.weights] or name == HIDDEN


def test_a_bfloat16_copy_is_near_or_says_why_there_is_none(bundles):
    model = loaded(bundles(NESTED))
    copy = cheap.in_bfloat16(Replicas(model)).forward(IMAGES).numpy()
    far = np.abs(copy - model(IMAGES).numpy()).max()
    assert 0 < far < 0.1
    hidden = loaded(bundles("subclassed, logits, SavedModel"))
    with pytest.raises(UserError, match="cannot be made anew in bfloat16"):
        cheap.in_bfloat16(Replicas(hidden))


def test_a_nested_model_is_flat_with_names_of_its_own(bundles):
    model = loaded(bundles(NESTED))
    names = [layer.name for layer in model.layers]
    assert not any(flat.is_graph(layer) for layer in model.layers)
    assert names.index("preprocessing") == 1
    assert names[-1] == "logits"
    # The head has the name of a convolution inside.
    assert {"conv", "conv_own", "bn", "last_conv", "features"} < set(names)
    assert adopting.told(model).features == "last_conv"
    assert input_scale(model) == 2


def test_a_model_that_cannot_be_called_anew_is_kept_whole(bundles, monkeypatch):
    monkeypatch.setattr(assembly, "is_faithful", lambda *_: False)
    bundle = bundles("functional, logits")
    model = loaded(bundle)
    assert any("kept as one layer" in line for line in adopting.told(model).notes)
    np.testing.assert_array_equal(model(IMAGES).numpy().argmax(axis=1), bundle.predict(IMAGES))


def test_what_was_found_is_asked_of_noise_in_the_pixels_it_takes(bundles):
    bundle = bundles("functional, softmax, caffe, h5")
    adopted = Adopted(str(bundle.path), **bundle.settings)
    found = asking.found(adopted, image_size=None, again="")
    assert (found.kind, found.end.function, found.unsteady) == ("softmax", "softmax", "")
    np.testing.assert_allclose(found.answers.sum(axis=1), 1, atol=1e-6)
    assert found.fed.numpy().min() < -100


@pytest.mark.parametrize(
    ("row", "theirs"),
    [
        ("unit", lambda x: x / 255),
        ("minus_one_one", keras.applications.inception_v3.preprocess_input),
        ("caffe", keras.applications.vgg16.preprocess_input),
        ("torch", keras.applications.densenet.preprocess_input),
        ("0_255", lambda x: x),
        ("inside", keras.applications.efficientnet.preprocess_input),
        ("0.5,0.25,0.1/0.5,0.25,0.2", lambda x: (x / 255 - [0.5, 0.25, 0.1]) / [0.5, 0.25, 0.2]),
    ],
)
def test_a_row_of_preprocessing_is_what_keras_does(row, theirs):
    layer = preprocessing.layer(row, bgr=False, channels=3)
    expected = np.asarray(theirs(255.0 * IMAGES.copy()))
    np.testing.assert_allclose(layer(IMAGES), expected, rtol=1e-5, atol=1e-4)
    assert type(layer).from_config(layer.get_config())(IMAGES).numpy().tolist() == (
        layer(IMAGES).numpy().tolist()
    )


def test_grey_is_the_luminance_that_tensorflow_takes():
    layer = preprocessing.layer("unit", bgr=True, channels=1)
    np.testing.assert_allclose(layer(IMAGES), tf.image.rgb_to_grayscale(IMAGES), atol=1e-4)
