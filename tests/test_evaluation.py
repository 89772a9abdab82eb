"""Measurements of a made-up run, every number by hand."""

import contextlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import run_helpers

from attnrobust import config
from attnrobust.disk import runs
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.measures.calibration import CALIBRATION
from attnrobust.stages import evaluation

CLASSES = ["mel", "nv", "df"]
IDS = np.array([f"ISIC_{i}" for i in range(10)])
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
CLEAN = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 2])  # 7 right: mel 3/4, nv 4/6, df has none
FALLEN = np.array([1, 0, 0, 1, 0, 0, 0, 1, 0, 0])  # 3 right; 4 of the 7 right ones have fallen
USED = {"attack": {"name": "linf_pgd", "epsilons": [0.01]}}


def logits(prediction: np.ndarray) -> np.ndarray:
    """Logits with that argmax: probabilities e/(e+2) and 1/(e+2)."""
    return np.eye(3, dtype=np.float32)[prediction]


def attacked(prediction: np.ndarray, linf: float) -> dict[str, np.ndarray]:
    count = len(prediction)
    return {
        "id": IDS[:count],
        "label": LABELS[:count],
        "logits": logits(prediction),
        "linf": np.linspace(0, linf, count),
    }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with finished predict and attack stages and one epsilon."""
    experiment = config.Experiment(
        name="fake",
        data=config.Data(dataset="demo"),
        attack=config.Attack(name="linf_pgd", epsilons=(0.01,)),
        seed=5,
    )
    run = Run.of(experiment, tmp_path)
    with run.stage("predict", used={}) as folder:
        assert folder is not None
        runs.save_npz(folder / "clean.npz", id=IDS, label=LABELS, logits=logits(CLEAN))
    with run.stage("attack/linf_pgd", used=USED) as folder:
        assert folder is not None
        runs.save_npz(folder / "linf_pgd-0.npz", **attacked(CLEAN, 0.0))
        runs.save_npz(folder / "linf_pgd-0.01.npz", **attacked(FALLEN, 0.009))
    runs.save_json(run.path("provenance.json"), {"dataset": {"classes": CLASSES}})
    return run


@pytest.fixture
def table(run: Run) -> pd.DataFrame:
    return evaluation.evaluate(run, run.path("evaluate"))


def row(table: pd.DataFrame, metric: str, level: object) -> pd.Series:
    found = table[(table["metric"] == metric) & (table["level"] == level)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.parametrize(
    ("metric", "value", "n"),
    [
        ("accuracy", 7 / 10, 10),
        ("balanced_accuracy", (3 / 4 + 4 / 6) / 2, 10),
        ("majority_rate", 6 / 10, 10),
        ("recall[mel]", 3 / 4, 4),
        ("recall[nv]", 4 / 6, 6),
        ("recall[df]", math.nan, 0),
    ],
)
def test_clean_numbers(table: pd.DataFrame, metric: str, value: float, n: int) -> None:
    found = row(table, metric, "")
    assert found["value"] == pytest.approx(value, nan_ok=True)
    assert found["n"] == n
    assert (found["condition"], found["name"], found["split"]) == ("clean", "", "test")
    assert (found["dataset"], found["experiment"], found["seed"]) == ("demo", "fake", 5)


def test_clean_auc_is_the_mean_over_the_classes_that_have_both_sides(table: pd.DataFrame) -> None:
    # mel: positives high 3, low 1; negatives high 1, low 5: (3*5 + 3/2 + 5/2) / 24 = 19/24.
    # nv: positives high 4, low 2; negatives high 1, low 3: (4*3 + 4/2 + 2*3/2) / 24 = 17/24.
    assert row(table, "macro_auc", "")["value"] == pytest.approx((19 + 17) / 48)


@pytest.mark.parametrize(
    ("metric", "level", "value", "n"),
    [
        ("accuracy", 0.0, 7 / 10, 10),
        ("attack_success_rate", 0.0, 0.0, 7),
        ("prediction_change_rate", 0.0, 0.0, 10),
        ("linf_max", 0.0, 0.0, 10),
        ("accuracy", 0.01, 3 / 10, 10),
        ("balanced_accuracy", 0.01, (2 / 4 + 1 / 6) / 2, 10),
        ("recall[mel]", 0.01, 2 / 4, 4),
        ("recall[nv]", 0.01, 1 / 6, 6),
        ("attack_success_rate", 0.01, 4 / 7, 7),
        ("prediction_change_rate", 0.01, 5 / 10, 10),
        ("linf_max", 0.01, 0.009, 10),
    ],
)
def test_numbers_under_attack(
    table: pd.DataFrame, metric: str, level: float, value: float, n: int
) -> None:
    found = row(table, metric, level)
    assert found["value"] == pytest.approx(value)
    assert found["n"] == n
    assert (found["condition"], found["name"]) == ("attack", "linf_pgd")


def test_proportions_carry_wilsons_interval(table: pd.DataFrame) -> None:
    # By hand for 3 of 10: centre (0.3 + 0.19207) / 1.38415, half 1.95996 * 0.17464 / 1.38415.
    found = row(table, "accuracy", 0.01)
    assert (found["low"], found["high"]) == pytest.approx((0.10779, 0.60322), abs=1e-4)
    # 4 of 7.
    found = row(table, "attack_success_rate", 0.01)
    assert (found["low"], found["high"]) == pytest.approx((0.25046, 0.84178), abs=1e-4)


def test_every_measurement_lies_in_its_interval(table: pd.DataFrame) -> None:
    given = table.dropna(subset=["low", "value"])
    assert len(given) >= 15
    assert ((given["low"] <= given["value"]) & (given["value"] <= given["high"])).all()


def test_the_file_holds_the_table(run: Run, table: pd.DataFrame) -> None:
    path = run.path("evaluate", "measurements.csv")
    assert path.read_text().splitlines()[0] == (
        "dataset,experiment,seed,split,condition,name,level,metric,value,low,high,n,interval"
    )
    found = pd.read_csv(path, keep_default_na=False, na_values={"value": [""], "low": [""]})
    assert len(found) == len(table)
    np.testing.assert_allclose(found["value"].astype(float), table["value"].astype(float))
    assert not table.duplicated(["condition", "name", "level", "metric"]).any()


def test_clean_predictions_that_differ_between_the_stages_are_an_error(run: Run) -> None:
    other = CLEAN.copy()
    other[0] = 2
    runs.save_npz(run.path("attack", "linf_pgd", "linf_pgd-0.npz"), **attacked(other, 0.0))
    with pytest.raises(UserError, match="clean predictions differ") as error:
        evaluation.evaluate(run, run.path("evaluate"))
    assert str(run.root) in str(error.value)


@pytest.mark.parametrize("file", ["linf_pgd-0.npz", "linf_pgd-0.01.npz"])
def test_other_images_in_the_attack_are_an_error(run: Run, file: str) -> None:
    arrays = attacked(CLEAN, 0.0)
    for ids in (IDS[::-1], np.char.add(IDS, "x")):
        runs.save_npz(run.path("attack", "linf_pgd", file), **{**arrays, "id": ids})
        with pytest.raises(UserError, match="different images"):
            evaluation.evaluate(run, run.path("evaluate"))


@pytest.mark.parametrize("file", ["predict/clean.npz", "attack/linf_pgd/linf_pgd-0.01.npz"])
def test_a_missing_or_damaged_file_is_named_and_the_old_table_stays(
    run: Run, table: pd.DataFrame, file: str
) -> None:
    before = run.path("evaluate", "measurements.csv").read_bytes()
    run.path(file).write_bytes(b"PK")
    with pytest.raises(UserError, match=f"{file}: damaged"):
        evaluation.evaluate(run, run.path("evaluate"))
    run.path(file).unlink()
    with pytest.raises(
        UserError, match=f"{file}: not there|predict: clean.npz gone; run 'predict'"
    ):
        evaluation.evaluate(run, run.path("evaluate"))
    assert run.path("evaluate", "measurements.csv").read_bytes() == before
    assert len(table)


def test_an_unfinished_stage_is_named(run: Run) -> None:
    stamp = run.path("predict", "stage.json")
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "finished": False}))
    with pytest.raises(UserError, match="run 'predict' first"):
        evaluation.evaluate(run, run.path("evaluate"))


def add(
    run: Run,
    label: str,
    prediction: np.ndarray,
    *,
    epsilons: tuple[float, ...] = (0.01,),
    norm: str = "linf",
    inputs: str = "",
) -> None:
    """A further finished attack, the same at each of its epsilons."""
    used = {"attack": {"name": "noise", "epsilons": list(epsilons)}}
    with run.stage(f"attack/{label}", used=used, inputs=inputs, notes={"norm": norm}) as folder:
        assert folder is not None
        for epsilon in (0.0, *epsilons):
            arrays = attacked(prediction if epsilon else CLEAN, 0.5 * epsilon)
            arrays["l2"] = 2 * arrays["linf"]
            runs.save_npz(folder / runs.attack_file("noise", epsilon), **arrays)


# Leaves 0, 1, 5 and 6; linf_pgd, in the test that uses both, 1, 2, 6 and 7: together 1 and 6.
OTHER = np.array([0, 0, 1, 1, 0, 1, 1, 0, 0, 2])


def test_worst_case_counts_images_that_stand_under_every_attack(run: Run) -> None:
    fallen = FALLEN.copy()
    fallen[6] = 1
    place = run.path("attack", "linf_pgd", "linf_pgd-0.01.npz")
    runs.save_npz(place, **attacked(fallen, 0.009))
    assert (fallen == LABELS).sum() == 4
    assert (OTHER == LABELS).sum() == 4
    add(run, "other", OTHER, epsilons=(0.01, 0.02))
    table = evaluation.evaluate(run, run.path("evaluate"))
    worst = table[table["condition"] == "worst_case"].set_index("metric")
    assert set(worst["name"]) == {"linf"}
    assert set(worst["level"]) == {0.01}, "0.02 was asked of one attack only"
    assert worst.loc["accuracy", "value"] == pytest.approx(2 / 10), "not the smaller of 4 and 4"
    assert worst.loc["accuracy", "n"] == 10
    # By hand for 2 of 10: centre (0.2 + 0.19207) / 1.38415, half 1.95996 * 0.16001 / 1.38415.
    assert worst.loc["accuracy", "low"] == pytest.approx(0.05668, abs=1e-4)
    assert worst.loc["attack_success_rate", "value"] == pytest.approx(5 / 7)
    assert worst.loc["recall[mel]", "value"] == pytest.approx(1 / 4)
    each = table[(table["condition"] == "attack") & (table["metric"] == "accuracy")]
    assert list(zip(each["name"], each["level"], each["value"], strict=True)) == [
        ("linf_pgd", 0.0, 0.7),
        ("linf_pgd", 0.01, 0.4),
        ("other", 0.0, 0.7),
        ("other", 0.01, 0.4),
        ("other", 0.02, 0.4),
    ]
    assert not table.duplicated(["condition", "name", "level", "metric"]).any()


@pytest.mark.parametrize("mode", ["carry", "independent"])
def test_what_fell_in_a_smaller_ball_has_fallen_in_the_worst_case_of_a_larger_one(
    run: Run, mode: str
) -> None:
    """Though the attack that found it was not asked at the larger one, or failed there."""
    epsilons = (0.01, 0.02) if mode == "independent" else (0.01,)
    used = {"attack": {"name": "noise", "epsilons": list(epsilons), "mode": mode}}
    with run.stage("attack/strong", used=used, notes={"norm": "linf"}) as folder:
        assert folder is not None
        for epsilon, said in ((0.0, CLEAN), (0.01, OTHER), (0.02, CLEAN)):
            arrays = attacked(said, epsilon / 2)
            runs.save_npz(folder / runs.attack_file("noise", epsilon), **arrays)
    add(run, "second", CLEAN, epsilons=(0.02,))
    add(run, "third", CLEAN, epsilons=(0.02,))
    add(run, "far away", CLEAN, epsilons=(0.02,), norm="l2")
    table = evaluation.evaluate(run, run.path("evaluate"))
    worst = table[(table["condition"] == "worst_case") & (table["metric"] == "accuracy")]
    both = (FALLEN == LABELS) & (OTHER == LABELS)
    assert both.sum() == 1
    # Of the three at 0.02 none fells anything.
    assert dict(zip(worst["level"], worst["value"], strict=True))[0.02] == 0.1


def test_what_was_wrong_without_an_attack_is_wrong_under_every_attack(run: Run) -> None:
    """An attack in independent mode may push an image back to its class."""
    luckily = FALLEN.copy()
    luckily[3] = 0
    assert (luckily == LABELS).sum() == 4
    place = run.path("attack", "linf_pgd", "linf_pgd-0.01.npz")
    runs.save_npz(place, **attacked(luckily, 0.009))
    add(run, "other", luckily)
    table = evaluation.evaluate(run, run.path("evaluate"))
    accuracy = table[(table["metric"] == "accuracy") & (table["level"] == 0.01)]
    values = accuracy.set_index("condition")["value"]
    assert list(values["attack"]) == [0.3, 0.3]
    assert values["worst_case"] == pytest.approx(0.3)
    mine = table[(table["name"] == "linf_pgd")].set_index(["metric", "level"])["value"]
    assert mine["balanced_accuracy", 0.01] == pytest.approx((2 / 4 + 1 / 6) / 2)
    assert mine["recall[mel]", 0.01] == pytest.approx(2 / 4)
    assert mine["mean_accuracy", ""] == pytest.approx(0.3)
    # Wu's rate is of the predictions as they are: image 3 has changed its own, too.
    assert mine["prediction_change_rate", 0.01] == pytest.approx(6 / 10)


def test_norms_do_not_mix(run: Run) -> None:
    add(run, "round", OTHER, norm="l2")
    table = evaluation.evaluate(run, run.path("evaluate"))
    assert "worst_case" not in set(table["condition"])
    sizes = table[table["metric"] == "l2_max"].set_index("level")
    assert set(sizes["name"]) == {"round"}
    assert sizes.loc[0.01, "value"] == pytest.approx(0.01)
    add(run, "rounder", FALLEN, norm="l2")
    table = evaluation.evaluate(run, run.path("evaluate"))
    worst = table[table["condition"] == "worst_case"]
    assert set(worst["name"]) == {"l2"}
    assert set(worst["metric"]) >= {"accuracy", "l2_max", "linf_max"}


def test_an_attack_that_has_not_finished_is_left_out_and_said(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("cut", "refused"):
        with contextlib.suppress(KeyboardInterrupt), run.stage(f"attack/{name}", used=USED):
            if name == "cut":
                runs.save_npz(run.path("attack", name, "linf_pgd-0.npz"))
            raise KeyboardInterrupt
    table = evaluation.evaluate(run, run.path("evaluate"))
    assert set(table["name"]) == {"", "linf_pgd"}
    assert "attack 'cut' has not finished; it is left out" in caplog.text
    assert "refused" not in caplog.text, "it holds nothing that could be left out"


def test_an_attack_of_an_earlier_version_is_measured_and_named(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    evaluation.evaluate(run, run.path("evaluate"))
    assert "earlier version" not in caplog.text
    run_helpers.age(run.path("attack", "linf_pgd"))
    evaluation.evaluate(run, run.path("evaluate"))
    assert "attack 'linf_pgd' was made by an earlier version" in caplog.text


def test_an_attack_on_other_weights_is_refused_by_name(run: Run) -> None:
    add(run, "other", OTHER, inputs="weights of yesterday")
    with pytest.raises(UserError, match="predict and attack 'other'; the weights"):
        evaluation.evaluate(run, run.path("evaluate"))


def test_corruption_files_are_measured(run: Run) -> None:
    folder = run.path("predict")
    runs.save_npz(
        folder / "corruption-salt_and_pepper-3.npz", id=IDS, label=LABELS, logits=logits(FALLEN)
    )
    table = evaluation.evaluate(run, run.path("evaluate"))
    mine = table[(table.condition == "corruption") & (table["name"] == "salt_and_pepper")]
    assert set(mine.level) == {3, ""}
    values = dict(zip(mine.metric, mine.value, strict=True))
    assert values["accuracy"] == pytest.approx(0.3)
    # 7 of 10 were right before; four of them are lost, none is won.
    drop = mine[mine.metric == "accuracy_drop"].iloc[0]
    lost = (CLEAN == LABELS).astype(int) - (FALLEN == LABELS)
    assert drop["value"] == pytest.approx(lost.mean())
    assert drop["value"] == pytest.approx(0.7 - 0.3)
    half = 1.96 * lost.std() / math.sqrt(10)
    assert (drop.low, drop.high) == pytest.approx((0.4 - half, 0.4 + half), abs=0.05)
    # Every confidence is e / (e + 2); 3 of 10 are right.
    assert values["ece"] == pytest.approx(math.e / (math.e + 2) - 0.3)
    runs.save_npz(
        folder / "corruption-jpeg-1.npz", id=IDS[::-1], label=LABELS, logits=logits(FALLEN)
    )
    with pytest.raises(UserError, match=r"corruption-jpeg-1\.npz: not the images"):
        evaluation.evaluate(run, run.path("evaluate"))


def test_levels_are_averaged_image_by_image(run: Run) -> None:
    """Right at one of two severities or at both: 3 images 2 of 2, 4 images 1 of 2."""
    folder = run.path("predict")
    for severity, prediction in ((1, CLEAN), (4, FALLEN)):
        runs.save_npz(
            folder / f"corruption-jpeg-{severity}.npz",
            id=IDS,
            label=LABELS,
            logits=logits(prediction),
        )
    add(run, "other", FALLEN, epsilons=(0.01, 0.02))
    table = evaluation.evaluate(run, run.path("evaluate"))
    means = table[table["metric"] == "mean_accuracy"].set_index("name")
    assert dict(means["condition"]) == {
        "jpeg": "corruption",
        "linf_pgd": "attack",
        "other": "attack",
    }
    assert set(means["level"]) == {""}
    assert means.loc["jpeg", "value"] == pytest.approx((7 + 3) / 20)
    assert means.loc["other", "value"] == pytest.approx(0.3), "without the clean images' row"
    assert means.loc["linf_pgd", "value"] == pytest.approx(0.3)
    # Means of 10 draws from (1, 1, 1, .5, .5, .5, .5, 0, 0, 0): standard error .387 / sqrt(10).
    low, high = means.loc["jpeg", ["low", "high"]]
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.1225, 0.5 + 1.96 * 0.1225), abs=0.04)


def validated(run: Run, labels: list[int], prediction: list[int], ahead: float) -> pd.DataFrame:
    """The table of the run with validation images whose prediction is so far ahead."""
    runs.save_npz(
        run.path("predict", "validation.npz"),
        label=np.array(labels),
        id=np.array([f"v{i}" for i in range(len(labels))]),
        logits=ahead * logits(np.array(prediction)),
    )
    return evaluation.evaluate(run, run.path("evaluate"))


def test_the_temperature_is_fitted_on_validation_and_used_on_test(run: Run) -> None:
    # 2 ahead of two classes, right 1 of 2: best where e^(2/T) = 2, so T = 2 / log 2.
    table = validated(run, [0, 1], [0, 0], 2.0)
    found = row(table, "temperature", "")
    assert found["value"] == pytest.approx(2 / math.log(2), rel=1e-5)
    assert (found["split"], found["condition"], found["n"]) == ("validation", "clean", 2)
    # On the test split e^(1/T) = sqrt 2, of 10 images 7 right.
    sure = math.sqrt(2) / (math.sqrt(2) + 2)
    other = (1 - sure) / 2
    expected = {
        "ece": 0.7 - sure,
        "adaptive_ece": 0.7 - sure,
        "brier": 0.7 * ((1 - sure) ** 2 + 2 * other**2)
        + 0.3 * (sure**2 + (1 - other) ** 2 + other**2),
        "nll": -0.7 * math.log(sure) - 0.3 * math.log(other),
        "entropy": -sure * math.log(sure) - 2 * other * math.log(other),
    }
    for metric, value in expected.items():
        found = row(table, f"{metric}_scaled", "")
        assert found["value"] == pytest.approx(value, rel=1e-5), metric
        assert (found["split"], found["n"]) == ("test", 10)
    scaled = {name for name in table["metric"] if name.endswith("_scaled")}
    assert scaled == {f"{name}_scaled" for name in CALIBRATION}
    assert set(table[table["metric"].isin(scaled)]["condition"]) == {"clean"}
    assert not table.duplicated(["condition", "name", "level", "metric"]).any()


@pytest.mark.parametrize(("labels", "value"), [([0, 1], 0.01), ([1, 2], 100.0)])
def test_a_temperature_at_the_end_of_its_range_is_said(
    run: Run, labels: list[int], value: float, caplog: pytest.LogCaptureFixture
) -> None:
    found = row(validated(run, labels, [0, 1], 2.0), "temperature", "")
    assert found["value"] == value
    assert "no temperature is best for the validation split" in caplog.text


def test_runs_without_validation_logits_are_measured_without_a_temperature(
    table: pd.DataFrame,
) -> None:
    assert not {"temperature", "ece_scaled"} & set(table["metric"])
    assert "ece" in set(table["metric"])
