"""What an attack sees: through the softmax just as stock Foolbox, by name, in the asked scale."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import eagerpy as ep
import numpy as np
import pytest
import tensorflow as tf
from attack_helpers import linear, smooth
from attack_helpers import noise as small_noise
from tensorflow import keras
from test_engine import STOCK, data, names, radius, setting, small_model, stock

from attnrobust import config
from attnrobust.attacks import cheap, losses, methods, outputs
from attnrobust.attacks.methods import settled
from attnrobust.attacks.subject import Subject
from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas
from attnrobust.stages import pipeline
from attnrobust.stages.context import Context


def ended(model: keras.Model) -> keras.Model:
    """The network as a paper has it, its softmax on."""
    return keras.Sequential([model, keras.layers.Softmax(dtype=model.output.dtype)])


def through(asked, model, images, labels):
    """Our adversarials of a model of logits, and who falls as its logits judge."""
    attack = outputs.make(Replicas(model), dataclasses.replace(asked, outputs="probabilities"), 5)
    made, _ = attack(images, labels, names(len(images)), radius(asked.name), 0)
    made = np.asarray(made)
    return made, model(made).numpy().argmax(1) != labels.numpy()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float32") for name in STOCK), ("linf_pgd", "float64"), ("l2_pgd", "float64")],
)
def test_through_the_softmax_is_stock_foolbox_on_a_model_that_ends_in_one(name, dtype):
    model = small_model(dtype)
    images, labels = data(model, 24, dtype)
    theirs, their_success = stock(setting(name), ended(model), images, labels)
    mine, my_success = through(setting(name), model, images, labels)
    assert 0 < their_success.sum() < len(labels)
    np.testing.assert_array_equal(my_success, their_success)
    if dtype == "float64":
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_the_loss_through_the_softmax_is_foolbox_s_own_where_it_rounds_away():
    outputs_ = tf.constant([[40.0, 0.0, 1.0], [0.2, 0.5, 0.3], [0.0, 40.0, 1.0]])
    labels = tf.constant([0, 0, 0], tf.int64)
    theirs, slope = ep.value_and_grad(
        lambda x: ep.crossentropy(x, ep.astensor(labels)).sum(), ep.astensor(outputs_)
    )
    with tf.GradientTape() as tape:
        tape.watch(outputs_)
        mine = losses.foolbox_cross_entropy(outputs_, labels, None)
    found = tape.gradient(mine, outputs_).numpy()
    np.testing.assert_array_equal(found, slope.numpy())
    assert theirs.item() == pytest.approx(float(tf.reduce_sum(mine)))
    assert found[0, 0] == 0, "Foolbox's fault is part of the reading"
    aimed = losses.foolbox_cross_entropy(outputs_, labels, 1).numpy()
    np.testing.assert_allclose(aimed[[0, 2]], [-40, 0], atol=1e-3)


def sure(gap: float) -> tuple[keras.Model, tf.Tensor, tf.Tensor]:
    """A linear model of two classes, its images of label 0, `gap` logits on average ahead."""
    model, images = linear(2), small_noise(64)
    lead = np.subtract(*model(images).numpy().T)
    kernel, bias = model.layers[-1].get_weights()
    spread = gap / 2 / lead.std()
    model.layers[-1].set_weights([spread * kernel, spread * (bias - [lead.mean(), 0]) + [gap, 0]])
    return model, tf.constant(images), tf.zeros(len(images), tf.int64)


def test_it_stands_still_on_a_sure_model_just_as_foolbox_does():
    model, images, labels = sure(400.0)
    asked = setting("linf_pgd", random_start=False)
    theirs, _ = stock(asked, ended(model), images, labels)
    mine, _ = through(asked, model, images, labels)
    np.testing.assert_array_equal(mine, theirs)
    still = np.abs(mine - images.numpy()).max(axis=(1, 2, 3)) == 0
    assert 0.5 < still.mean() <= 1, "where the softmax is flat, not a pixel moves"


def test_the_default_sees_logits_and_the_softmax_is_made_once():
    replicas = Replicas(small_model())
    seen, asked = outputs.seen(replicas, setting("linf_pgd"))
    assert (seen, asked) == (replicas, setting("linf_pgd"))
    soft = outputs.softened(replicas)
    assert soft is outputs.softened(replicas)
    found = soft.forward(data(replicas.model, 4, "float32")[0]).numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    _, asked = outputs.seen(replicas, setting("linf_pgd", outputs="probabilities"))
    assert asked.loss == "foolbox_cross_entropy"
    assert outputs.on_logits(asked) == setting("linf_pgd")


def test_a_first_pass_in_bfloat16_leaves_the_logits_under_the_softmax_in_float32():
    seen = outputs.softened(Replicas(smooth(4)))
    lowered = cheap.in_bfloat16(seen).model
    dtypes = [layer.compute_dtype for layer in lowered.layers[1:]]
    assert dtypes == ["bfloat16", "bfloat16", "bfloat16", "float32", "float32"]


def test_checks_doubt_such_an_attack_on_the_logits(monkeypatch):
    made = []
    asked = setting("linf_pgd", outputs="probabilities")

    def make(replicas, setting, seed):
        made.append((setting.outputs, setting.loss))
        return SimpleNamespace()

    monkeypatch.setattr("attnrobust.attacks.subject.make", make)
    subject = object.__new__(Subject)
    subject.setting, subject.replicas = asked, None
    subject.experiment = SimpleNamespace(seed=0)
    subject.images, subject.right = np.zeros((1, 2, 2, 3)), np.zeros(1, bool)
    subject.epsilon = 0.1
    _ = subject.attacked
    subject.under("linf_pgd", steps=99)
    assert made == [("probabilities", "cross_entropy"), ("logits", "cross_entropy")]


def test_the_reading_stands_in_the_label_whatever_it_is_called():
    plain, reading = config.Attack(), config.Attack(outputs="probabilities")
    assert [plain.labelled(), plain.labelled("pgd100")] == ["linf_pgd", "pgd100"]
    assert reading.labelled() == "linf_pgd-through-softmax"
    assert reading.labelled("paper") == "paper-through-softmax"
    assert reading.labelled("paper-through-softmax") == "paper-through-softmax"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attack.outputs=softmax", "logits or probabilities"),
        ("attack.scale=255", "pixels or model_input"),
        ("attack.loss=foolbox_cross_entropy", "cross_entropy, where attack.outputs = logits"),
    ],
)
def test_a_wrong_reading_is_refused_by_name(tiny, text, said):
    with pytest.raises(UserError, match=said):
        config.with_settings(tiny, [text])


def test_epsilons_of_the_first_layer_become_pixels_once():
    asked = config.Attack(epsilons=(0.32, 2.55), abs_stepsize=0.51, scale="model_input")
    found = asked.in_pixels(255.0)
    assert found.epsilons == pytest.approx((0.32 / 255, 0.01))
    assert (found.abs_stepsize, found.scale) == (pytest.approx(0.002), "pixels")
    assert found.in_pixels(255.0) == found
    assert found.stepsize(0.01) == pytest.approx(0.002)
    methods.row_of(asked)
    with pytest.raises(UserError, match="at most 1"):
        methods.row_of(dataclasses.replace(asked, scale="pixels"))
    with pytest.raises(UserError, match="counts changed pixels"):
        methods.row_of(dataclasses.replace(asked, name="jsma"))
    with pytest.raises(UserError, match=r"attack.scale = model_input: transfer takes pixels"):
        outputs.require_plain(asked, "transfer")
    with pytest.raises(UserError, match=r"attack.outputs = probabilities: unfreeze takes logits"):
        outputs.require_plain(config.Attack(outputs="probabilities"), "unfreeze")


@pytest.fixture
def context(tiny, tmp_path, monkeypatch) -> Context:
    """A run that says it was trained, asked for an attack in the first layer's numbers."""
    settings = [
        "attack.scale=model_input",
        "attack.outputs=probabilities",
        "attack.epsilons=0.255,0.51",
    ]
    run = Run.of(config.with_settings(tiny, settings), tmp_path)
    runs.save_json(run.path("train", "stage.json"), {"used": {}, "inputs": "", "finished": True})
    runs.save_text(run.path("train", "weights.h5"), "learned")
    runs.save_json(run.path("provenance.json"), {"input_scale": 255.0})
    monkeypatch.setattr(Context, "weights_digest", lambda context: "")
    monkeypatch.setattr(Context, "dataset", lambda context: None)
    monkeypatch.setattr(Context, "trained", lambda context, dataset: None)
    return Context(run, tmp_path)


def test_the_sweep_and_every_later_stage_see_pixels_and_the_stamp_what_was_asked(
    context, monkeypatch
):
    swept = []
    made = SimpleNamespace(run=lambda folder: None)
    monkeypatch.setattr(
        "attnrobust.attacks.sweep.Sweep",
        lambda experiment, *_: swept.append(experiment.attack) or made,
    )
    pipeline.attack(context)
    label = "linf_pgd-through-softmax"
    stamp = context.run.stamp(f"attack/{label}")
    assert swept[0].epsilons == pytest.approx((0.001, 0.002))
    assert context.run.attacks() == {label: settled(swept[0])}
    assert stamp["used"]["attack"]["epsilons"] == [0.255, 0.51]
    assert stamp["epsilon_scale"] == 255.0
    pipeline.attack(context)
    assert len(swept) == 1, "done before, kept"


def test_the_first_layer_s_numbers_must_be_known(context):
    context.run.path("provenance.json").unlink()
    with pytest.raises(UserError, match="no input_scale"):
        pipeline.attack(context)
