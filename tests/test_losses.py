"""What an image costs and its class weighs: by hand, by Keras, in every training method."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import cohen_kappa_score
from tensorflow import keras
from training_helpers import history, leave_uncompiled

from attnrobust import config
from attnrobust.data import inputs, records
from attnrobust.errors import UserError
from attnrobust.measures import metrics
from attnrobust.training import balance, fit, losses, methods, steps, strategy

RNG = np.random.default_rng(0)
LOGITS = tf.constant(RNG.normal(size=(12, 5)), tf.float32)
LABELS = tf.constant(RNG.integers(0, 5, 12))


def focal(gamma: float) -> config.Training:
    return config.Training(loss="focal", focal_gamma=gamma)


def test_focal_by_hand() -> None:
    logits = tf.math.log([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    found = losses.focal(logits, tf.constant([0, 0]), focal(2.0)).numpy()
    np.testing.assert_allclose(found, [-(0.3**2) * np.log(0.7), -(0.9**2) * np.log(0.1)], rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 4.0])
def test_focal_is_that_of_keras(gamma: float) -> None:
    # Keras weighs all classes by alpha.
    theirs = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=gamma, from_logits=True, reduction="none"
    )(tf.one_hot(LABELS, 5), LOGITS)
    np.testing.assert_allclose(losses.focal(LOGITS, LABELS, focal(gamma)), theirs, rtol=1e-4)


def test_focal_of_gamma_0_is_the_cross_entropy() -> None:
    expected = losses.cross_entropy(LOGITS, LABELS)
    np.testing.assert_array_equal(losses.focal(LOGITS, LABELS, focal(0.0)), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("ahead", [-1e4, -200.0, 0.0, 200.0, 1e4])
def test_focal_and_its_gradient_are_finite_at_every_confidence(gamma: float, ahead: float) -> None:
    logits = tf.Variable([[ahead, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        value = losses.focal(logits, tf.constant([0]), focal(gamma))
    gradient = tape.gradient(value, logits)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()
    if ahead == 1e4:
        np.testing.assert_allclose(gradient, 0, atol=1e-6)
    if ahead == -1e4:  # surely wrong: the slope of the cross-entropy, whatever gamma is
        np.testing.assert_allclose(gradient, [[-1, 0.5, 0.5]], rtol=1e-4)


def test_an_unknown_loss_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"no training\.loss 'focl'; did you mean focal"):
        losses.of(config.Training(loss="focl"))


@pytest.mark.parametrize("name", ["cross_entropy", "focal"])
def test_what_keras_is_given_is_the_weighted_mean(name: str) -> None:
    setting = config.Training(loss=name)
    weights = np.linspace(0.5, 2, 12).astype(np.float32)
    found = losses.KerasLoss(setting)(LABELS[:, None], LOGITS, sample_weight=weights)
    expected = (weights * losses.of(setting)(LOGITS, LABELS).numpy()).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_effective_numbers_by_hand() -> None:
    # beta 0.5: E = 1, 1.5, 1.75; 1/E = 1, 2/3, 4/7, which add up to 47/21.
    setting = config.Training(class_balanced_beta=0.5)
    found = losses.effective_number(np.array([1, 2, 3]), setting)
    np.testing.assert_allclose(found, 3 * np.array([21, 14, 12]) / 47)
    absent = losses.effective_number(np.array([1, 0, 2]), setting)
    np.testing.assert_allclose(absent, [1.2, 0, 0.8])


def test_effective_numbers_lie_between_equal_weights_and_the_inverse_frequency() -> None:
    counts = np.array([900, 80, 20])
    equal = losses.effective_number(counts, config.Training(class_balanced_beta=0.0))
    np.testing.assert_allclose(equal, 1)
    inverse = losses.inverse_frequency(counts, config.Training())
    assert (inverse * counts).sum() / counts.sum() == pytest.approx(1)
    almost = losses.effective_number(counts, config.Training(class_balanced_beta=1 - 1e-9))
    np.testing.assert_allclose(almost / almost[0], inverse / inverse[0], rtol=1e-5)
    # Wu's beta of 0.99 on the class sizes of Table 3: hardly any weight at all.
    paper = losses.effective_number(np.array([18134, 480]), config.Training())
    assert paper[1] / paper[0] == pytest.approx(1.0081, abs=1e-4)


def test_class_weights_of_a_run_follow_the_row(tiny, records_folder) -> None:
    dataset = records.load(records_folder)
    counts = inputs.class_counts(dataset)
    np.testing.assert_array_equal(counts, np.bincount(inputs.labels(dataset, "train"), minlength=7))
    np.testing.assert_array_equal(
        inputs.class_counts(dataset, 20),
        np.bincount(inputs.labels(dataset, "train", 20), minlength=7),
    )
    chosen = config.with_settings(tiny, ["training.class_weights=effective_number"])
    np.testing.assert_allclose(
        balance.class_weights(dataset, chosen),
        losses.effective_number(counts, chosen.training),
        rtol=1e-6,
    )


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    return keras.Model(image, keras.layers.Dense(4)(keras.layers.Flatten()(image)))


def stepped(
    method: str, loss: str, gamma: float = 2.0, spread: tf.distribute.Strategy | None = None
) -> list:
    """Weights after a step on a batch that lacks two of four classes, and what was said."""
    setting = config.Training(
        method=method,
        loss=loss,
        focal_gamma=gamma,
        batch_size=8,
        learning_rate=0.1,
        inner_epsilon=0.05,
    )
    with (spread or tf.distribute.get_strategy()).scope():
        model = methods.METHODS[method].make(network(), setting)
        fit.compile_model(model, setting)
    model.run_eagerly = spread is None  # To compile takes longest.
    rng = np.random.default_rng(0)
    images = rng.random((8, 8, 8, 3), dtype=np.float32)
    weights = np.linspace(0.5, 2, 8).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((images, np.arange(8) % 2, weights)).batch(8)
    if method != "standard":
        batches = model.prepare(batches, (0, 0))
    said = model.fit(batches, verbose=0).history
    return [*model.get_weights(), np.array(said["loss"])]


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.METHODS)
def test_every_method_learns_by_the_chosen_loss(method: str) -> None:
    plain, other = stepped(method, "cross_entropy"), stepped(method, "focal")
    assert np.abs(plain[0] - other[0]).max() > 1e-3
    assert other[-1] < plain[-1]


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.METHODS)
def test_every_method_learns_by_it_on_two_devices_as_on_one(method: str) -> None:
    plain, same = stepped(method, "cross_entropy"), stepped(method, "focal", 0.0)
    for a, b in zip(plain, same, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    one, two = stepped(method, "focal"), stepped(method, "focal", spread=strategy.mirrored())
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_unknown_class_weights_are_refused_by_name(tiny, records_folder) -> None:
    chosen = config.with_settings(tiny, ["training.class_weights=balanced"])
    with pytest.raises(UserError, match=r"no training\.class_weights 'balanced'; known: "):
        balance.class_weights(records.load(records_folder), chosen)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["standard", "adversarial", "augmix"])
@pytest.mark.parametrize("spread", [tf.distribute.get_strategy, strategy.mirrored])
def test_the_kappa_of_validation_is_scikit_learns(method: str, spread) -> None:
    setting = config.Training(method=method, batch_size=8)
    with spread().scope():
        model = methods.METHODS[method].make(network(), setting)
        fit.compile_model(model, setting)
    rng = np.random.default_rng(1)
    images, labels = rng.random((30, 8, 8, 3), dtype=np.float32), rng.integers(0, 4, 30)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    if method == "adversarial":
        batches = model.prepare(batches, (0, 0))
    logits = model(images).numpy()
    expected = cohen_kappa_score(labels, logits.argmax(axis=1), weights="quadratic")
    found = model.evaluate(batches, verbose=0, return_dict=True)
    assert found["kappa"] == pytest.approx(expected, abs=1e-5)
    ours = metrics.quadratic_kappa(labels, metrics.probabilities(logits), np.ones((1, 30)))
    assert ours[0] == pytest.approx(expected, abs=1e-12)


def test_two_classes_have_no_kappa() -> None:
    image = keras.Input((8,))
    assert steps.agreement(keras.Model(image, keras.layers.Dense(2)(image))) == []


@pytest.mark.slow
@pytest.mark.parametrize("method", ["standard", "adversarial"])
def test_the_history_holds_the_kappa_of_each_epoch(
    method, small, records_folder, tmp_path, monkeypatch
) -> None:
    leave_uncompiled(monkeypatch)
    experiment = config.with_settings(
        small,
        [
            "training.epochs=1",
            f"training.method={method}",
            "training.loss=focal",
            "training.inner_steps=1",
            "training.inner_rel_stepsize=1",
            "training.precision=float16",
            "training.class_weights=effective_number",
        ],
    )
    dataset = records.load(records_folder)
    fit.train(experiment, dataset, tmp_path, tf.distribute.get_strategy())
    (row,) = history(tmp_path)
    assert -1 <= row["val_kappa"] <= 1
    assert np.isfinite(row["val_loss"])
