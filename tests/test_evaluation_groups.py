"""Measurements of images of which several are one patient's, of targeted attacks, of none."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from test_evaluation import CLEAN, FALLEN, IDS, LABELS, USED, attacked, logits, row
from test_evaluation import run as run  # noqa: PLC0414  (a fixture)

from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.measures import metrics
from attnrobust.stages import evaluation

pytestmark = pytest.mark.usefixtures("cheap_pages")
# Images 0 to 2 are one patient's, 6 to 9 another's.
GROUPS = np.array(["a", "a", "a", "b", "c", "d", "e", "e", "e", "e"])


def grouped(run: Run) -> pd.DataFrame:
    """The table of the run, its predictions knowing the groups; the attack's files do not."""
    place = run.path("predict", "clean.npz")
    runs.save_npz(place, **runs.load_npz(place), group=GROUPS)
    return evaluation.evaluate(run, run.path("evaluate"))


def test_groups_of_several_images_are_resampled_whole(run: Run) -> None:
    alone = evaluation.evaluate(run, run.path("evaluate"))
    together = grouped(run)
    pd.testing.assert_series_equal(together["value"], alone["value"])
    assert row(alone, "accuracy", 0.01)["interval"] == "wilson"
    assert row(alone, "balanced_accuracy", 0.01)["interval"] == "bootstrap"
    for level in ("", 0.01):
        for metric in ("accuracy", "balanced_accuracy"):
            assert row(together, metric, level)["interval"] == "group_bootstrap"
    stands, before = LABELS == FALLEN, LABELS == CLEAN
    expected = {
        "accuracy": (stands, slice(None)),
        "recall[nv]": (stands, LABELS == 1),
        "attack_success_rate": (~stands, before),
        "prediction_change_rate": (CLEAN != FALLEN, slice(None)),
    }
    for metric, (hits, among) in expected.items():
        found = metrics.proportion(hits[among], groups=GROUPS[among])
        assert found.interval == "group_bootstrap"
        columns = ["value", "low", "high", "interval"]
        assert tuple(row(together, metric, 0.01)[columns]) == found, metric
    mean = together[together["metric"] == "mean_accuracy"].iloc[0]
    assert mean["interval"] == "group_bootstrap"
    for metric in ("majority_rate", "ece"):
        assert row(together, metric, "")["interval"] == "", "none, so made by nothing"
    again = evaluation.evaluate(run, run.path("other"))
    pd.testing.assert_frame_equal(again, together)


def test_a_targeted_attack_succeeds_where_its_class_is_read(run: Run) -> None:
    # Aimed at nv (1). Right before and not nv: images 0 to 2. Now 0 reads nv, 1 reads df.
    made = np.array([1, 2, 0, 1, 1, 1, 1, 0, 0, 2])
    used = {"attack": {**USED["attack"], "target": "nv"}}
    with run.stage("attack/aimed", used=used, notes={"norm": "l2"}) as folder:
        assert folder is not None
        for epsilon, said in ((0, CLEAN), (0.01, made)):
            arrays = attacked(said, epsilon)
            runs.save_npz(folder / f"linf_pgd-{epsilon:g}.npz", **arrays, l2=arrays["linf"])
    table = evaluation.evaluate(run, run.path("evaluate"))
    aimed = row(table[table["name"] == "aimed"], "attack_success_rate", 0.01)
    assert (aimed["value"], aimed["n"]) == (pytest.approx(1 / 3), 3)
    plain = row(table[table["name"] == "linf_pgd"], "attack_success_rate", 0.01)
    assert (plain["value"], plain["n"]) == (pytest.approx(4 / 7), 7)
    assert row(table[table["name"] == "aimed"], "attack_success_rate", 0.0)["value"] == 0


def test_predictions_alone_are_measured(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    before = evaluation.evaluate(run, run.path("evaluate"))
    shutil.rmtree(run.path("attack"))
    with caplog.at_level("INFO"):
        table = evaluation.evaluate(run, run.path("evaluate"))
    alone = before[before["condition"] == "clean"]
    pd.testing.assert_frame_equal(table, alone, check_dtype=False)
    assert "no attack has finished: clean numbers alone" in caplog.text


def test_predictions_of_other_weights_are_not_measured(run: Run) -> None:
    weights, stamp = run.path("train", "weights.h5"), run.path("predict", "stage.json")
    runs.save_text(weights, "weights of today")
    made_with = {"weights": runs.digest(json.dumps("of yesterday"))}
    runs.save_json(stamp, {**runs.load_json(stamp), **made_with})
    with pytest.raises(UserError, match=r"predict older than train/weights\.h5"):
        evaluation.evaluate(run, run.path("evaluate"))
    runs.save_json(stamp, {**runs.load_json(stamp), "weights": runs.digest(weights)})
    assert len(evaluation.evaluate(run, run.path("evaluate")))


def test_the_worst_case_knows_the_groups_too(run: Run) -> None:
    with run.stage("attack/other", used=USED) as folder:
        assert folder is not None
        runs.save_npz(folder / "linf_pgd-0.npz", **attacked(CLEAN, 0.0))
        runs.save_npz(folder / "linf_pgd-0.01.npz", **attacked(FALLEN, 0.009))
    worst = grouped(run).query("condition == 'worst_case'").set_index("metric")
    assert worst.loc["accuracy", "interval"] == "group_bootstrap"
    assert len(IDS) == worst.loc["accuracy", "n"] == len(logits(CLEAN))
