"""Sanity checks: an honest model raises no warning, a model that hides its gradient does."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import config, runs
from attnrobust.attacks import sanity, sweep
from attnrobust.attacks.subject import Subject
from attnrobust.data import records
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas
from attnrobust.training import fit


@pytest.fixture(scope="module")
def experiment(tiny):
    return config.with_settings(
        tiny, ["training.epochs=8", "attack.epsilons=0.002,0.01,0.05", "attack.steps=10",
               "attack.rel_stepsize=0.25", "checks.samples=24", "checks.draws=3",
               "checks.queries=150"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset(records_folder):
    return records.load(records_folder)


@pytest.fixture(scope="module")
def model(experiment, dataset, tmp_path_factory):
    """Trained, on one device."""
    return fit.train(
        experiment, dataset, tmp_path_factory.mktemp("t"), tf.distribute.get_strategy()
    )


def checked(experiment, dataset, model, folder, *settings, surrogate=None):
    """The checks' rows by name, as written."""
    chosen = config.with_settings(experiment, settings)
    replicas = Replicas(model)
    sweep.Sweep(chosen, dataset, replicas).run(folder)
    other = surrogate and ("another", lambda: Replicas(surrogate))
    sanity.check(Subject(chosen, dataset, replicas, folder, other), folder)
    value = runs.load_json(folder / "checks.json")
    assert value["epsilon"] in chosen.attack.epsilons
    assert value["images"] == 24
    return {row["name"]: row for row in value["checks"]}


def warned(rows):
    return {name for name, row in rows.items() if row["status"] == "warn"}


def with_front(model, front):
    image = keras.Input((32, 32, 3))
    return keras.Model(image, model(front(image)))


def test_an_honest_model_raises_no_warning(experiment, dataset, model, tmp_path):
    rows = checked(experiment, dataset, model, tmp_path, surrogate=model)
    assert rows.keys() == sanity.CHECKS.keys()
    assert not warned(rows), {name: rows[name]["said"] for name in warned(rows)}
    passed = {name for name, row in rows.items() if row["status"] == "pass"}
    assert passed >= {"bounds", "frozen", "gradients", "one_step", "converged", "black_box",
                      "transfer", "margin", "huge"}  # fmt: skip


def test_a_quantised_input_is_found_out(experiment, dataset, model, tmp_path):
    masked = with_front(model, keras.layers.Lambda(lambda x: tf.round(x * 32) / 32))
    rows = checked(experiment, dataset, masked, tmp_path, "attack.epsilons=0.01,0.05",
                   surrogate=model)  # fmt: skip
    assert {"gradients", "black_box", "transfer"} <= warned(rows)
    assert rows["gradients"]["said"].startswith("24 of 24 zero")


def test_probabilities_are_found_out(experiment, dataset, model, tmp_path):
    replicas = Replicas(model)
    sweep.Sweep(experiment, dataset, replicas).run(tmp_path)
    softened = keras.Model(model.input, keras.layers.Softmax()(model.output))
    assert sanity.logits(Subject(experiment, dataset, replicas, tmp_path))[0]
    assert not sanity.logits(Subject(experiment, dataset, Replicas(softened), tmp_path))[0]


def test_a_sweep_that_aimed_at_a_class_is_not_judged(experiment, dataset, model, tmp_path):
    aimed = config.with_settings(experiment, ["attack.target=nv"])
    with pytest.raises(UserError, match=r"attack\.target = nv: check judges attacks that take any"):
        Subject(aimed, dataset, Replicas(model), tmp_path)


def test_saturated_logits_are_found_out(experiment, dataset, model, tmp_path):
    """Their cross-entropy has no gradient where the model is sure; the margin has."""
    sure = keras.Model(model.input, keras.layers.Lambda(lambda z: 3000 * z)(model.output))
    assert {"gradients", "margin"} <= warned(checked(experiment, dataset, sure, tmp_path))


def test_chance_in_the_model_is_found_out(experiment, dataset, model, tmp_path):
    noisy = with_front(model, keras.layers.Lambda(
        lambda x: x + 0.02 * tf.random.normal(tf.shape(x))))  # fmt: skip
    rows = checked(experiment, dataset, noisy, tmp_path)
    assert "frozen" in warned(rows)


def test_an_attack_that_is_too_weak_is_found_out(experiment, dataset, model, tmp_path):
    rows = checked(experiment, dataset, model, tmp_path, "attack.steps=1",
                   "attack.rel_stepsize=0.1", "attack.random_start=false")  # fmt: skip
    assert {"reach", "one_step"} <= warned(rows)


def test_a_perturbation_outside_the_ball_is_found_out(experiment, dataset, model, tmp_path):
    replicas = Replicas(model)
    sweep.Sweep(experiment, dataset, replicas).run(tmp_path)
    path = tmp_path / "linf_pgd-0.01.npz"
    arrays = runs.load_npz(path)
    arrays["linf"][3] = 0.02
    runs.save_npz(path, **arrays)
    subject = Subject(experiment, dataset, replicas, tmp_path)
    held, said = sanity.bounds(subject)
    assert not held
    assert "0.01 beyond" in said


def test_an_l2_attack_has_a_black_box_beside_it_too(experiment, dataset, model, tmp_path):
    chosen = config.with_settings(experiment, ["attack.name=l2_pgd", "attack.epsilons=0.05,0.5"])
    replicas = Replicas(model)
    sweep.Sweep(chosen, dataset, replicas).run(tmp_path)
    held, said = sanity.black_box(Subject(chosen, dataset, replicas, tmp_path))
    assert held
    assert "by boundary with 150 queries" in said
    assert sanity.transfer(Subject(chosen, dataset, replicas, tmp_path))[0] is None


def test_monotone_and_rounding_by_hand(experiment, dataset, model, tmp_path):
    replicas = Replicas(model)
    sweep.Sweep(experiment, dataset, replicas).run(tmp_path)
    subject = Subject(experiment, dataset, replicas, tmp_path)
    assert sanity.monotone(subject)[0]
    logits = subject.files[0.05]["logits"]
    subject.files[0.05] = {"label": subject.files[0.05]["label"],
                           "logits": np.eye(7)[subject.files[0.05]["label"]]}  # fmt: skip
    assert not sanity.monotone(subject)[0], "all right again at the largest radius"
    assert logits.shape[1] == 7
    subject.epsilon = 0.001
    assert sanity.rounding(subject)[0] is None, "below half a grey level nothing is left"
