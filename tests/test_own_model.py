"""A stranger's model: its answers are its own, its attacks Foolbox's, its mistakes are named."""

from __future__ import annotations

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from own_models import BUNDLES, CLASSES, noise
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks.methods import ATTACKS, settled
from attnrobust.config.adopted import Adopted
from attnrobust.models.adopted import adopting
from attnrobust.models.replicas import Replicas

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
    print(name, told)


@pytest.mark.parametrize("name", BUNDLES)
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
