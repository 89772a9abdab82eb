"""Segmentation as a task of the house: losses by hand, from records to weights to files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from segmentation_helpers import CLASSES, drawing, write_drawn
from training_helpers import leave_uncompiled

from attnrobust import config, task
from attnrobust.data import inputs, records
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.stages import pipeline, prediction
from attnrobust.stages.context import Context
from attnrobust.training import balance, losses, ready, strategy

SETTINGS = config.Training(
    epochs=3,
    batch_size=4,
    learning_rate=0.01,
    adam_epsilon=1e-7,
    loss="cross_entropy_dice",
    class_weights="median_frequency",
    augmentation=("flip",),
)
EXPERIMENT = config.Experiment(
    name="tiny",
    data=config.Data("drawn", image_size=16),
    model=config.Model("unet", "", weights="none", width=0.125),
    training=SETTINGS,
    attack=config.Attack(batch_size=4),
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> records.Dataset:
    return write_drawn(tmp_path_factory.mktemp("drawn"), 20, size=16)


def logits_of(probabilities: list[list[list[float]]]) -> tf.Tensor:
    """One image whose softmax these are."""
    return tf.math.log(tf.constant([probabilities], tf.float32))


def test_cross_entropy_of_maps_weighs_each_pixel_by_its_class():
    logits, labels = logits_of([[[0.5, 0.5], [0.1, 0.9]]]), tf.constant([[[0, 1]]])
    weights = np.array([3, 2], np.float32)
    expected = (3 * -np.log(0.5) + 2 * -np.log(0.9)) / 2
    assert losses.of(config.Training(), weights)(logits, labels).numpy() == pytest.approx(
        [expected]
    )
    plain = (-np.log(0.5) - np.log(0.9)) / 2
    assert losses.of(config.Training())(logits, labels).numpy() == pytest.approx([plain])
    focal = config.Training(loss="focal", focal_gamma=2)
    expected = (0.25 * -np.log(0.5) + 0.01 * -np.log(0.9)) / 2
    assert losses.of(focal)(logits, labels).numpy() == pytest.approx([expected], rel=1e-4)


def test_soft_dice_by_hand():
    # Class 2 is nowhere in the label and counts for nothing.
    logits = logits_of([[[0.8, 0.1, 0.1], [0.3, 0.6, 0.1]]])
    labels = tf.constant([[[0, 1]]])
    first = 2 * 0.8 / (0.8**2 + 0.3**2 + 1)
    second = 2 * 0.6 / (0.1**2 + 0.6**2 + 1)
    expected = 1 - (first + second) / 2
    assert losses.dice(logits, labels).numpy() == pytest.approx([expected], rel=1e-5)
    both = losses.of(SETTINGS, np.ones(3, np.float32))(logits, labels).numpy()
    assert both == pytest.approx([expected + (-np.log(0.8) - np.log(0.6)) / 2], rel=1e-5)
    perfect = tf.constant([[[[50.0, 0, 0], [0, 50, 0]]]])
    assert losses.dice(perfect, labels).numpy() == pytest.approx([0], abs=1e-6)


def test_weights_by_median_frequency():
    found = losses.median_frequency(np.array([800, 100, 50, 0]), config.Training())
    assert found == pytest.approx([100 / 800, 1, 2, 0])


def test_class_weights_of_maps_go_by_pixels(drawn: records.Dataset):
    pixels = inputs.class_pixels(drawn, EXPERIMENT.data)
    expected = np.median(pixels) / pixels
    np.testing.assert_allclose(balance.class_weights(drawn, EXPERIMENT), expected, rtol=1e-6)
    assert expected[0] < 0.2 < expected[1]


def test_keras_loss_is_the_mean_over_the_images():
    weights = np.array([0.5, 2, 1], np.float32)
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(4, 5, 5, 3)), tf.float32)
    labels = tf.constant(rng.integers(3, size=(4, 5, 5)))
    found = losses.KerasLoss(SETTINGS, weights)(tf.cast(labels, tf.float32), logits)
    assert found.numpy() == pytest.approx(
        losses.of(SETTINGS, weights)(logits, labels).numpy().mean()
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["training.method=adversarial"], "training.method = adversarial: cannot train unet"),
        (["data.image_size=24"], "data.image_size = 24: unet needs a multiple of 16"),
        (["model.head=gap"], "model.head = gap: unet gives every pixel its logits"),
        (["model.backbone=resnet18", "model.head=gap"], "training.loss = cross_entropy_dice: it"),
    ],
)
def test_settings_that_do_not_go_together_are_said_before_training(changes: list[str], said: str):
    with pytest.raises(UserError, match=said):
        ready.ready(config.with_settings(EXPERIMENT, changes))


def test_records_and_network_of_two_tasks_are_told_apart(drawn: records.Dataset):
    ready.fits(EXPERIMENT, drawn)
    classes = config.with_settings(EXPERIMENT, ["model.backbone=resnet18", "model.head=gap"])
    with pytest.raises(UserError, match=r"resnet18 gives a class an image, but the records in"):
        ready.fits(classes, drawn)
    with pytest.raises(UserError, match=r"unet gives a class for every pixel"):
        ready.fits(EXPERIMENT, dataclasses.replace(drawn, kind="classify"))
    changes = ["training.sampling=oversample", "training.class_weights=none"]
    sampled = config.with_settings(EXPERIMENT, changes)
    with pytest.raises(UserError, match=r"training.sampling = oversample: it draws"):
        balance.ready(drawn, sampled)


@pytest.mark.parametrize("method", ["score_cam", "grad_cam_pp", "attention"])
def test_methods_that_do_not_fit_class_maps_are_refused_before_training(
    drawn: records.Dataset, tmp_path: Path, method: str
):
    asked = config.with_settings(EXPERIMENT, [f"explanation.methods={method}"])
    context = Context(Run.of(asked, tmp_path), drawn.root)
    with pytest.raises(UserError, match=rf"explanation.methods '{method}': unet gives .* class, "):
        pipeline.run_stages(context, ["train", "explain"])
    assert not context.run.path("train").exists()


@pytest.fixture(scope="module")
def walked(
    drawn: records.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Context, records.Dataset]:
    """A run that has trained and predicted."""
    run = Run.of(EXPERIMENT, tmp_path_factory.mktemp("runs"))
    context = Context(run, drawn.root)
    with pytest.MonkeyPatch.context() as patch:
        leave_uncompiled(patch)
        patch.setattr(strategy, "mirrored", tf.distribute.get_strategy)
        pipeline.run_stages(context, ["train", "predict"])
    return context, drawn


@pytest.mark.slow
def test_a_segmenter_learns_from_records(walked: tuple[Context, records.Dataset]):
    context, _ = walked
    file = context.run.path("train", "history.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == SETTINGS.epochs
    assert {"loss", "val_loss", "dice", "val_dice", "accuracy"} <= rows[0].keys()
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert "kappa" not in rows[0]


def test_predictions_are_class_maps(walked: tuple[Context, records.Dataset]):
    context, drawn = walked
    for split, name in (("test", "clean"), ("validation", "validation")):
        found = schemas.load_npz(context.run.path("predict", f"{name}.npz"), schemas.PREDICTED)
        assert found["prediction"].dtype == found["label"].dtype == np.uint8
        assert found["prediction"].shape == (drawn.count(split), 16, 16)
        np.testing.assert_array_equal(found["label"], inputs.labels(drawn, split))
        assert "logits" not in found
        model = context.trained(drawn).model
        data = EXPERIMENT.data
        (batch,) = inputs.evaluation_batches(drawn, split, data=data, batch_size=100)
        expected = task.predict(model(batch["image"]).numpy())
        assert (found["prediction"] == expected).mean() > 0.999
        np.testing.assert_array_equal(found["id"], batch["id"].numpy().astype(str))


def test_predictions_know_the_size_of_a_pixel_where_records_do(
    walked: tuple[Context, records.Dataset], tmp_path: Path
):
    context, drawn = walked
    before = schemas.load_npz(context.run.path("predict", "clean.npz"), schemas.PREDICTED)
    assert "pixel" not in before
    sides = {id_: 40.0 + place for place, id_ in enumerate(before["id"])}
    every = dict.fromkeys((f"d{number}" for number in range(20)), 1.0)
    known = dataclasses.replace(drawn, sides={**every, **sides})
    prediction.predict(context.experiment, known, tmp_path, context.trained(drawn))
    found = schemas.load_npz(tmp_path / "clean.npz", schemas.PREDICTED)
    assert found["pixel"] == pytest.approx([sides[id_] / 16 for id_ in found["id"]])


@pytest.mark.slow
def test_export_has_named_outputs(walked: tuple[Context, records.Dataset]):
    context, _ = walked
    pipeline.run_stages(context, ["export"])
    saved = context.run.path("export", "saved_model")
    serve = tf.saved_model.load(str(saved)).signatures["serving_default"]
    image = drawing(0, 16, 16)[0][None] / np.float32(255)
    found = {name: value.numpy() for name, value in serve(images=tf.constant(image)).items()}
    assert found.keys() == {"logits", "probabilities", "prediction"}
    assert found["probabilities"].shape == (1, 16, 16, 3)
    np.testing.assert_allclose(found["probabilities"].sum(axis=-1), 1, rtol=1e-5)
    assert found["prediction"].dtype == np.uint8
    np.testing.assert_array_equal(found["prediction"], found["logits"].argmax(axis=-1))
    assert runs.load_json(saved / "classes.json")["classes"] == list(CLASSES)
