"""Adversarial training: losses by hand, steps on one and two replicas, resume, collapse."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import foolbox
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from tensorflow import keras
from training_helpers import (
    IMAGES,
    LABELS,
    WEIGHTS,
    history,
    leave_uncompiled,
    made,
    network,
    resumed_as_whole,
    setting,
    softmax_loss,
    stepped,
)

from attnrobust import config
from attnrobust.data import inputs, records
from attnrobust.errors import UserError
from attnrobust.models import build
from attnrobust.training import adversarial, fit, inner, losses, methods, state, steps, strategy
from attnrobust.training import batchnorm as averages

RNG = np.random.default_rng(1)
ROBUST = ["adversarial", "trades", "fast"]


def test_a_clean_share_of_one_takes_the_step_of_standard_training():
    plain, said = stepped(setting("standard"), batchnorm=True)
    for name in ("adversarial", "fast"):
        robust, other = stepped(setting(name, clean_share=1.0), batchnorm=True)
        assert other["loss"] == pytest.approx(said["loss"], rel=1e-5)
        for one, two in zip(plain.get_weights(), robust.get_weights(), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_trades_with_beta_zero_takes_the_step_of_standard_training():
    plain, _ = stepped(setting("standard"), batchnorm=True)
    robust, _ = stepped(setting("trades", trades_beta=0.0), batchnorm=True)
    other, _ = stepped(setting("trades", trades_beta=6.0), batchnorm=True)
    for one, two in zip(plain.trainable_variables, robust.trainable_variables, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    assert not np.allclose(plain.get_weights()[0], other.get_weights()[0], rtol=1e-2)


def test_the_outer_losses_by_hand():
    # Far away, so that the divergence depends on its direction.
    crafted = 3 * RNG.random(IMAGES.shape, dtype=np.float32)
    model = made(setting("adversarial", clean_share=0.25), batchnorm=False)
    clean, found = model(IMAGES).numpy(), model(crafted).numpy()
    each, _ = model.outer(IMAGES, crafted, LABELS)
    np.testing.assert_allclose(
        each, 0.25 * softmax_loss(clean) + 0.75 * softmax_loss(found), rtol=1e-4
    )
    each, logits = made(setting("adversarial"), batchnorm=False).outer(IMAGES, crafted, LABELS)
    np.testing.assert_allclose(each, softmax_loss(found), rtol=1e-4)
    assert set(logits) == {"robust_accuracy"}
    each, _ = made(setting("trades", trades_beta=3.0), batchnorm=False).outer(
        IMAGES, crafted, LABELS
    )
    p, q = (scipy.special.softmax(x.astype(float), axis=1) for x in (clean, found))
    moved = scipy.stats.entropy(p, q, axis=1)
    assert np.abs(moved - scipy.stats.entropy(q, p, axis=1)).max() > 0.01
    np.testing.assert_allclose(each, softmax_loss(clean) + 3 * moved, rtol=1e-4)


def test_the_gradient_of_trades_goes_through_both_images():
    crafted = 3 * RNG.random(IMAGES.shape, dtype=np.float32)
    model = made(setting("trades", trades_beta=3.0), batchnorm=False)
    weight = model.trainable_variables[-1]
    with tf.GradientTape() as tape:
        each, _ = model.outer(IMAGES, crafted, LABELS)
        value = tf.reduce_sum(each)
    # By the softmax' own derivatives: of the cross-entropy p - y, of KL(p || q) towards p's logits
    # p (log p/q - KL) and towards q's q - p; the last bias adds to both.
    p, q = (
        scipy.special.softmax(model(x).numpy().astype(float), axis=1) for x in (IMAGES, crafted)
    )
    apart = scipy.stats.entropy(p, q, axis=1)[:, None]
    by_hand = (p - np.eye(3)[LABELS]) + 3 * (p * (np.log(p / q) - apart) + q - p)
    np.testing.assert_allclose(tape.gradient(value, weight), by_hand.sum(axis=0), rtol=1e-3)


def test_validation_attacks_from_random_starts():
    model = made(setting("adversarial"), batchnorm=False)
    losses = []
    for start in (np.zeros_like(IMAGES), np.full_like(IMAGES, 0.05)):
        model.reset_metrics()
        model.setting = dataclasses.replace(model.setting, inner_steps=1, inner_rel_stepsize=1.0)
        losses.append(float(model.test_step(((IMAGES, tf.constant(start)), LABELS))["loss"]))
    assert losses[0] != losses[1]


@pytest.mark.parametrize(("name", "share"), [("adversarial", 0.5), ("trades", 0.0)])
def test_both_batches_are_normalised_by_their_own_statistics_and_move_the_averages(name, share):
    crafted = IMAGES**2
    model = made(setting(name, clean_share=share), batchnorm=True)
    norm = next(averages.layers(model))
    convolution = keras.Model(model.input, norm.input)
    model.outer(IMAGES, crafted, LABELS)
    one, two = (convolution(x).numpy().mean(axis=(0, 1, 2)) for x in (IMAGES, crafted))
    expected = 0.99 * (0.01 * one) + 0.01 * two
    np.testing.assert_allclose(norm.moving_mean, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", methods.METHODS)
def test_which_methods_attack_their_validation_is_known_without_tensorflow(name):
    model = methods.METHODS[name].make(network(batchnorm=False), setting(name))
    assert isinstance(model, adversarial.Adversarial) == methods.METHODS[name].attacked


def test_a_norm_that_a_method_does_not_know_is_refused():
    methods.row_of(config.Training(method="trades", inner_norm="l2"))
    with pytest.raises(
        UserError,
        match=r"^training.inner_norm = l2: expected linf, the norm of "
        r"training.method = fast$",
    ):
        methods.row_of(config.Training(method="fast", inner_norm="l2"))


def test_what_each_method_crafts():
    zeros = np.zeros_like(IMAGES)
    model = made(setting("adversarial"), batchnorm=False)
    crafted = model.craft(IMAGES, zeros, LABELS).numpy()
    assert (softmax_loss(model(crafted).numpy()) > softmax_loss(model(IMAGES).numpy())).all()

    # One step of 1.25 epsilon, cut to epsilon where it leaves the ball.
    fast = made(setting("fast"), batchnorm=False)
    start = np.full_like(IMAGES, -0.04)
    first = np.clip(IMAGES + start, 0, 1)
    with tf.GradientTape() as tape:
        x = tf.constant(first)
        tape.watch(x)
        value = tf.reduce_sum(losses.cross_entropy(fast(x), LABELS))
    moved = first + 0.0625 * np.sign(tape.gradient(value, x))
    expected = np.clip(IMAGES + np.clip(moved - IMAGES, -0.05, 0.05), 0, 1)
    np.testing.assert_allclose(fast.craft(IMAGES, start, LABELS), expected, atol=1e-6)

    # The divergence has its minimum, and no gradient, at the image itself; labels play no part.
    trades = made(setting("trades"), batchnorm=False)
    noise = (0.001 * RNG.standard_normal(IMAGES.shape)).astype(np.float32)
    crafted = trades.craft(IMAGES, noise, LABELS)
    np.testing.assert_array_equal(crafted, trades.craft(IMAGES, noise, (LABELS + 1) % 3))
    clean = trades(IMAGES)
    near, far = (steps.divergence(clean, trades(x)) for x in (IMAGES + noise, crafted))
    assert (far.numpy() > 100 * near.numpy()).all()


@pytest.mark.parametrize("spread", ["one", "two"])
def test_crafting_leaves_batchnorm_averages_to_the_byte(spread):
    found = {}
    for mode in ("inference", "training"):
        on = strategy.mirrored() if spread == "two" else tf.distribute.get_strategy()
        with on.scope():
            model = made(setting("adversarial", inner_batchnorm=mode), batchnorm=True)
        layer = next(averages.layers(model))
        before = [v.numpy().tobytes() for v in (layer.moving_mean, layer.moving_variance)]

        @tf.function(autograph=False)
        def craft(on=on, model=model):
            return on.run(lambda: model.craft(IMAGES, np.zeros_like(IMAGES), LABELS))

        found[mode] = on.experimental_local_results(craft())[0].numpy()
        after = [v.numpy().tobytes() for v in (layer.moving_mean, layer.moving_variance)]
        assert before == after
        if spread == "one":
            # Were they not put back, they would have moved.
            model(IMAGES, training=True)
            assert layer.moving_mean.numpy().tobytes() != before[0]
    assert not np.array_equal(found["inference"], found["training"])


def test_averages_that_cannot_follow_are_told(caplog):
    model = network(batchnorm=True)
    averages.prepare(model, setting("standard"), 1, 100)
    assert not caplog.records, "0.99 to the 100th is 0.37"
    averages.prepare(model, setting("standard"), 1, 16)
    assert "an epoch of 16 steps leaves 85 % of BatchNorm's averages" in caplog.text
    assert "training.batchnorm_momentum=0.87 would leave 10 %" in caplog.text
    caplog.clear()
    averages.prepare(model, setting("standard", batchnorm_momentum=0.8), 1, 16)
    averages.prepare(network(batchnorm=False), setting("standard"), 1, 16)
    assert not caplog.records


def test_batchnorm_averages_move_as_fast_as_asked(small, records_folder, tmp_path):
    dataset, one = records.load(records_folder), tf.distribute.get_strategy()
    means = []
    for momentum in ("none", "0.5"):
        experiment = config.with_settings(small, [f"training.batchnorm_momentum={momentum}"])
        model = fit._built(experiment, dataset, tmp_path, one)
        model(np.random.default_rng(0).random((4, 32, 32, 3), dtype=np.float32), training=True)
        means.append([layer.moving_mean.numpy() for layer in averages.layers(model)])
    # Of the first batch's mean, a tenth (the small network's own) and a half; they begin at 0.
    for slow, fast in zip(*means, strict=True):
        np.testing.assert_allclose(5 * slow, fast, rtol=1e-3)


def test_batchnorm_averages_follow_the_steps_of_an_adversarial_epoch_alone(
    small, records_folder, tmp_path, monkeypatch
):
    """By the momentum asked for; neither crafting nor validation's attack moves them."""
    experiment = config.with_settings(
        small,
        [
            "training.method=adversarial",
            "training.batchnorm_momentum=0.75",
            "training.epochs=1",
            "training.inner_batchnorm=training",
            "training.inner_steps=2",
            "training.inner_rel_stepsize=0.5",
            "training.augmentation=",
            "data.limit=48",
            "model.head=gap",
        ],
    )
    leave_uncompiled(monkeypatch)
    steps, real = [], adversarial.Adversarial.outer

    def watched(model, images, crafted, labels):
        norm = model.get_layer("conv1_bn")
        batch = keras.Model(model.input, norm.input)(crafted).numpy().mean(axis=(0, 1, 2))
        steps.append((norm.moving_mean.numpy(), batch))
        return real(model, images, crafted, labels)

    monkeypatch.setattr(adversarial.Adversarial, "outer", watched)
    dataset = records.load(records_folder)
    model = fit.train(experiment, dataset, tmp_path, tf.distribute.get_strategy())
    ends = [before for before, _ in steps[1:]]
    ends.append(model.get_layer("conv1_bn").moving_mean.numpy())
    assert len(steps) > 1
    for (before, batch), after in zip(steps, ends, strict=True):
        np.testing.assert_allclose(after, 0.75 * before + 0.25 * batch, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(  # test_losses has every method on two devices
    "name",
    ["adversarial", *(pytest.param(name, marks=pytest.mark.slow) for name in ("trades", "fast"))],
)
def test_one_and_two_replicas_take_the_same_step(name):
    """Without BatchNorm's per-replica statistics; what fit says is not added up either."""
    ends = []
    for spread in (tf.distribute.get_strategy(), strategy.mirrored()):
        with spread.scope():
            model = made(setting(name, clean_share=0.5), batchnorm=False)
        # To compile takes longest; on one device a resume of `adversarial` does it.
        model.run_eagerly = spread.num_replicas_in_sync == 1
        train, check = (
            inner.starts(batches.batch(8), "linf", 0.05, (0, 0), gaussian=model.gaussian)
            for batches in (
                tf.data.Dataset.from_tensor_slices((IMAGES, LABELS, WEIGHTS)),
                tf.data.Dataset.from_tensor_slices((IMAGES[:5], LABELS[:5])),
            )
        )
        said = model.fit(train, validation_data=check, verbose=0).history
        ends.append((model.get_weights(), {key: said[key][0] for key in model.recorded}))
    (one, first), (two, second) = ends
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert first == pytest.approx(second, rel=1e-4)
    assert first["loss"] > 0


KEYS = (
    "loss",
    "robust_accuracy",
    "val_loss",
    "val_clean_loss",
    "val_accuracy",
    "val_robust_accuracy",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "precision", "spread"),
    [
        ("adversarial", "float32", tf.distribute.get_strategy),
        pytest.param("adversarial", "float32", strategy.mirrored, marks=pytest.mark.slow),
        ("trades", "float16", tf.distribute.get_strategy),
        ("fast", "bfloat16", tf.distribute.get_strategy),
    ],
)
def test_a_resume_equals_an_undisturbed_run(
    name, precision, spread, small, records_folder, tmp_path
):
    experiment = config.with_settings(
        small,
        [
            f"training.method={name}",
            f"training.precision={precision}",
            "training.inner_steps=2",
            "training.inner_rel_stepsize=0.5",
            "data.limit=16",
            "training.augmentation=",  # test_fit resumes it
            # So that dropout draws inside the attack, too.
            "training.inner_batchnorm=training",
        ],
    )
    dataset = records.load(records_folder)
    rows, _ = resumed_as_whole(
        experiment, dataset, tmp_path, spread(), compiled=spread is strategy.mirrored
    )
    assert {"epoch", *KEYS} <= set(rows[0])
    assert ("accuracy" in rows[0]) == (name == "trades")
    assert ("val_one_step_accuracy" in rows[0]) == (name == "fast")
    if precision != "float32":
        judged = judged_in_float32(experiment, dataset, tmp_path / "whole" / "weights.h5")
        best = min(rows, key=lambda row: row["val_loss"])
        assert judged == pytest.approx({key: best[key] for key in judged}, rel=1e-5)


def judged_in_float32(
    experiment: config.Experiment, dataset: records.Dataset, weights: Path
) -> dict[str, float]:
    """What validation says of a model that computes in float32."""
    model = dataclasses.replace(experiment.model, weights=str(weights))
    network = build.build(model, classes=7, image_size=32)
    judge = methods.METHODS[experiment.training.method].make(network, experiment.training)
    plain = dataclasses.replace(experiment.training, precision="float32")
    fit.compile_model(judge, plain)
    judge.run_eagerly = True
    batches = fit.validation_batches(judge, experiment, dataset)
    found = judge.evaluate(batches, verbose=0, return_dict=True)
    return {f"val_{name}": found[name] for name in judge.judged}


@pytest.mark.slow
def test_the_weights_are_those_of_a_plain_model_and_validation_was_judged_rightly(
    small, records_folder, tmp_path, monkeypatch
):
    experiment = config.with_settings(
        small,
        [
            "training.method=adversarial",
            "model.head=gap",
            "training.inner_steps=8",
            "training.inner_epsilon=0.02",
            "training.inner_rel_stepsize=0.4",
        ],
    )
    leave_uncompiled(monkeypatch)
    dataset = records.load(records_folder)
    fit.train(experiment, dataset, tmp_path, tf.distribute.get_strategy())
    best = min(history(tmp_path), key=lambda row: row["val_loss"])
    weights = dataclasses.replace(experiment.model, weights=str(tmp_path / "weights.h5"))
    model = build.build(weights, classes=7, image_size=32)
    batches = inputs.evaluation_batches(dataset, "validation", data=experiment.data, batch_size=99)
    batch = next(iter(batches))
    images, labels = batch["image"], batch["label"]
    attack = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=20, random_start=False)
    judge = foolbox.TensorFlowModel(model, bounds=(0, 1), device="/CPU:0")
    adversarials = attack.run(judge, images, labels, epsilon=0.02)
    for name, x in (("val_clean_loss", images), ("val_loss", adversarials)):
        loss = float(tf.reduce_mean(losses.cross_entropy(model(x), labels)))
        # In so small a ball, PGD with a few steps comes as far as with many.
        assert loss == pytest.approx(best[name], rel=1e-2)
    right = model(images).numpy().argmax(1) == labels.numpy()
    assert right.mean() == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert best["val_loss"] > 1.005 * best["val_clean_loss"]


def row(one_step: float, pgd: float, loss: float = 1.0) -> dict:
    return {
        "loss": 1.0,
        "robust_accuracy": 0.5,
        "val_loss": loss,
        "val_accuracy": 0.6,
        "val_robust_accuracy": pgd,
        "val_one_step_accuracy": one_step,
        "seconds": 1.0,
    }


def test_a_collapse_is_a_gap_between_one_step_and_several_and_a_loss_of_what_was():
    good = row(0.5, 0.45)
    gone = row(0.6, 0.02, loss=4.0)
    assert adversarial.collapsed([good, gone])
    assert not adversarial.collapsed([gone]), "nothing to lose yet"
    assert not adversarial.collapsed([row(0.04, 0.03), row(0.14, 0.03, loss=3.0)]), (
        "it begins to learn"
    )
    noise = [row(0.2, 0.09), row(0.22, 0.03, loss=1.1)]
    assert not adversarial.collapsed(noise), "never robust, so nothing is lost but a few images"
    assert not adversarial.collapsed([row(0.7, 0.7), row(0.3, 0.25, loss=2.0)]), "one class before"
    assert not adversarial.collapsed([row(0.7, 0.7), row(0.3, 0.1, loss=0.9)]), (
        "never the best epoch"
    )
    assert not adversarial.collapsed([good, {"val_robust_accuracy": 0.0, "val_loss": 4.0}])
    kept = state.State()
    assert kept.add(good, 0.0)
    assert not kept.collapsed
    assert not kept.add(gone, 0.0)
    assert kept.collapsed


def test_a_collapse_ends_training_at_the_last_good_weights_and_says_so(
    small, records_folder, tmp_path, monkeypatch, caplog
):
    experiment = config.with_settings(
        small, ["training.method=fast", "model.head=gap", "training.epochs=5"]
    )
    dataset = records.load(records_folder)
    rows = [row(0.5, 0.45), row(0.6, 0.02, loss=4.0)]

    def epoch(model, *_, epoch, **__):
        model.get_layer("logits").bias.assign(np.full(7, epoch + 1.0))
        return {"epoch": epoch + 1, **rows[epoch]}

    monkeypatch.setattr(fit, "_one_epoch", epoch)
    model = fit.train(experiment, dataset, tmp_path / "a", tf.distribute.get_strategy())
    assert len(history(tmp_path / "a")) == 2
    assert model.get_layer("logits").bias.numpy().tolist() == [1.0] * 7
    assert "catastrophic overfitting in epoch 2" in caplog.text
    assert "the best weights from before are kept" in caplog.text


def test_weights_that_stand_the_single_step_alone_are_told(
    small, records_folder, tmp_path, monkeypatch, caplog
):
    experiment = config.with_settings(small, ["training.method=fast"])
    rows = [row(0.9, 0.01, loss=0.5), row(0.9, 0.0, loss=0.7)]
    monkeypatch.setattr(
        fit, "_one_epoch", lambda *_, epoch, **__: {"epoch": epoch + 1, **rows[epoch]}
    )
    fit.train(experiment, records.load(records_folder), tmp_path, tf.distribute.get_strategy())
    assert "catastrophic overfitting in epoch 1" in caplog.text
    assert "its weights are the best there are" in caplog.text
    assert not adversarial.one_step_alone(row(0.5, 0.45))
    assert not adversarial.one_step_alone({"val_robust_accuracy": 0.0})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["inner_epsilon=0"], r"training.inner_epsilon = 0.0: expected above 0"),
        (["inner_epsilon=8"], r"training.inner_epsilon = 8.0: .*8/255 is fine"),
        (["inner_norm=l1"], r"training.inner_norm = l1: expected linf or l2"),
        (["method=fast", "inner_norm=l2"], r"inner_norm = l2: expected linf, the norm of"),
        (["inner_steps=3", "inner_rel_stepsize=0.1"], r"to reach the edge .*, not 0.3 of the way"),
        (["inner_steps=0"], r"training.inner_steps = 0: expected at least 1"),
        (["inner_abs_stepsize=0"], r"training.inner_abs_stepsize = 0.0: expected above 0"),
        (["inner_batchnorm=both"], r"expected inference or training"),
        (["clean_share=2"], r"training.clean_share = 2.0: expected in \[0, 1\]"),
        (["trades_beta=-1"], r"training.trades_beta = -1.0: expected at least 0"),
        (["batchnorm_momentum=1"], r"training.batchnorm_momentum = 1.0: expected in \[0, 1\)"),
        (["validation_share=0"], r"training.validation_share = 0.0: expected in \(0, 1\]"),
        (["method=adversaril"], r"no training.method 'adversaril'; did you mean adversarial\?"),
        (["method=trades", "batch_size=1"], r"batch_size = 1 on 1 device.* at least 2 images"),
        (["method=standard", "batch_size=1"], r"batch_size = 1 on 1 device.* at least 2 images"),
    ],
)
def test_bad_settings_end_in_one_clear_line(settings, words, small, records_folder, tmp_path):
    with pytest.raises(UserError, match=words):
        fit.train(
            config.with_settings(small, [f"training.{text}" for text in settings]),
            records.load(records_folder),
            tmp_path,
            tf.distribute.get_strategy(),
        )


def test_validation_may_look_at_an_evenly_spread_share(tiny, records_folder):
    dataset = records.load(records_folder)
    number = dataset.count("validation")
    everything = inputs.labels(dataset, "validation")
    for share in (1.0, 0.5, 0.001):
        training = dataclasses.replace(setting("adversarial"), validation_share=share)
        experiment = dataclasses.replace(tiny, training=training)
        model = made(training, batchnorm=False)
        batches = fit.validation_batches(model, experiment, dataset)
        labels = np.concatenate([label for _, label in batches])
        kept = {1.0: everything, 0.5: everything[::2], 0.001: everything[:1]}[share]
        assert labels.tolist() == kept.tolist()
    assert number > 2
