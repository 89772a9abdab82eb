"""Sanity checks: an honest model raises no warning, a model that hides its gradient does."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, runs
from attnrobust.attacks import sanity, sweep
from attnrobust.attacks.subject import Subject
from attnrobust.data import inputs, records
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas


@pytest.fixture(scope="module")
def experiment(tiny):
    return config.with_settings(
        tiny, ["attack.epsilons=0.002,0.01,0.05", "attack.steps=10", "attack.rel_stepsize=0.25",
               "checks.samples=24", "checks.draws=3", "checks.queries=150"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset(records_folder):
    return records.load(records_folder)


@pytest.fixture(scope="module")
def small(experiment, dataset):
    """Two convolutions, trained, on one device."""
    batches = inputs.evaluation_batches(dataset, "train", data=experiment.data, batch_size=16)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((32, 32, 3)),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(7),
        ]
    )
    model.compile(keras.optimizers.legacy.Adam(3e-3),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True))  # fmt: skip
    pairs = batches.map(lambda batch: (batch["image"], batch["label"])).cache()
    model.fit(pairs, epochs=20, verbose=0)
    return model


@pytest.fixture(scope="module")
def replicas(small):
    """Of the honest model; compiled steps are kept with it."""
    return Replicas(small)


@pytest.fixture(scope="module")
def swept(experiment, dataset, replicas, tmp_path_factory):
    """The honest model's sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    sweep.Sweep(experiment, dataset, replicas).run(folder)
    return folder


@pytest.fixture
def doubted(experiment, dataset, replicas, swept):
    """The honest model's sweep, doubted on another model or with other settings."""

    def subject(model=None, *settings, folder=swept, surrogate=None):
        chosen = config.with_settings(experiment, settings)
        judged = Replicas(model) if model else replicas
        return Subject(chosen, dataset, judged, folder, surrogate)

    return subject


def warned(subject, *names):
    """Which of the checks of these names raise doubt."""
    return {name for name in names if sanity.CHECKS[name].find(subject)[0] is False}


def with_front(model, front):
    image = keras.Input((32, 32, 3))
    return keras.Model(image, model(front(image)))


def test_an_honest_model_raises_no_warning(doubted, replicas, tmp_path):
    sanity.check(doubted(surrogate=("another", lambda: replicas)), tmp_path)
    value = runs.load_json(tmp_path / "checks.json")
    assert value["epsilon"] in {0.002, 0.01, 0.05}
    assert value["images"] == 24
    rows = {row["name"]: row for row in value["checks"]}
    assert rows.keys() == sanity.CHECKS.keys()
    warned = {name: row["said"] for name, row in rows.items() if row["status"] == "warn"}
    assert not warned
    passed = {name for name, row in rows.items() if row["status"] == "pass"}
    assert passed >= {"bounds", "frozen", "gradients", "one_step", "converged", "black_box",
                      "transfer", "margin", "huge"}  # fmt: skip


def test_a_quantised_input_is_found_out(doubted, small, replicas):
    masked = with_front(small, keras.layers.Lambda(lambda x: tf.round(x * 32) / 32))
    subject = doubted(masked, surrogate=("another", lambda: replicas))
    names = {"gradients", "black_box", "transfer"}
    assert warned(subject, *names) == names
    assert sanity.gradients(subject)[1].startswith("24 of 24 zero")


def test_probabilities_are_found_out(doubted, small):
    softened = keras.Model(small.input, keras.layers.Softmax()(small.output))
    assert sanity.logits(doubted())[0]
    assert not sanity.logits(doubted(softened))[0]


def test_a_sweep_that_aimed_at_a_class_is_not_judged(doubted):
    with pytest.raises(UserError, match=r"attack\.target = nv: check judges attacks that take any"):
        doubted(None, "attack.target=nv")


def test_saturated_logits_are_found_out(doubted, small):
    """Their cross-entropy has no gradient where the model is sure; the margin has."""
    sure = keras.Model(small.input, keras.layers.Lambda(lambda z: 3000 * z)(small.output))
    assert warned(doubted(sure), "gradients", "margin") == {"gradients", "margin"}


def test_chance_in_the_model_is_found_out(doubted, small):
    noisy = with_front(small, keras.layers.Lambda(
        lambda x: x + 0.02 * tf.random.normal(tf.shape(x))))  # fmt: skip
    assert warned(doubted(noisy), "frozen")


def test_an_attack_that_is_too_weak_is_found_out(doubted):
    weak = doubted(None, "attack.steps=1", "attack.rel_stepsize=0.1", "attack.random_start=false")
    assert warned(weak, "reach", "one_step") == {"reach", "one_step"}


def test_a_perturbation_outside_the_ball_is_found_out(doubted, swept, tmp_path):
    folder = shutil.copytree(swept, tmp_path / "sweep")
    path = folder / "linf_pgd-0.01.npz"
    arrays = runs.load_npz(path)
    arrays["linf"][3] = 0.02
    runs.save_npz(path, **arrays)
    held, said = sanity.bounds(doubted(folder=folder))
    assert not held
    assert "0.01 beyond" in said


def test_an_l2_attack_has_a_black_box_beside_it_too(
    experiment, dataset, replicas, doubted, tmp_path
):
    settings = ["attack.name=l2_pgd", "attack.epsilons=0.05,0.5"]
    sweep.Sweep(config.with_settings(experiment, settings), dataset, replicas).run(tmp_path)
    subject = doubted(None, *settings, folder=tmp_path)
    held, said = sanity.black_box(subject)
    assert held
    assert "by boundary with 150 queries" in said
    assert sanity.transfer(subject)[0] is None


def test_monotone_and_rounding_by_hand(doubted):
    subject = doubted()
    assert sanity.monotone(subject)[0]
    logits = subject.files[0.05]["logits"]
    subject.files[0.05] = {"label": subject.files[0.05]["label"],
                           "logits": np.eye(7)[subject.files[0.05]["label"]]}  # fmt: skip
    assert not sanity.monotone(subject)[0], "all right again at the largest radius"
    assert logits.shape[1] == 7
    subject.epsilon = 0.001
    assert sanity.rounding(subject)[0] is None, "below half a grey level nothing is left"
