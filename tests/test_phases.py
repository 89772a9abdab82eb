"""Layer groups and phases: what learns moves, the rest stays to the last bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras
from training_helpers import resumed_as_whole

from attnrobust import config
from attnrobust.data import records
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models import build
from attnrobust.models.backbones import BACKBONES
from attnrobust.stages import context, origin, pipeline
from attnrobust.training import fit, optimizers, phases

# Hundreds of layers: seconds a build.
LARGE = ("inception_resnet_v2", "inception_v4", *(f"efficientnet_b{number}" for number in range(4)))


def made(backbone: str, cut: str = "full") -> keras.Model:
    row = BACKBONES[backbone]
    width = 0.25 if backbone in ("mobilenet", "resnet18") else 1
    model = config.Model(backbone=backbone, weights="none", cut=cut, width=width)
    return build.build(model, classes=3, image_size=max(row.smallest, 32))


def first_learning(model: keras.Model) -> str:
    """Name of the first layer with weights that learns."""
    return next(layer.name for layer in model.layers if layer.trainable_weights)


def test_groups_of_a_resnet_by_name():
    model = made("resnet18")
    firsts = []
    for groups in (1, 2, 3, 4, 5, 6, None):
        phases.choose(model, "resnet18", groups)
        firsts.append(first_learning(model).partition("_")[0])
    assert firsts == ["logits", "conv5", "conv4", "conv3", "conv2", "conv1", "conv1"]
    phases.choose(model, "resnet18", 2)
    learning = {layer.name.partition("_")[0] for layer in model.layers if layer.trainable_weights}
    assert learning == {"conv5", "logits"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "cut"),
    [
        pytest.param(name, cut, marks=[pytest.mark.slow] * (name in LARGE))
        for name, row in BACKBONES.items()
        for cut in row.cuts
    ],
)
def test_every_group_of_every_backbone_adds_weights(backbone, cut):
    model = made(backbone, cut)
    every = len(model.trainable_weights)
    counts = []
    while not counts or counts[-1] < every:
        phases.choose(model, backbone, len(counts) + 1)
        counts.append(len(model.trainable_weights))
    assert len(counts) >= 4
    assert counts == sorted(set(counts))
    with pytest.raises(UserError, match=rf"groups = {len(counts) + 1}: expected at most"):
        phases.choose(model, backbone, len(counts) + 1)
    phases.choose(model, backbone, None)
    assert len(model.trainable_weights) == every


def test_rates_of_both_phases_by_hand():
    training = config.Training(
        epochs=4,
        head_epochs=2,
        head_learning_rate=0.5,
        learning_rate=0.1,
        schedule="step",
        decay_epochs=(3,),
    )
    assert [phases.learning(training, epoch) for epoch in range(4)] == [1, 1, None, None]
    assert [optimizers.rate(training, epoch) for epoch in range(4)] == pytest.approx(
        [0.5, 0.5, 0.1, 0.01]
    )
    deep = dataclasses.replace(training, groups=3)
    assert [phases.learning(deep, epoch) for epoch in range(4)] == [1, 1, 3, 3]


@pytest.mark.slow
def test_the_head_learns_first_and_a_resume_between_the_phases_changes_nothing(
    small, records_folder, tmp_path, monkeypatch
):
    experiment = config.with_settings(
        small,
        [
            "training.epochs=3",
            "training.head_epochs=1",
            "training.patience=1",
            "training.min_delta=100",
            "data.limit=32",
        ],
    )
    dataset, real, kept = records.load(records_folder), fit._one_epoch, []

    def backbone(model):
        rows = [layer.get_weights() for layer in model.layers if layer.name.startswith("conv")]
        return [np.array(array) for row in rows for array in row]

    def watched(model, *args, **kwargs):
        before = backbone(model)
        row = real(model, *args, **kwargs)
        after = backbone(model)
        kept.append(all(np.array_equal(one, two) for one, two in zip(before, after, strict=True)))
        return row

    monkeypatch.setattr(fit, "_one_epoch", watched)
    resumed_as_whole(experiment, dataset, tmp_path, tf.distribute.get_strategy(), compiled=False)
    # Patience counts from the second epoch on, which is the last since nothing counts as better.
    # The backbone stays, BatchNorm included, then learns; after the resume, too.
    assert kept == [True, False, False]


@pytest.mark.parametrize("setting", ["model.weights={file}", "training.start=first"])
def test_other_weights_in_the_file_that_training_starts_from_are_noticed(
    setting, tiny, records_folder, tmp_path, monkeypatch
):
    file = tmp_path / "demo" / "first" / "seed-0" / "train" / "weights.h5"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"one")
    monkeypatch.setattr(fit, "train", lambda *_: None)
    monkeypatch.setattr(origin, "remember", lambda *_: None)
    experiment = config.with_settings(tiny, [setting.format(file=file)])
    run = runs.Run.of(experiment, tmp_path)
    pipeline.train(context.Context(run, records_folder))
    file.write_bytes(b"two")
    with pytest.raises(
        UserError, match=r"made with starting_weights .*add --force to make it anew"
    ):
        pipeline.train(context.Context(run, records_folder))
    pipeline.train(context.Context(run, records_folder, force=True))
    pipeline.train(context.Context(run, records_folder))
    file.unlink()
    pipeline.train(context.Context(run, records_folder))
    # A stamp from before it held that is no reason to train again.
    stamp = runs.load_json(run.path("train", "stage.json"))
    del stamp["used"]["starting_weights"]
    runs.save_json(run.path("train", "stage.json"), stamp)
    file.write_bytes(b"three")
    pipeline.train(context.Context(run, records_folder))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"head_epochs": 2},
            r"training\.head_epochs = 2: expected at least 0 and below .*epochs, 2",
        ),
        ({"head_epochs": -1}, r"training\.head_epochs = -1"),
        ({"groups": 0}, r"training\.groups = 0: expected at least 1"),
        ({"head_learning_rate": 0.0}, r"training\.head_learning_rate = 0\.0: expected above 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(values, words):
    with pytest.raises(UserError, match=words):
        config.Training(epochs=2, **values)
