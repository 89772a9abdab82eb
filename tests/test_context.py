"""A run on its way: whose adversarials a check takes, what its stamp holds, what is float32."""

from __future__ import annotations

import dataclasses
import shutil
from types import SimpleNamespace

import pytest
import tensorflow as tf
from run_helpers import made
from tensorflow import keras

from attnrobust import config
from attnrobust.attacks import sanity
from attnrobust.attacks.subject import Subject
from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.models import build, memory
from attnrobust.stages import origin, pipeline, surrogate
from attnrobust.stages.context import Context
from attnrobust.training import batchnorm, fit
from attnrobust.training.validation import Validation


@pytest.fixture
def context(tiny, records_folder, tmp_path):
    """A run that counts as trained and attacked."""
    return made(tiny, records_folder, tmp_path)


def test_a_surrogate_learned_from_the_same_images_in_earnest(
    context, tiny, records_folder, tmp_path, caplog
):
    dataset = context.dataset()
    for settings in (
        ["name=a-smoke"],
        ["name=b", "data.limit=16"],
        ["name=c", "data.folds=3"],
        ["name=d", "data.image_size=64"],
    ):
        made(tiny, records_folder, tmp_path, *settings)
    assert surrogate.find(context, dataset) is None
    assert surrogate.find(context, dataclasses.replace(dataset, hash="another")) is None
    made(tiny, records_folder, tmp_path, "seed=1")
    assert surrogate.find(context, dataset)["run"] == "tiny/seed-1", "better than nothing"
    other = made(tiny, records_folder, tmp_path, "name=z")
    found = surrogate.find(context, dataset)
    assert found == {"run": "z/seed-0", "weights": runs.digest(other.run.path("train/weights.h5"))}
    fewer = dataclasses.replace(
        context,
        run=Run(context.run.root, config.with_settings(context.experiment, ["data.limit=8"])),
    )
    assert surrogate.find(fewer, dataset) == found, "a limit of the attack's only chooses images"
    runs.save_json(tmp_path / "demo" / "broken" / "seed-0" / "config.json", {})
    assert surrogate.find(context, dataset) == found
    assert "no adversarials are taken from that run: " in caplog.text


def test_damaged_weights_name_the_remedy(context):
    with pytest.raises(UserError, match=r"weights\.h5: not a readable HDF5 .*; run 'train' again$"):
        context.trained(context.dataset())


def test_the_stamp_of_a_check_holds_the_surrogates_weights(
    context, tiny, records_folder, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(Context, "trained", lambda *_: None)
    monkeypatch.setattr(Subject, "of_sweep", lambda *given: given)
    monkeypatch.setattr(sanity, "check", lambda given, folder, _: asked.append(given[-1]))

    def stamped() -> dict[str, object]:
        pipeline.check(context)
        return context.run.stamp("check/linf_pgd")

    alone = stamped()
    assert (asked.pop(), alone["surrogate"]) == (None, None)
    assert alone["weights"] == runs.digest(context.run.path("train", "weights.h5"))
    other = made(tiny, records_folder, tmp_path, "name=z")
    weights = other.run.path("train", "weights.h5")
    assert stamped() == alone, "a run that came later does not undo a check"

    context.force = True
    beside = stamped()
    assert asked.pop()[0] == "z, seed 0"
    assert beside["surrogate"] == {"run": "z/seed-0", "weights": runs.digest(weights)}
    context.force = False
    assert stamped() == beside
    weights.write_text("trained anew")
    with pytest.raises(UserError, match="add --force to make it anew"):
        stamped()
    shutil.rmtree(other.run.root)
    assert stamped() == beside, "what a run that is gone has shown still holds"
    assert asked == []


def test_float32_is_float32_from_predict_on(context, monkeypatch):
    """And in training where it is asked for."""
    switch = tf.config.experimental
    on = switch.tensor_float_32_execution_enabled
    seen = []
    before = on()
    model = keras.Sequential([keras.layers.Input((32, 32, 3)), keras.layers.Flatten()])
    monkeypatch.setattr(build, "build", lambda *_, **__: seen.append(on()) or model)
    monkeypatch.setattr(memory, "require", lambda *_: None)
    monkeypatch.setattr(fit, "train", lambda *_: seen.append(on()))
    monkeypatch.setattr(origin, "remember", lambda *_: None)
    try:
        for asked in ("true", "false"):
            changed = config.with_settings(context.experiment, [f"training.tf32={asked}"])
            again = Context(Run(context.run.root, changed), context.records, force=True)
            switch.enable_tensor_float_32_execution(True)
            pipeline.train(again)
            runs.save_text(again.run.path("train", "weights.h5"), "new")
            switch.enable_tensor_float_32_execution(True)
            again.trained(SimpleNamespace(hash="", classes=("a", "b")))
            assert not on()
        assert seen == [True, False, False, False]
    finally:
        switch.enable_tensor_float_32_execution(before)


@pytest.mark.parametrize("stage", ["predict", "attack", "check", "explain", "export"])
def test_what_measures_gets_its_model_where_the_switch_is(stage, context, monkeypatch):
    context.force = True
    monkeypatch.setattr(Context, "trained", lambda *_: pytest.fail("reached", pytrace=False))
    monkeypatch.setattr(Subject, "of_sweep", lambda *given: given)
    with pytest.raises(pytest.fail.Exception, match="reached"):
        pipeline.STAGES[stage](context)


def test_validation_judges_in_whole_float32_and_gives_back_what_training_had(monkeypatch):
    switch = tf.config.experimental
    before, seen = switch.tensor_float_32_execution_enabled(), []

    class Judge:
        def evaluate(self, *_, **__):
            seen.append(switch.tensor_float_32_execution_enabled())
            return {"loss": 1.0}

    monkeypatch.setattr(batchnorm, "level", lambda _: None)
    judge = Judge()
    try:
        for allowed in (True, False):
            switch.enable_tensor_float_32_execution(allowed)
            assert Validation(judge, judge, None).judged() == {"val_loss": 1.0}
            assert switch.tensor_float_32_execution_enabled() == allowed
    finally:
        switch.enable_tensor_float_32_execution(before)
    assert seen == [False, False]
