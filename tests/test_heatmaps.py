"""Heatmaps in numbers: hand-computed values, NumPy and SciPy as judges, the tables of a run."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from attnrobust import config
from attnrobust.disk import runs
from attnrobust.disk.runs import Run, load_json, load_npz, save_json, save_npz, save_text
from attnrobust.errors import UserError
from attnrobust.explanations import comparison, measured
from attnrobust.measures import heatmaps, maps, metrics
from attnrobust.measures.heatmaps import HEATMAP_METRICS, Pair
from attnrobust.measures.maps import MAP_METRICS

SIDE = 10
RAMP = np.arange(SIDE * SIDE, dtype=np.float16).reshape(SIDE, SIDE)
ZERO = np.zeros((SIDE, SIDE), np.float16)
TOP_HALF = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) < SIDE * SIDE // 2


def pair(
    clean: np.ndarray = RAMP,
    attacked: np.ndarray = RAMP,
    perturbation: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> Pair:
    noise = np.zeros((SIDE, SIDE, 3)) if perturbation is None else perturbation
    return Pair(clean, attacked, noise, np.zeros((SIDE, SIDE), bool) if mask is None else mask)


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((SIDE, SIDE)).astype(np.float16)


def test_the_same_map_and_its_inverse() -> None:
    same, inverse = pair(), pair(RAMP, RAMP.max() - RAMP)
    assert heatmaps.correlation(same) == pytest.approx(1)
    assert heatmaps.top_overlap(same) == 1
    assert heatmaps.correlation(inverse) == pytest.approx(-1)
    assert heatmaps.top_overlap(inverse) == 0


def test_top_overlap_is_intersection_over_k() -> None:
    # The 20 largest of 100 are 80 to 99; shifted by 5 places, 15 of them are still on top.
    shifted = np.roll(RAMP.ravel(), -5).reshape(RAMP.shape)
    assert heatmaps.top_overlap(pair(RAMP, shifted)) == 15 / 20
    # One against 20 pixels: of the 20 one is shared.
    point = np.where(RAMP == 99, 1, 0)
    assert heatmaps.top_overlap(pair(point, point)) == 1
    assert heatmaps.top_overlap(pair(point, RAMP)) == 1 / 20
    # Zeros are never on top, though only one pixel of the map is above them.
    assert heatmaps.top_overlap(pair(point, np.where(RAMP == 3, 1, 0))) == 0
    # In a flat map every pixel is on top by a fifth, which is chance.
    assert heatmaps.top_overlap(pair(np.ones_like(RAMP), RAMP)) == pytest.approx(0.2)


@pytest.mark.parametrize("seed", range(3))
def test_numpy_and_scipy_agree(seed: int) -> None:
    clean, attacked = drawn(seed), drawn(seed + 10)
    judged = stats.pearsonr(clean.ravel().astype(float), attacked.ravel().astype(float))
    assert heatmaps.correlation(pair(clean, attacked)) == pytest.approx(judged.statistic)
    share = clean.ravel().astype(float) / clean.astype(float).sum()
    expected = stats.entropy(share, base=SIDE * SIDE)
    assert maps.entropy(clean) == pytest.approx(expected)
    clear = np.random.default_rng(seed).permutation(SIDE * SIDE)
    top = set(np.argsort(clear)[-20:]) & set(range(80, 100))
    found = heatmaps.top_overlap(pair(RAMP, clear.reshape(SIDE, SIDE)))
    assert found == pytest.approx(len(top) / 20)


def test_entropy_goes_from_one_pixel_to_a_flat_map() -> None:
    assert maps.entropy(np.where(RAMP == 7, 5, 0)) == 0
    assert maps.entropy(np.full((SIDE, SIDE), 0.1, np.float16)) == pytest.approx(1)
    # Ten equal pixels of a hundred: log 10 / log 100.
    assert maps.entropy(np.where(RAMP < 10, 3, 0)) == pytest.approx(0.5)


def test_energy_and_heat_inside_half_a_mask() -> None:
    even = np.full((SIDE, SIDE, 3), -0.01, np.float32)
    found = pair(RAMP, np.where(TOP_HALF, 1, 0), even, TOP_HALF)
    assert heatmaps.mask_area(found) == 0.5
    assert heatmaps.energy_inside(found) == pytest.approx(0.5)
    assert heatmaps.concentration(found) == pytest.approx(1)
    # 0 to 49 of 0 to 99: 1225 of 4950.
    assert maps.measure("heat_inside", RAMP, TOP_HALF) == pytest.approx(1225 / 4950)
    assert maps.measure("heat_inside", np.where(TOP_HALF, 1, 0), TOP_HALF) == 1
    # Twice the change is four times the energy: 4 of 5 parts inside.
    drawn_in = pair(perturbation=np.where(TOP_HALF[..., None], 0.02, -0.01), mask=TOP_HALF)
    assert heatmaps.energy_inside(drawn_in) == pytest.approx(0.8)
    assert heatmaps.concentration(drawn_in) == pytest.approx(1.6)
    quarter = pair(perturbation=even, mask=TOP_HALF & TOP_HALF.T)
    assert heatmaps.mask_area(quarter) == 0.25
    assert heatmaps.concentration(quarter) == pytest.approx(1)


@pytest.mark.parametrize("name", HEATMAP_METRICS)
def test_contract_of_every_heatmap_metric(name: str) -> None:
    metric = HEATMAP_METRICS[name]
    noise = np.random.default_rng(3).normal(size=(SIDE, SIDE, 3))
    whole = pair(drawn(1), drawn(2), noise, TOP_HALF)
    assert -1 <= metric(whole) <= 2
    scaled = pair(drawn(1) * 8, drawn(2) / 4, noise * 0.01, TOP_HALF)
    assert metric(scaled) == pytest.approx(metric(whole), rel=1e-3)
    nothing = metric(pair(ZERO, ZERO))
    assert math.isnan(nothing), "warnings are errors, so it is silent as well"
    assert math.isnan(metric(pair(drawn(1), drawn(2), noise))) == metric.masked


def test_a_constant_map_has_no_correlation() -> None:
    # 49 times 0.1 over 49 is not 0.1 in floating point.
    assert math.isnan(heatmaps.correlation(pair(RAMP, np.full((SIDE, SIDE), 0.1))))


def test_mean_comes_with_an_interval_over_images() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    value, low, high, _ = metrics.mean(values)
    half = 1.96 * values.std() / 20
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.15 * half)
    assert metrics.mean(np.array([0.3]))[0] == 0.3
    assert math.isnan(metrics.mean(np.array([0.3]))[1]), "one image has no interval"
    assert all(map(math.isnan, metrics.mean(np.array([]))[:3]))


def make_run(root: Path, *, masks: bool = True) -> Run:
    """A run of 4 samples: one falls at 0.01, one stands, one was wrong, one map is empty.

    As runs were when each had a single attack: the stages' own folders, stamps of few fields.
    """
    experiment = config.Experiment(
        name="tiny", data=config.Data("demo"), attack=config.Attack(epsilons=(0.01, 0.02))
    )
    run = Run.of(experiment, root)
    save_text(run.path("config.json"), config.to_json(experiment))
    ids = np.array(["a", "b", "c", "d"])
    wrong: dict[float, Sequence[int]] = {0.0: [2], 0.01: [0, 2], 0.02: [0, 1, 2, 3]}
    mask = np.stack([TOP_HALF, TOP_HALF, TOP_HALF, np.zeros_like(TOP_HALF)])
    for epsilon, rows in wrong.items():
        logits = np.eye(2)[[int(row in rows) for row in range(4)]]
        extra = {"sample_mask": mask} if masks and not epsilon else {}
        save_npz(
            run.path("attack", f"linf_pgd-{epsilon:g}.npz"),
            id=ids[::-1],
            label=np.zeros(4, int),
            logits=logits[::-1],
            sample_id=ids,
            sample_image=np.full((4, SIDE, SIDE, 3), 0.5 + epsilon, np.float32),
            linf=np.full(4, epsilon),
            **extra,
        )
        drawn_ = np.stack([RAMP.max() - RAMP if epsilon else RAMP, RAMP, RAMP, ZERO])
        name = f"linf_pgd-{epsilon:g}" if epsilon else "clean"
        # In another order than the attack's.
        order = [2, 0, 3, 1]
        save_npz(run.path("explain", f"grad_cam-{name}.npz"), id=ids[order], heatmap=drawn_[order])
    attack = {"name": "linf_pgd", "epsilons": [0.01, 0.02]}
    for stage, used in (("attack", {"attack": attack}), ("explain", {"explanation": {}})):
        stamp = {"used": used, "inputs": "", "finished": True}
        save_json(run.path(stage, "stage.json"), stamp)
    return run


def test_comparison_holds_means_by_outcome(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    written = comparison.write(run, "linf_pgd")
    table = pd.read_csv(run.path("explain", "comparison.csv"), float_precision="round_trip")
    assert tuple(table.columns) == comparison.COLUMNS
    pd.testing.assert_frame_equal(table, written)
    assert set(table["method"]) == {"grad_cam"}
    assert set(table["metric"]) == set(HEATMAP_METRICS)
    found = table.set_index(["level", "subset", "metric"])
    first = found.loc[0.01].sort_index()
    assert first.loc[("fooled", "correlation"), "value"] == pytest.approx(-1)
    # b stands, and so does d, whose empty map is left out and counted.
    standing = first.loc[("standing", "correlation")]
    assert (standing["value"], standing["n"], standing["left_out"]) == (1, 1, 1)
    everything = first.loc[("all", "correlation")]
    assert everything["value"] == pytest.approx(1 / 3), "-1, 1 and 1"
    assert (everything["n"], everything["left_out"]) == (3, 1)
    assert everything["low"] < everything["value"] < everything["high"]
    energy = first.loc[("all", "energy_inside")]
    assert energy["value"] == pytest.approx(0.5)
    assert (energy["n"], energy["left_out"]) == (3, 1)
    # At 0.02 all that was right has fallen: nothing stands, so nothing is said of it.
    assert set(found.loc[0.02].index.get_level_values("subset")) == {"all", "fooled"}
    assert found.loc[(0.02, "fooled", "correlation"), "value"] == pytest.approx(0)


def test_images_of_one_patient_are_drawn_together(tmp_path: Path) -> None:
    """Six samples of two patients, whose maps invert for the first and stay for the second."""
    run = make_run(tmp_path, masks=False)
    ids, patients = np.array(list("abcdef")), np.array(["p", "q"] * 3)
    same = np.stack([RAMP, RAMP] * 3)
    for epsilon in (0.0, 0.01, 0.02):
        place = run.path("attack", f"linf_pgd-{epsilon:g}.npz")
        save_npz(
            place,
            id=ids[::-1],
            group=patients[::-1],
            label=np.zeros(6, int),
            logits=np.tile([1.0, 0.0], (6, 1)),
            sample_id=ids,
            sample_image=np.full((6, SIDE, SIDE, 3), 0.5 + epsilon, np.float32),
            linf=np.full(6, epsilon),
        )
        moved = np.stack([RAMP.max() - RAMP, RAMP] * 3) if epsilon else same
        name = f"linf_pgd-{epsilon:g}" if epsilon else "clean"
        save_npz(run.path("explain", f"grad_cam-{name}.npz"), id=ids, heatmap=moved)

    def first() -> pd.Series:
        table = comparison.write(run, "linf_pgd").set_index(["level", "subset", "metric"])
        return table.loc[(0.01, "all", "correlation")]

    # Of two patients a resample takes one alone in half of all cases: the ends are its values.
    grouped = first()
    assert grouped["value"] == pytest.approx(0)
    assert (grouped["low"], grouped["high"]) == pytest.approx((-1, 1))
    assert grouped["n"] == 6
    # Files of before do not know patients: six images, of which all alike is rare.
    for epsilon in (0.0, 0.01, 0.02):
        place = run.path("attack", f"linf_pgd-{epsilon:g}.npz")
        save_npz(place, **{key: kept for key, kept in load_npz(place).items() if key != "group"})
    alone = first()
    assert alone["value"] == grouped["value"]
    assert -1 < alone["low"] < 0 < alone["high"] < 1


def test_runs_without_masks_have_no_mask_metrics(tmp_path: Path) -> None:
    table = comparison.write(make_run(tmp_path, masks=False), "linf_pgd")
    assert set(table["metric"]) == {name for name, row in HEATMAP_METRICS.items() if not row.masked}


def measured_rows(run: Run) -> pd.DataFrame:
    """What `measurements.csv` gets of the run's heatmaps."""
    heads = ["condition", "name", "level", "metric", "value", "n"]
    rows = [
        (*place, found.value, n, found.low, found.high)
        for *place, found, n in measured.measurements(run)
    ]
    table = pd.DataFrame(rows, columns=[*heads, "low", "high"])
    return table.set_index(["condition", "name", "level", "metric"]).sort_index()


def fresh(run: Run) -> Run:
    """The run with heatmaps that its stamps know as those of its attack."""
    save_json(run.path("predict", "stage.json"), {"used": {}, "inputs": "w", "finished": True})
    inputs = runs.digest("w", run.path("attack", "stage.json"))
    place = run.path("explain", "stage.json")
    save_json(place, {**load_json(place), "inputs": inputs})
    return run


def test_each_map_is_measured_at_every_epsilon(tmp_path: Path) -> None:
    run = fresh(make_run(tmp_path))
    table = measured_rows(run)
    of_a_map = {f"{name}[grad_cam]" for name, row in MAP_METRICS.items() if not row.scored}
    assert set(table.index.get_level_values("metric")) == of_a_map, "the model was not asked"
    found = table.loc[("attack", "linf_pgd")]
    assert sorted(set(found.index.get_level_values("level"))) == [0, 0.01, 0.02]
    # Three ramps; d's map is empty, and has no mask.
    inside = found.loc[(0.0, "heat_inside[grad_cam]")]
    assert inside["value"] == pytest.approx(1225 / 4950)
    assert inside["n"] == 3
    # Of a alone the map is turned round: 3725 of 4950.
    turned = found.loc[(0.01, "heat_inside[grad_cam]")]
    assert turned["value"] == pytest.approx((3725 + 2 * 1225) / 3 / 4950)
    assert turned["low"] < turned["value"] < turned["high"]
    # None of three: that is no proof that it is none of many.
    point = found.loc[(0.0, "pointing[grad_cam]")]
    assert (point["value"], point["n"]) == (0, 3)
    assert tuple(point[["low", "high"]]) == pytest.approx(metrics.wilson(0, 3))
    # The Gini index of 0 to n - 1 is (n + 1) / (3 n).
    assert found.loc[(0.0, "gini[grad_cam]"), "value"] == pytest.approx(101 / 300, rel=1e-3)


def test_what_the_model_makes_of_the_maps_is_measured_where_it_was_asked(tmp_path: Path) -> None:
    run = fresh(make_run(tmp_path, masks=False))
    for name in ("clean", "linf_pgd-0.01", "linf_pgd-0.02"):
        more = {"max_sensitivity": np.array([1.0, 2, np.nan, 6])} if name == "clean" else {}
        save_npz(
            run.path("explain", f"faithfulness-grad_cam-{name}.npz"),
            id=np.array(["d", "c", "b", "a"]),
            deletion=np.array([0.1, 0.2, 0.3, 0.4]) + (name != "clean"),
            insertion=np.full(4, 0.5),
            **more,
        )
    place = run.path("explain", "grad_cam-clean.npz")
    more = {"completeness_error": np.array([1.0, 1, 0, 0]), "logit_difference": [-4.0, 2, 1, 0]}
    save_npz(place, **load_npz(place), **{key: np.array(value) for key, value in more.items()})
    table = measured_rows(run).loc[("attack", "linf_pgd")]
    assert table.loc[(0.0, "deletion[grad_cam]"), "value"] == pytest.approx(0.25)
    assert table.loc[(0.01, "deletion[grad_cam]"), "value"] == pytest.approx(1.25)
    sensitive = table.loc[(0.0, "max_sensitivity[grad_cam]")]
    assert (sensitive["value"], sensitive["n"]) == (pytest.approx(3), 3)
    # 2 of 7 in all, whatever the image whose difference is 0.
    missed = table.loc[(0.0, "incompleteness[grad_cam]")]
    assert (missed["value"], missed["n"]) == (pytest.approx(2 / 7), 4)
    assert (0.01, "incompleteness[grad_cam]") not in table.index
    place = run.path("explain", "faithfulness-grad_cam-clean.npz")
    save_npz(place, **{**load_npz(place), "id": np.array(["d", "c", "b", "x"])})
    with pytest.raises(UserError, match=r"faithfulness-grad_cam-clean\.npz: damaged \(of other"):
        measured_rows(run)


def test_heatmaps_of_an_attack_that_was_made_anew_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = fresh(make_run(tmp_path))
    place = run.path("attack", "stage.json")
    save_json(place, {**load_json(place), "seconds": 1.0})
    assert measured_rows(run).empty
    assert "the heatmaps of 'linf_pgd' are older than their images" in caplog.text


def test_a_mask_of_another_size_and_a_map_of_no_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="mask: 4 x 5, expected 10 x 10, the heatmap's size"):
        pair(mask=np.ones((4, 5), bool))
    hole = RAMP.copy()
    hole[2, 3] = np.nan
    with pytest.raises(UserError, match="heatmap: 1 of 100 pixels are not finite"):
        pair(RAMP, hole)


def test_heatmaps_of_other_images_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    place = run.path("explain", "grad_cam-linf_pgd-0.02.npz")
    heatmap = load_npz(place)["heatmap"]
    save_npz(place, id=np.array(["a", "b", "c", "x"]), heatmap=heatmap)
    with pytest.raises(UserError, match=r"0\.02\.npz: does not fit .* run 'explain' again"):
        comparison.write(run, "linf_pgd")
    assert not run.path("explain", "comparison.csv").exists()
    save_npz(place, id=np.array(["a"]))
    with pytest.raises(UserError, match=r"no heatmap"):
        comparison.write(run, "linf_pgd")
    place.unlink()
    with pytest.raises(UserError, match=r"not there"):
        comparison.write(run, "linf_pgd")


def test_comparison_and_measures_need_no_tensorflow() -> None:
    probe = (
        "import sys; from attnrobust.explanations import comparison, measured; "
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0
