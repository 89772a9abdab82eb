"""The transfer matrix: who is fooled by whose adversarials."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow import keras

from attnrobust import cli as command
from attnrobust import config
from attnrobust.attacks import passes
from attnrobust.attacks import transfer as crafting
from attnrobust.attacks.methods import ATTACKS
from attnrobust.attacks.row import Row
from attnrobust.data import inputs, records
from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas
from attnrobust.run import main
from attnrobust.stages import pipeline, surrogate
from attnrobust.stages.context import Context
from attnrobust.studies import transfer_matrix as matrix
from attnrobust.studies.transfer import transfer
from experiments.demo import resnet18_gap, resnet18_soft_attention

SETTINGS = ["attack.epsilons=0.01,0.05", "attack.steps=5", "attack.rel_stepsize=0.5"]


def train(module, records, folder, *more):
    words = [
        "train",
        "--smoke",
        "--records",
        str(records),
        "--runs",
        str(folder),
        "--set",
        "training.epochs=4",
        "--set",
        "training.learning_rate=1e-2",
        "--set",
        "training.augmentation=",
        "--set",
        "training.class_weights=none",
        "--set",
        "training.patience=4",
        "--set",
        "data.image_size=32",
        "--set",
        "data.limit=100",
        "--set",
        "model.backbone=small",
        *more,
    ]
    assert main(module.EXPERIMENT, words) == 0


@pytest.fixture(scope="module")
def first(one_device, records_folder, shared):
    """A folder with one small trained model."""
    return shared("transfer-runs", lambda folder: train(resnet18_gap, records_folder, folder))


@pytest.fixture(scope="module")
def trained(first, records_folder, shared):
    """The same folder with two; not to be changed."""
    shared("transfer-second", lambda _: train(resnet18_soft_attention, records_folder, first))
    return first


def test_a_first_model_is_trained(first):
    """Apart, so that what training costs is not counted to what follows."""
    assert runs.find_runs([first])[0].stamp("train")["finished"]


def test_both_models_are_trained(trained):
    """Apart, likewise."""
    assert [run.stamp("train")["finished"] for run in runs.find_runs([trained])] == [True, True]


def test_every_model_is_judged_on_the_adversarials_of_each(trained, records_folder, tmp_path):
    words = [
        "transfer",
        str(trained),
        "--records",
        str(records_folder.parent),
        "--out",
        str(tmp_path),
    ]
    for setting in SETTINGS:
        words += ["--set", setting]
    assert command.main(words) == 0
    table = pd.read_csv(tmp_path / "transfer.csv")
    names = ["resnet18_gap-smoke", "resnet18_soft_attention-smoke"]
    accuracy = table[table["metric"] == "accuracy"].set_index(["source", "target", "epsilon"])
    assert len(accuracy) == 2 + 2 * 2 * 2
    clean = {name: accuracy.loc[("clean", name, 0.0), "value"] for name in names}
    assert all(value > 0.2 for value in clean.values())
    for name in names:
        own = accuracy.loc[(name, name, 0.05), "value"]
        assert own < clean[name]
        for other in names:
            assert own <= accuracy.loc[(other, name, 0.05), "value"] + 0.05
    fooled = table[(table["metric"] == "fooled") & (table["source"] == table["target"])]
    assert (fooled["value"] > 0).any()
    assert (tmp_path / "transfer.png").stat().st_size > 5000

    stamp = (tmp_path / f"{names[0]}-0.05.npz").stat().st_mtime_ns
    assert command.main(words) == 0
    assert (tmp_path / f"{names[0]}-0.05.npz").stat().st_mtime_ns == stamp, "kept"
    with pytest.raises(UserError, match="results of other runs or settings stand there"):
        transfer(runs.find_runs([trained]), records_folder.parent, tmp_path, ["attack.steps=3"])


@pytest.mark.slow
def test_runs_that_do_not_go_together_are_refused(trained, records_folder, tmp_path):
    one, two = runs.find_runs([trained])
    larger = Run(two.root, config.with_settings(two.experiment, ["data.image_size=64"]))
    with pytest.raises(UserError, match=r"data\.image_size 32, .* 64"):
        transfer([one, larger], records_folder.parent, tmp_path, [])
    with pytest.raises(UserError, match="1 run given"):
        transfer([one], records_folder.parent, tmp_path, [])
    with pytest.raises(UserError, match="two runs are called"):
        transfer([one, one], records_folder.parent, tmp_path, [])
    with pytest.raises(UserError, match=r"attack\.target = nv: transfer judges"):
        transfer([one, two], records_folder.parent, tmp_path, ["attack.target=nv"])
    with pytest.raises(UserError, match=r"no attack\.first_passes 'one'; known: one_step"):
        transfer([one, two], records_folder.parent, tmp_path / "out", ["attack.first_passes=one"])
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"attack\.name = cw: it stops at the border of the model"):
        transfer([one, two], records_folder.parent, tmp_path, ["attack.name=cw"])


def test_records_that_a_model_was_not_trained_on_are_told(
    trained, records_folder, tmp_path, caplog
):
    copies = shutil.copytree(trained, tmp_path / "runs")
    stamp = next(copies.rglob("resnet18_gap-smoke/*/train/stage.json"))
    stamp.write_text(stamp.read_text().replace('"inputs": "', '"inputs": "0'))
    gap, attention = runs.find_runs([copies])
    for run in (gap, attention):
        pipeline.run_stages(Context(run, records_folder), ["predict"])
    (said,) = {r.message for r in caplog.records if "trained on other records" in r.message}
    assert "resnet18_gap-smoke" in said
    assert gap.elsewhere()
    assert not attention.elsewhere()


def test_a_check_loads_its_surrogate_from_the_runs_beside_it(trained, records_folder):
    """Which one it is stands in test_context; a smoke run is none."""
    one, two = (Context(run, records_folder) for run in runs.find_runs([trained]))
    dataset = one.dataset()
    assert surrogate.find(one, dataset) is None
    name, load = surrogate.loaded(one, {"run": "resnet18_soft_attention-smoke/seed-0"}, dataset)
    assert name == "resnet18_soft_attention-smoke, seed 0"
    for mine, theirs in zip(
        load().model.get_weights(), two.trained(dataset).model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_a_new_row_is_asked_for_its_full_strength_on_every_image(
    records_folder, tiny, tmp_path, monkeypatch
):
    def brighten(replicas, setting, seed):
        assert not setting.early_stop
        assert setting.steps == 9
        return lambda images, labels, ids, epsilon, restart: (
            np.clip(images + np.float32(epsilon), 0, 1),
            np.ones(len(ids), int),
        )

    monkeypatch.setitem(ATTACKS, "brighten", Row(brighten, passes.single, own={"steps": 9}))
    monkeypatch.setitem(
        ATTACKS, "nearest", Row(brighten, passes.single, kind="minimal", in_full=False)
    )
    image = keras.Input((32, 32, 3))
    flat = keras.layers.Flatten()(image)
    models = {name: Replicas(keras.Model(image, keras.layers.Dense(7)(flat))) for name in "ab"}
    dataset = records.load(records_folder)
    asked = config.with_settings(
        tiny, ["attack.name=brighten", "attack.epsilons=0.1", "attack.steps=none"]
    )
    experiment = dataclasses.replace(asked, attack=crafting.in_full(asked.attack))
    crafting.craft("a", models, experiment, dataset, tmp_path)
    made = runs.load_npz(tmp_path / "a-0.1.npz")
    images = inputs.read(dataset, "test", made["id"].tolist(), data=tiny.data)["image"]
    for name, replicas in models.items():
        np.testing.assert_allclose(
            made[f"logits-{name}"], replicas.model(np.clip(images + 0.1, 0, 1)), atol=1e-4
        )
    with pytest.raises(UserError, match=r"expected one of linf_pgd, .*square, .*brighten$"):
        crafting.in_full(dataclasses.replace(asked.attack, name="nearest"))


def test_answers_that_are_not_finite_are_told_at_once(tiny, records_folder, tmp_path):
    """Later their file would be called damaged; and argmax reads a NaN as a class."""
    dataset, side = records.load(records_folder), tiny.data.image_size
    image = keras.Input((side, side, 3))
    bright = tf.reduce_mean(image, axis=(1, 2, 3))[:, None]
    broken = keras.Model(image, tf.repeat(tf.math.log(bright - 0.5), len(dataset.classes), axis=1))
    with pytest.raises(UserError, match="logits that are not finite"):
        crafting.clean({"broken": Replicas(broken)}, tiny, dataset, tmp_path)
    assert not (tmp_path / "clean.npz").exists()


def test_what_a_model_has_wrong_is_not_right_for_being_attacked(tmp_path):
    def save(name, a, b):
        runs.save_npz(
            tmp_path / f"{name}.npz",
            label=np.array([0, 0, 1, 1]),
            **{"logits-a": np.eye(2)[a], "logits-b": np.eye(2)[b]},
        )

    save("clean", [0, 0, 1, 0], [0, 1, 1, 1])
    save("a-0.1", [0, 1, 1, 1], [0, 0, 0, 1])
    save("b-0.1", [0, 0, 1, 1], [0, 0, 1, 1])
    table = matrix.measure(tmp_path, ["a", "b"], [0.1])
    accuracy = table[table["metric"] == "accuracy"].set_index(["source", "target"])["value"]
    assert accuracy["a", "a"] == 2 / 4, "not 3"
    assert accuracy["a", "b"] == 2 / 4
    assert accuracy["b", "a"] == accuracy["b", "b"] == 3 / 4, "as clean, not 4"


def test_a_white_box_weaker_than_transfer_is_called_out():
    rows = [
        ["clean", "a", 0.0, 0.9],
        ["a", "a", 0.1, 0.5],
        ["b", "a", 0.1, 0.3],
        ["a", "b", 0.1, 0.7],
        ["b", "b", 0.1, 0.2],
    ]
    table = pd.DataFrame(
        [[s, t, e, "accuracy", v, 0, 1, 100] for s, t, e, v in rows], columns=list(matrix.COLUMNS)
    )
    (said,) = matrix.weaker_at_home(table)
    assert said.startswith("a keeps 0.500 under its own attack at ε 0.1, but 0.300 under")
