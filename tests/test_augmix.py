"""AugMix: operations against Pillow, mixing by hand, losses by hand, steps, resume."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from PIL import Image, ImageOps
from training_helpers import (
    IMAGES,
    LABELS,
    WEIGHTS,
    made,
    network,
    resumed_as_whole,
    setting,
    softmax_loss,
    stepped,
)

from attnrobust import config
from attnrobust.corruptions import CORRUPTIONS
from attnrobust.data import records
from attnrobust.errors import UserError
from attnrobust.training import adversarial, mixing, steps, strategy

RNG = np.random.default_rng(1)
KEY = tf.constant([3, 5], tf.int64)


def pictures(size: int = 24) -> np.ndarray:
    """8-bit pictures (5, H, W, 3): noise, a dark ramp, one flat, one nearly flat, a blob."""
    noise = RNG.integers(0, 256, (size, size, 3))
    ramp = np.add.outer(np.arange(size), 2 * np.arange(size))[..., None] + np.array([20, 5, 70])
    flat = np.full((size, size, 3), 77)
    nearly = flat.copy()
    nearly[0, :2] = [30, 200, 76]
    y, x = np.mgrid[:size, :size] - size / 2
    blob = 200 * np.exp(-(x**2 + 2 * y**2) / size)[..., None] * np.array([1, 0.6, 0.3]) + 20
    return np.stack([noise, ramp, flat, nearly, blob]).astype(np.uint8)


def ours(name: str, bytes_: np.ndarray, level: float) -> np.ndarray:
    """The row on 8-bit pictures, in units of 1/255."""
    images = tf.constant(bytes_.astype(np.float32) / 255)
    return 255 * mixing.OPERATIONS[name](images, tf.fill([len(bytes_)], level)).numpy()


def pillow(function, bytes_: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(function(Image.fromarray(x))) for x in bytes_]).astype(float)


@pytest.mark.parametrize(
    ("name", "level", "judge", "atol"),
    [
        # Pillow cuts off what is behind the point.
        ("autocontrast", 1.0, ImageOps.autocontrast, 1.0),
        ("equalize", 1.0, ImageOps.equalize, 1e-3),
        ("posterize", 2.4, lambda x: ImageOps.posterize(x, 4), 1e-3),
        ("posterize", -2.6, lambda x: ImageOps.posterize(x, 3), 1e-3),
        ("posterize", 9.9, lambda x: ImageOps.posterize(x, 1), 1e-3),
        ("solarize", 2.0, lambda x: ImageOps.solarize(x, 256 - 51), 1e-3),
        ("solarize", -9.9, lambda x: ImageOps.solarize(x, 256 - 253), 1e-3),
        ("flip", 1.0, ImageOps.mirror, 1e-3),
        ("flip", -1.0, ImageOps.flip, 1e-3),
    ],
)
def test_tone_and_flips_are_pillows(name, level, judge, atol):
    bytes_ = pictures()
    expected = pillow(judge, bytes_)
    np.testing.assert_allclose(ours(name, bytes_, level), expected, atol=atol)
    assert np.abs(expected - bytes_).max() > 5


def affine(*row: float):
    return lambda image: image.transform(image.size, Image.AFFINE, row, resample=Image.BILINEAR)


@pytest.mark.parametrize(
    ("name", "level", "judge"),
    [
        # At level 3 of 10, in whole degrees, or pixels of a third of 24.
        ("rotate", 2.99, lambda x: x.rotate(8, resample=Image.BILINEAR)),
        ("rotate", -2.99, lambda x: x.rotate(-8, resample=Image.BILINEAR)),
        ("shear_x", 3.0, affine(1, 0.09, 0, 0, 1, 0)),
        ("shear_x", -9.0, affine(1, -0.27, 0, 0, 1, 0)),
        ("shear_y", 3.0, affine(1, 0, 0, 0.09, 1, 0)),
        ("translate_x", 3.0, affine(1, 0, 2, 0, 1, 0)),
        ("translate_x", -3.0, affine(1, 0, -2, 0, 1, 0)),
        ("translate_y", 9.9, affine(1, 0, 0, 0, 1, 7)),
    ],
)
def test_geometry_is_pillows_but_for_the_rim(name, level, judge):
    """Pillow rounds to 8 bits, and does not blend into the black outside."""
    bytes_ = pictures()
    expected, found = pillow(judge, bytes_), ours(name, bytes_, level)
    inside = pillow(judge, np.full_like(bytes_, 255))[0, ..., 0] > 0
    rim = [np.roll(inside, shift, axis) for shift in (-1, 1) for axis in (0, 1)]
    inner = np.logical_and.reduce([inside, *rim])
    inner[[0, -1]] = inner[:, [0, -1]] = False
    assert inner.mean() > 0.4
    np.testing.assert_allclose(found[:, inner], expected[:, inner], atol=1.01)
    outer = ~np.logical_or.reduce([inside, *rim])
    assert np.abs(found[:, outer]).max(initial=0) < 1e-3
    assert np.abs(expected[0] - bytes_[0]).max() > 50


@pytest.mark.parametrize("name", mixing.OPERATIONS)
def test_every_operation_keeps_range_and_batch_and_is_no_corruption(name):
    row = mixing.OPERATIONS[name]
    levels = tf.constant([0.1, -0.1, 3.0, -3.0, 5.0, -5.0, 10.0, -10.0])
    found = row(tf.constant(IMAGES), levels).numpy()
    assert found.shape == IMAGES.shape
    assert found.dtype == np.float32
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    for index in range(8):
        alone = row(tf.constant(IMAGES[index : index + 1]), levels[index : index + 1])
        np.testing.assert_allclose(found[index], alone[0], atol=1e-6)
    assert row(tf.constant(IMAGES[:0]), levels[:0]).shape == (0, 16, 16, 3)
    assert name not in CORRUPTIONS
    assert (name in config.Training().augmix_operations) == (name != "flip")


def test_what_chance_draws():
    training = setting("augmix", augmix_alpha=2.0, augmix_severity=5.0)
    draw = mixing.Draw(*(x.numpy() for x in mixing.draw(training, 3000, KEY)))
    assert draw.operations.shape == draw.levels.shape == (3, 3, 3000)
    np.testing.assert_allclose(draw.weights.sum(axis=0), 1, rtol=1e-5)
    assert draw.weights.min() > 0
    # Dirichlet(2, 2, 2): a weight is Beta(2, 4), of variance 8 / (36 * 7); the share is Beta(2, 2).
    assert draw.weights.var() == pytest.approx(8 / (36 * 7), rel=0.05)
    assert draw.share.min() >= 0
    assert draw.share.max() <= 1
    assert draw.share.mean() == pytest.approx(0.5, abs=0.02)
    assert draw.share.var() == pytest.approx(1 / 20, rel=0.1)
    depth = (draw.operations < 9).sum(axis=1)
    shares = np.bincount(depth.ravel(), minlength=4) / depth.size
    np.testing.assert_allclose(shares, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.02)
    # A chain that is over stays over.
    assert (np.diff((draw.operations == 9).astype(int), axis=1) >= 0).all()
    counts = np.bincount(draw.operations.ravel(), minlength=10)[:9]
    np.testing.assert_allclose(counts / counts.sum(), 1 / 9, atol=0.01)
    size = np.abs(draw.levels)
    assert 0.1 <= size.min() < 0.11
    assert 4.99 < size.max() < 5
    assert (draw.levels > 0).mean() == pytest.approx(0.5, abs=0.02)

    fixed = mixing.draw(dataclasses.replace(training, augmix_depth=4, augmix_width=2), 50, KEY)
    assert fixed.operations.shape == (2, 4, 50)
    assert int(tf.reduce_max(fixed.operations)) == 8
    small = mixing.draw(dataclasses.replace(training, augmix_alpha=1e-3), 500, KEY)
    np.testing.assert_allclose(tf.reduce_sum(small.weights, axis=0), 1, rtol=1e-5)


def test_a_mixture_by_hand():
    """Two chains: darker then inverted, and the image itself, since that chain is over."""
    rows = [lambda x, level: x * level[:, None, None, None], lambda x, _: 1 - x]
    how = mixing.Draw(
        operations=tf.constant([[[0, 1], [1, 2]], [[2, 2], [2, 2]]]),
        levels=tf.constant([[[0.5, 9.0], [9.0, 9.0]], [[9.0, 9.0], [9.0, 9.0]]]),
        weights=tf.constant([[0.25, 0.75], [0.75, 0.25]]),
        share=tf.constant([0.8, 0.5]),
    )
    images = IMAGES[:2]
    found = mixing.mix(tf.constant(images), rows, how).numpy()
    chains = 0.25 * (1 - 0.5 * images[0]) + 0.75 * images[0]
    np.testing.assert_allclose(found[0], 0.2 * images[0] + 0.8 * chains, rtol=1e-5)
    chains = 0.75 * (1 - images[1]) + 0.25 * images[1]
    np.testing.assert_allclose(found[1], 0.5 * images[1] + 0.5 * chains, rtol=1e-5)


def test_mixtures_are_the_same_for_a_key_and_lie_beside_their_images():
    batches = tf.data.Dataset.from_tensor_slices((np.tile(IMAGES, (3, 1, 1, 1)), np.arange(24)))

    def made(key, **values):
        rows = list(mixing.with_mixed(batches.batch(8), setting("augmix", **values), key, mixed=2))
        assert np.concatenate([label for _, label in rows]).tolist() == list(range(24))
        views = [np.concatenate([x[i] for x, _ in rows]) for i in range(3)]
        np.testing.assert_array_equal(views[0], np.tile(IMAGES, (3, 1, 1, 1)))
        return views[1:]

    one, two = made((0, 4))
    for first, again in zip((one, two), made((0, 4)), strict=True):
        np.testing.assert_array_equal(first, again)
        assert first.dtype == np.float32
        assert first.min() >= 0
        assert first.max() <= 1
    assert not np.allclose(one, two, atol=0.1)
    assert not np.allclose(one[:8], one[8:16], atol=0.1), "another batch, another draw"
    assert not np.allclose(one, made((0, 5))[0], atol=0.1)
    assert not np.allclose(one, made((1, 4))[0], atol=0.1)
    # In an odd number of flips, a picture that is the same both ways stays what it is.
    symmetric = IMAGES + IMAGES[:, ::-1] + IMAGES[:, :, ::-1] + IMAGES[:, ::-1, ::-1]
    batches = tf.data.Dataset.from_tensors((symmetric / 4, np.arange(8)))
    (_, mixed), _ = next(
        iter(
            mixing.with_mixed(
                batches, setting("augmix", augmix_operations=("flip",)), (0, 0), mixed=1
            )
        )
    )
    np.testing.assert_allclose(mixed, symmetric / 4, atol=1e-6)


def test_the_jensen_shannon_divergence_by_hand():
    # (1, 0), (0, 1) and (1/2, 1/2) have the mean (1/2, 1/2): ln 2, ln 2 and 0.
    far = [[[400.0, 0.0]], [[0.0, 400.0]], [[3.0, 3.0]]]
    found = steps.jensen_shannon(*map(tf.constant, far))
    assert float(found[0]) == pytest.approx(2 / 3 * np.log(2), rel=1e-6)
    # (3/4, 1/4) and (1/4, 3/4): 3/4 ln(3/2) + 1/4 ln(1/2) from either.
    near = tf.math.log([[3.0, 1.0]]), tf.math.log([[1.0, 3.0]])
    by_hand = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert float(steps.jensen_shannon(*near)[0]) == pytest.approx(by_hand, rel=1e-5)
    logits = (4 * RNG.standard_normal((3, 50, 7))).astype(np.float32)
    p = scipy.special.softmax(logits.astype(float), axis=-1)
    kl = scipy.special.rel_entr(p, p.mean(axis=0)).sum(axis=-1).mean(axis=0)
    np.testing.assert_allclose(steps.jensen_shannon(*logits), kl, rtol=1e-4, atol=1e-6)
    one = tf.constant(logits[0])
    np.testing.assert_allclose(steps.jensen_shannon(one, one, one), 0, atol=1e-6)


def test_the_divergence_has_a_finite_gradient_that_lowers_it():
    logits = tf.constant([[[6e4, -6e4, 0.0]], [[-6e4, 6e4, 0.0]], [[1.0, 2.0, 3.0]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_sum(steps.jensen_shannon(*tf.unstack(logits)))
    assert np.isfinite(tape.gradient(value, logits).numpy()).all()
    variable, before = tf.Variable(RNG.standard_normal((3, 20, 4)), dtype=tf.float32), np.inf
    for _ in range(5):
        with tf.GradientTape() as tape:
            each = steps.jensen_shannon(*tf.unstack(variable))
            value = tf.reduce_sum(each)
        assert float(value) < before
        before = float(value)
        variable.assign_sub(0.5 * tape.gradient(value, variable))
    assert before > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["augmix", "robust_augmix"])
def test_without_the_divergence_it_takes_the_step_of_standard_training(name, monkeypatch):
    """With operations that do nothing, also under BatchNorm, which sees one image three times."""
    monkeypatch.setitem(mixing.OPERATIONS, "flip", lambda images, _: images)
    plain, said = stepped(setting("standard"), batchnorm=True)
    idle = setting(name, jsd_weight=0.0, augmix_operations=("flip",))
    mixed, other = stepped(idle, batchnorm=True)
    assert other["loss"] == pytest.approx(said["loss"], rel=1e-5)
    assert other["accuracy"] == pytest.approx(np.mean(plain_right()), abs=1e-6)
    full, _ = stepped(setting(name), batchnorm=True)
    variables = (model.trainable_variables for model in (plain, mixed, full))
    differs = False
    for one, two, three in zip(*variables, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
        differs |= not np.allclose(one, three, rtol=1e-2)
    assert differs


def plain_right() -> np.ndarray:
    """Which images the untrained network has right, in training mode."""
    return network(batchnorm=True)(IMAGES, training=True).numpy().argmax(1) == LABELS


def test_the_outer_losses_by_hand():
    views = [RNG.random(IMAGES.shape, dtype=np.float32) * scale for scale in (1, 3, 5)]
    for name in ("augmix", "robust_augmix"):
        model = made(setting(name, jsd_weight=3.0), batchnorm=False)
        each, logits = model.outer(*views, LABELS)
        found = [model(view).numpy() for view in views]
        p = scipy.special.softmax(np.array(found, float), axis=-1)
        apart = scipy.special.rel_entr(p, p.mean(axis=0)).sum(axis=-1).mean(axis=0)
        assert apart.max() > 0.01
        np.testing.assert_allclose(each, softmax_loss(found[0]) + 3 * apart, rtol=1e-4)
        np.testing.assert_allclose(logits["accuracy"], found[0], rtol=1e-4, atol=1e-5)
        assert model.passes == 3
    np.testing.assert_allclose(logits["robust_accuracy"], found[2], rtol=1e-4, atol=1e-5)


def test_views_share_batchnorm_statistics_in_augmix_alone():
    """The means of layers and views tell which batch was normalised."""
    views = [IMAGES * scale for scale in (0.2, 0.5, 1.0)]
    for name, batches in (("augmix", [np.concatenate(views)]), ("robust_augmix", views)):
        model = made(setting(name), batchnorm=True)
        convolution, norm = model.layers[1], model.layers[2]
        expected = np.zeros(4)
        for batch in batches:
            expected = 0.99 * expected + 0.01 * convolution(batch).numpy().mean(axis=(0, 1, 2))
        model.outer(*views, LABELS)
        np.testing.assert_allclose(norm.moving_mean, expected, rtol=1e-3, atol=1e-6)


def test_robust_augmix_attacks_the_clean_view_by_its_label():
    model = made(setting("robust_augmix"), batchnorm=False)
    batches = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(8)
    given, labels = next(iter(model.prepare(batches, (0, 0))))
    images, mixed, crafted = model.views(given, labels)
    np.testing.assert_array_equal(images, IMAGES)
    assert np.abs(crafted - IMAGES).max() <= 0.05 + 1e-6
    assert np.abs(mixed - IMAGES).max() > 0.1
    before, after = (softmax_loss(model(x).numpy()) for x in (images, crafted))
    assert (after > before).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["augmix", pytest.param("robust_augmix", marks=pytest.mark.slow)])
def test_one_and_two_replicas_take_the_same_step(name):
    ends = []
    for spread in (tf.distribute.get_strategy(), strategy.mirrored()):
        with spread.scope():
            model = made(setting(name, augmix_operations=("rotate",)), batchnorm=False)
        model.run_eagerly = spread.num_replicas_in_sync == 1  # to compile takes longest
        train = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS, WEIGHTS)).batch(8)
        check = tf.data.Dataset.from_tensor_slices((IMAGES[:5], LABELS[:5])).batch(8)
        if name == "robust_augmix":
            check = adversarial.Adversarial.prepare(model, check, (0, -1))
        said = model.fit(model.prepare(train, (0, 0)), validation_data=check, verbose=0).history
        ends.append((model.get_weights(), {key: said[key][0] for key in model.recorded}))
    (one, first), (two, second) = ends
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert first == pytest.approx(second, rel=1e-4)
    assert first["loss"] > 0


CLEAN = {"loss", "accuracy", "val_loss", "val_accuracy", "val_kappa"}
ROBUST = {"robust_accuracy", "val_clean_loss", "val_robust_accuracy"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision", "keys"),
    [("augmix", "float32", CLEAN), ("robust_augmix", "float16", CLEAN | ROBUST)],
)
def test_a_resume_equals_an_undisturbed_run(name, precision, keys, small, records_folder, tmp_path):
    experiment = config.with_settings(
        small,
        [
            f"training.method={name}",
            f"training.precision={precision}",
            "training.schedule=cosine",
            "data.limit=16",
            # To trace all nine, and geometry before them, takes longest.
            "training.augmix_operations=rotate",
            "training.augmentation=",
            "training.inner_steps=1",
            "training.inner_rel_stepsize=1",
        ],
    )
    dataset = records.load(records_folder)
    rows, _ = resumed_as_whole(
        experiment, dataset, tmp_path, tf.distribute.get_strategy(), compiled=False
    )
    assert set(rows[0]) == {"epoch", *keys}


def test_an_unknown_operation_ends_in_one_clear_line():
    words = r"no operation of training.augmix_operations 'rotat'; did you mean rotate"
    with pytest.raises(UserError, match=words):
        made(setting("augmix", augmix_operations=("rotat",)), batchnorm=False)
