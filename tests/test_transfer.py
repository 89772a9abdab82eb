"""The transfer matrix: who is fooled by whose adversarials."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from attnrobust import __main__ as command
from attnrobust import config, pipeline, runs
from attnrobust.errors import UserError
from attnrobust.report import transfer as matrix
from attnrobust.runs import Run
from attnrobust.transfer import transfer
from attnrobust.walk import Walk
from experiments.demo import resnet18_gap, resnet18_soft_attention

SETTINGS = ["attack.epsilons=0.01,0.05", "attack.steps=5", "attack.rel_stepsize=0.5"]


@pytest.fixture(scope="module")
def trained(records_folder, tmp_path_factory):
    """Two small trained models."""
    folder = tmp_path_factory.mktemp("runs")
    for module in (resnet18_gap, resnet18_soft_attention):
        words = ["train", "--smoke", "--records", str(records_folder), "--runs", str(folder),
                 "--set", "training.epochs=3", "--set", "data.image_size=32",
                 "--set", "data.limit=100"]  # fmt: skip
        assert pipeline.main(module.EXPERIMENT, words) == 0
    return folder


def test_every_model_is_judged_on_the_adversarials_of_each(trained, records_folder, tmp_path):
    words = ["transfer", str(trained), "--records", str(records_folder.parent),
             "--out", str(tmp_path)]  # fmt: skip
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


def test_records_that_a_model_was_not_trained_on_are_told(
    trained, records_folder, tmp_path, caplog
):
    copies = shutil.copytree(trained, tmp_path / "runs")
    stamp = next(copies.rglob("resnet18_gap-smoke/*/train/stage.json"))
    stamp.write_text(stamp.read_text().replace('"inputs": "', '"inputs": "0'))
    gap, attention = runs.find_runs([copies])
    for run in (gap, attention):
        pipeline.walk_through(Walk(run, records_folder), ["predict"])
    (said,) = {r.message for r in caplog.records if "trained on other records" in r.message}
    assert "resnet18_gap-smoke" in said
    assert gap.elsewhere()
    assert not attention.elsewhere()


def test_a_check_loads_its_surrogate_from_the_runs_beside_it(trained, records_folder):
    """Which one it is stands in test_walk; a smoke run is none."""
    one, two = (Walk(run, records_folder) for run in runs.find_runs([trained]))
    dataset = one.dataset()
    assert one.surrogate(dataset) is None
    name, load = one.loaded({"run": "resnet18_soft_attention-smoke/seed-0"}, dataset)
    assert name == "resnet18_soft_attention-smoke, seed 0"
    for mine, theirs in zip(load().model.get_weights(),
                            two.trained(dataset).model.get_weights(), strict=True):  # fmt: skip
        np.testing.assert_array_equal(mine, theirs)


def test_a_white_box_weaker_than_transfer_is_called_out():
    rows = [["clean", "a", 0.0, 0.9], ["a", "a", 0.1, 0.5], ["b", "a", 0.1, 0.3],
            ["a", "b", 0.1, 0.7], ["b", "b", 0.1, 0.2]]  # fmt: skip
    table = pd.DataFrame(
        [[s, t, e, "accuracy", v, 0, 1, 100] for s, t, e, v in rows], columns=list(matrix.COLUMNS)
    )
    (said,) = matrix.weaker_at_home(table)
    assert said.startswith("a keeps 0.500 under its own attack at ε 0.1, but 0.300 under")
