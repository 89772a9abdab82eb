"""A run that segments: sweep with carry, evaluation, checks, transfer, page."""

from __future__ import annotations

import base64
import dataclasses
import re
import shutil

import numpy as np
import pandas as pd
import pixel_helpers
import pytest
import segmentation_helpers as drawn

from attnrobust import config, task
from attnrobust.attacks import sanity
from attnrobust.attacks import transfer as crafting
from attnrobust.attacks.segmentation.sanity import SEGMENTATION_CHECKS
from attnrobust.attacks.segmentation.subject import Subject
from attnrobust.attacks.sweep import Sweep
from attnrobust.data import inputs
from attnrobust.disk import runs, schemas
from attnrobust.disk.runs import Run
from attnrobust.errors import UserError
from attnrobust.explanations import comparison, faithfulness, randomisation, samples, stage
from attnrobust.measures import segmentation
from attnrobust.measures.segmentation import Pixels
from attnrobust.models.replicas import Replicas
from attnrobust.report import (
    class_heatmaps,
    differences,
    judging,
    page,
    pairs,
    reading,
    sections,
)
from attnrobust.report.blocks import Asked, Table
from attnrobust.report.claims import Claim, Claims, Model, Side
from attnrobust.report.pictures import Picture
from attnrobust.report.viewer import data as viewer
from attnrobust.run import main
from attnrobust.stages import evaluation, segmented
from attnrobust.studies import panel_columns, panel_figure, transfer_matrix
from attnrobust.studies.panel_columns import panel
from attnrobust.task import overlap

EPSILONS = (0.05, 0.2, 0.4)
# Grey values of a disc are about 220, of the ground 128, of a square 30: thresholds between.
WEIGHTS, BIAS = np.array([[0, 10, -10], [0, 0, 0], [0, 0, 0]]), np.array([0, -6.8, 3.1])


def segmenter(scale: float = 1.0) -> Replicas:
    return pixel_helpers.linear(scale * WEIGHTS, scale * BIAS, drawn.SIZE)


def experiment(name: str, **changes: object) -> config.Experiment:
    settings = {"epsilons": EPSILONS, "batch_size": 4, "samples": 3, "steps": 12, **changes}
    return config.Experiment(
        "linear",
        config.Data("drawn", image_size=drawn.SIZE),
        attack=config.Attack(name, **settings),  # type: ignore[arg-type]
        checks=config.Checks(samples=4, draws=2),
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return drawn.write_drawn(tmp_path_factory.mktemp("records"), 30)


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> Run:
    """Trained (by hand), predicted, attacked twice and evaluated."""
    replicas = segmenter()
    for name in ("pixel_pgd", "dag_background"):
        asked = experiment(name, **({"abs_stepsize": 0.02} if name[:3] == "dag" else {}))
        run = Run.of(asked, tmp_path_factory.getbasetemp() / "segmentation-runs")
        used = {
            key: dataclasses.asdict(getattr(asked, key))
            for key in ("data", "model", "training", "attack", "corruptions")
        }
        if name == "pixel_pgd":
            with run.stage("train", used={"data": used["data"]}) as folder:
                runs.save_text(folder / "weights.h5", "")
            split = {"count": 1, "class_counts": dict.fromkeys(dataset.classes, 1)}
            runs.save_json(
                run.path("provenance.json"),
                {"dataset": {"classes": list(dataset.classes), "splits": {"train": split}}},
            )
            with run.stage("predict", used={"data": used["data"]}) as folder:
                found = predicted(dataset, replicas)
                runs.save_npz(folder / "clean.npz", **found)
        with run.stage(
            run.place_of("attack", name),
            used={"data": used["data"], "attack": used["attack"]},
            notes={"norm": "linf"},
        ) as folder:
            Sweep(asked, dataset, replicas).run(folder)
    with run.stage("evaluate", used={}, inputs=run.measured()) as folder:
        evaluation.evaluate(run, folder)
    return run


def predicted(dataset, replicas) -> dict[str, np.ndarray]:
    rows = []
    for batch in inputs.evaluation_batches(
        dataset, "test", data=config.Data("drawn", image_size=drawn.SIZE), batch_size=100
    ).as_numpy_iterator():
        rows.append(batch)
    (batch,) = rows
    return {
        "id": batch["id"].astype(str),
        "group": batch["group"].astype(str),
        "label": batch["label"],
        **task.kept(replicas.forward(batch["image"]).numpy()),
    }


def states(run: Run, name: str) -> dict[float, dict[str, np.ndarray]]:
    return {
        epsilon: schemas.load_npz(
            run.path(run.place_of("attack", name), runs.attack_file(name, epsilon)),
            schemas.ATTACKED,
        )
        for epsilon in (0.0, *EPSILONS)
    }


@pytest.mark.parametrize("name", ["pixel_pgd", "dag_background"])
def test_carry_is_monotone_image_by_image(run, name):
    found = states(run, name)
    scores = np.stack([task.score_in(state) for state in found.values()])
    assert scores[0].min() > 0.9
    assert (np.diff(scores, axis=0) <= 0).all()
    assert scores[-1].mean() < 0.5
    for epsilon, state in found.items():
        assert state["prediction"].dtype == np.uint8
        assert (state["linf"] <= epsilon + 1e-6).all()
        assert (np.abs(state["sample_image"] - found[0.0]["sample_image"]) <= epsilon + 1e-6).all()


def test_what_is_kept_is_what_the_model_sees(run, dataset):
    """Of the sample images both the adversarial and its map are kept."""
    found = states(run, "pixel_pgd")[EPSILONS[1]]
    rows = [list(found["id"]).index(id_) for id_ in found["sample_id"]]
    maps = task.predict(segmenter().forward(found["sample_image"]).numpy())
    np.testing.assert_array_equal(maps, found["prediction"][rows])


def test_an_image_without_any_dice_left_is_not_attacked_again(dataset, tmp_path):
    asked = experiment("pixel_pgd", epsilons=(0.45, 0.5), loss="log_odds", steps=20, samples=1)
    Sweep(asked, dataset, segmenter()).run(tmp_path)
    first, second = (
        schemas.load_npz(tmp_path / runs.attack_file("pixel_pgd", epsilon), schemas.ATTACKED)
        for epsilon in (0.45, 0.5)
    )
    fallen = task.score_in(first) == 0
    assert fallen.any()
    sample = np.isin(second["id"], second["sample_id"])
    np.testing.assert_array_equal(second["queries"][fallen & ~sample], 0)
    assert (second["queries"][~fallen] > 0).all()


def test_a_sweep_that_is_cut_off_goes_on_to_the_same_end(dataset, tmp_path):
    asked = experiment("seg_pgd", steps=4)
    once, twice = tmp_path / "once", tmp_path / "twice"
    for folder in (once, twice):
        folder.mkdir()
        Sweep(asked, dataset, segmenter()).run(folder)
    for epsilon in EPSILONS[1:]:
        (twice / runs.attack_file("seg_pgd", epsilon)).unlink()
    Sweep(asked, dataset, segmenter()).run(twice)
    for file in once.iterdir():
        one, other = (
            schemas.load_npz(place / file.name, schemas.ATTACKED) for place in (once, twice)
        )
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_an_attack_of_another_task_is_refused(dataset):
    with pytest.raises(UserError, match="linf_pgd: it attacks models that classify"):
        Sweep(experiment("linf_pgd"), dataset, segmenter())


def test_measurements(run):
    table = pd.read_csv(run.path("evaluate", "measurements.csv"), keep_default_na=False)

    def value(condition: str, name: str, level: object, metric: str) -> float:
        chosen = table[
            (table["condition"] == condition)
            & (table["name"] == name)
            & (table["level"].astype(str) == str(level))
            & (table["metric"] == metric)
        ]
        (found,) = chosen["value"]
        return float(found)

    found = states(run, "pixel_pgd")
    clean = schemas.load_npz(run.path("predict", "clean.npz"), schemas.PREDICTED)
    assert value("clean", "", "", "dice") == pytest.approx(task.score_in(clean).mean())
    for epsilon in EPSILONS:
        left = value("attack", "pixel_pgd", epsilon, "dice")
        assert left == pytest.approx(task.score_in(found[epsilon]).mean())
        drop = value("attack", "pixel_pgd", epsilon, "dice_drop")
        assert drop == pytest.approx(value("clean", "", "", "dice") - left)
        worst = value("worst_case", "linf", epsilon, "dice")
        every = [
            task.score_in(states(run, name)[epsilon]) for name in ("pixel_pgd", "dag_background")
        ]
        assert worst == pytest.approx(np.min(every, axis=0).mean())
    each = segmentation.dice(clean["prediction"], clean["label"], 3, np.ones(1))
    assert value("clean", "", "", "dice[disc]") == pytest.approx(np.nanmean(each[:, 1]))
    assert value("clean", "", "", "dice_volume") > 0.9
    assert set(table["interval"]) <= {"", "bootstrap", "group_bootstrap"}


def test_distances_are_in_mm_where_the_records_know_it(run):
    found, told = states(run, "pixel_pgd")[EPSILONS[1]], {}
    for known in (found, {**found, "pixel": np.full(len(found["id"]), 2.5)}):
        images = segmented.Images(("ground", "disc", "square"), found["group"], Pixels.of(known))
        told |= {name: each.value for name, each, _ in segmented.measured(known, images)}
    for end in ("", "_q75", "_worst", "[disc]"):
        assert told[f"hd95_mm{end}"] == pytest.approx(2.5 * told[f"hd95_px{end}"])
    assert told["hd95_px"] > 0
    assert {"hd95", "dice_mm", "dice_px"}.isdisjoint(told)
    assert told["surface_dice_mm"] < told["surface_dice_px"], "1 mm is less than a pixel of 2.5"


def test_checks(run, dataset, tmp_path):
    folder = run.path(run.place_of("attack", "pixel_pgd"))
    subject = Subject.of_sweep(
        experiment("pixel_pgd"), dataset, segmenter(), folder, ("other", lambda: segmenter(2))
    )
    sanity.check(subject, tmp_path, SEGMENTATION_CHECKS)
    found = schemas.load_json(tmp_path / "checks.json", schemas.Checks)
    status = {row["name"]: row["status"] for row in found["checks"]}
    assert list(status) == list(SEGMENTATION_CHECKS)
    assert status["black_box"] == "note"
    sound = {
        "bounds",
        "clean_agrees",
        "frozen",
        "logits",
        "gradients",
        "monotone",
        "noise",
        "reach",
    }
    assert {status[name] for name in sound} == {"pass"}


def test_a_weak_sweep_is_found_out(dataset, tmp_path):
    """One step of a thousandth of the radius from the image takes nothing."""
    asked = experiment("pixel_pgd", epsilons=(0.4,), steps=1, rel_stepsize=1e-3, random_start=False)
    Sweep(asked, dataset, segmenter()).run(tmp_path)
    subject = Subject.of_sweep(asked, dataset, segmenter(), tmp_path)
    for name in ("reach", "one_step", "ensemble"):
        held, said = SEGMENTATION_CHECKS[name].find(subject)
        assert held is False, f"{name}: {said}"


def test_transfer(dataset, tmp_path):
    models = {"soft": segmenter(), "steep": segmenter(3)}
    asked = experiment("dag_background", abs_stepsize=0.05)
    setting = crafting.in_full(asked.attack)
    asked = dataclasses.replace(asked, attack=setting)
    crafting.clean(models, asked, dataset, tmp_path)
    for name in models:
        crafting.craft(name, models, asked, dataset, tmp_path)
    table = transfer_matrix.measure(tmp_path, list(models), EPSILONS, "segment")
    assert set(table["metric"]) == {"dice", "dice_drop", "dice_noisy"}
    noisy = table[table["metric"] == "dice_noisy"]
    assert len(noisy) == 2 * 2 * len(EPSILONS)
    found = runs.load_npz(tmp_path / runs.attack_file("soft", EPSILONS[0]))
    np.testing.assert_allclose(found["noisy_ssim"], found["ssim"], atol=1e-3)
    assert (found["ssim"] < 1).any()
    clean = table[table["source"] == "clean"].set_index("target")["value"]
    left = table[(table["source"] != "clean") & (table["metric"] == "dice")]
    assert len(left) == 2 * 2 * len(EPSILONS)
    for row in left.itertuples():
        assert row.value <= clean[row.target]
        lost = table[
            (table["source"] == row.source)
            & (table["target"] == row.target)
            & (table["epsilon"] == row.epsilon)
            & (table["metric"] == "dice_drop")
        ]["value"].item()
        assert lost == pytest.approx(clean[row.target] - row.value)
    # Both have the same borders, so that what is made on one is as good on the other.
    assert left["value"].min() < 0.5
    transfer_matrix.draw(table, list(models), tmp_path / "transfer.png")
    assert (tmp_path / "transfer.png").stat().st_size


def test_page(run, tmp_path):
    place = page.write([run], tmp_path / "page")
    text = place.read_text(encoding="utf-8")
    assert "Robust accuracy" not in text
    assert "majority rate" not in text, "there is none of maps"
    assert re.search(r"Dice [\d.]+ \(.*?\) without an attack, [\d.]+ \(.*?\) at ε", text), "first"
    assert "data:image" in place.read_text()
    assert (place.parent / "tables" / "segmentation.csv").is_file()
    results = reading.read([run])
    made = sections.read(results, Asked(out=run.root))
    assert [each.anchor for each in made[:2]] == ["viewer", "segmentation"]
    blocks = list(made[1].blocks)
    tables = {block.name: block for block in blocks if isinstance(block, Table)}
    rows = tables["segmentation"].rows
    heads = [head for head in tables["segmentation"].columns if "distance" in head]
    assert heads == ["95 % Hausdorff distance (px)"], "these records know no mm"
    assert [row[1].split(",")[0] for row in rows] == [
        "no attack",
        *["dag_background"] * 3,
        *["pixel_pgd"] * 3,
    ]
    assert sum(isinstance(block, Picture) for block in blocks) >= 3
    assert "trust" in [section.anchor for section in made]
    (known,) = viewer.read(results)["sets"]
    assert (known["metric"], known["right"]) == ("Dice", task.RIGHT_DICE)
    view = next(each for each in known["views"] if each["attack"] == "pixel_pgd")
    scores = np.frombuffer(base64.b64decode(view["scores"][1]), "<f4")
    kept = states(run, "pixel_pgd")[EPSILONS[0]]
    assert scores == pytest.approx(task.score_in(kept), abs=1e-6)
    assert list(view["heatmaps"]) == ["predicted mask", "true mask"] == view["masks"]
    card = (place.parent / "model-card.md").read_text()
    assert f"dice {results[0].clean['dice']}; n = " in card


def test_segmenters_are_compared_by_dice_on_the_same_images(run, tmp_path):
    """One that misses every other image, and one that misses none."""
    other = tmp_path / "runs" / "drawn" / "worse" / "seed-0"
    shutil.copytree(run.root, other)
    save = dataclasses.replace(run.experiment, name="worse")
    runs.save_text(other / "config.json", config.to_json(save))
    for place in (other / "predict" / "clean.npz", *other.glob("attack/*/*.npz")):
        arrays = dict(np.load(place))
        arrays["prediction"][::2] = 0
        runs.save_npz(place, **arrays)
    both = [run, Run.open(other)]
    results = reading.read(both)
    (pair,) = pairs.read(results)
    clean = schemas.load_npz(run.path("predict", "clean.npz"), schemas.PREDICTED)
    before, missed = task.score_in(clean), 1 - np.arange(len(clean["id"])) % 2
    assert pair.rows[0].shares == pytest.approx((before.mean(), np.mean(before * (1 - missed))))
    after = task.score_in(states(run, "pixel_pgd")[EPSILONS[0]])
    row = next(each for each in pair.rows if each.condition.name == "pixel_pgd")
    lost = -np.minimum(before, after) * missed
    assert row.found.value == pytest.approx(lost.mean())
    assert row.found.low <= row.found.value <= row.found.high <= 1
    assert (row.found.test, row.found.only_second) == ("t", 0)
    alone = len(set(clean["group"])) == len(clean["group"])
    assert row.found.interval == ("bootstrap" if alone else "group_bootstrap")
    section = differences.section(results, Asked())
    assert "mean Dice" in section.blocks[0]
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert table.groups[1] == ("Dice", 2)
    assert {"dice_first", "dice_second"} <= set(table.frame)
    claim = Claim("Finds more.", Side("any"), Side("worse"), by=0.01)
    models = {"any": Model({"name": "linear"}), "worse": Model({"name": "worse"})}
    (found,) = judging.judged(results, [Claims("ours", models, [claim])])
    assert found.verdict == judging.OPEN, "of six images none can tell"
    assert found.needed is not None
    assert found.needed > len(before)
    assert found.found.value == pytest.approx(np.mean(before * missed))


@pytest.mark.slow
def test_all_stages_from_records_to_page(dataset, tmp_path):
    """A small U-Net on drawings, by the command line."""
    asked = dataclasses.replace(
        experiment("pixel_apgd", epsilons=(0.02, 0.1), steps=6),
        model=config.Model(backbone="unet", head="", weights="none", width=0.1),
        training=config.Training(epochs=20, batch_size=6, augmentation=(), patience=20),
    )
    words = ["train", "predict", "attack", "check", "evaluate", "report"]
    places = ["--records", str(dataset.root.parent), "--runs", str(tmp_path / "runs")]
    assert main(asked, [*words, *places, "--set", "training.learning_rate=0.003"]) == 0
    run = Run.of(asked, tmp_path / "runs")
    table = pd.read_csv(run.path("evaluate", "measurements.csv"), keep_default_na=False)
    left = table[(table["metric"] == "dice") & (table["condition"].isin(["clean", "attack"]))]
    values = list(left["value"])
    assert values[0] == pytest.approx(values[1])
    assert values[1] >= values[2] >= values[3]
    assert run.path(run.place_of("check", "pixel_apgd"), "checks.json").is_file()


@pytest.fixture(scope="module")
def explained(run) -> Run:
    """The run with heatmaps of its samples."""
    setting, replicas = config.Explanation(methods=("gradient_x_input", "occlusion")), segmenter()
    predicted = (run.stamp("predict") or {}).get("inputs", "")
    with run.stage(
        run.place_of("explain", "pixel_pgd"),
        used={"explanation": dataclasses.asdict(setting)},
        inputs=runs.digest(predicted, run.attacked("pixel_pgd") / "stage.json"),
    ) as folder:
        images = stage.of_attack(run.attacks()["pixel_pgd"], run.attacked("pixel_pgd"))
        stage.explain(replicas.model, setting, images, folder, classes=drawn.CLASSES, seed=0)
        methods = faithfulness.explainers(replicas.model, setting, 0)
        faithfulness.write(replicas, methods, images, folder)
        randomisation.write(replicas.model, methods, images["clean"], folder)
    comparison.write(run, "pixel_pgd")
    return run


def test_explained_is_the_largest_structure_that_the_model_sees(explained):
    folder = explained.path(explained.place_of("explain", "pixel_pgd"))
    clean, found = states(explained, "pixel_pgd"), samples.load(explained, "pixel_pgd", "occlusion")
    kept = schemas.load_npz(folder / "occlusion-clean.npz", schemas.EXPLAINED)
    rows = [list(clean[0.0]["id"]).index(id_) for id_ in clean[0.0]["sample_id"]]
    assert kept["target"].tolist() == overlap.largest(clean[0.0]["prediction"][rows]).tolist()
    assert (kept["target"] > 0).all()
    assert (kept["heatmap"].astype(float) > 0).any(axis=(1, 2)).all()
    expected = found.labels == found.targets[:, None, None]
    np.testing.assert_array_equal(found.masks, expected)
    assert found.right.all(), "without an attack the model is good"
    last = samples.load(explained, "pixel_pgd", "occlusion", EPSILONS[-1])
    np.testing.assert_array_equal(last.right, task.score(last.predictions, last.labels) >= 0.7)
    assert not last.right.all()
    scores = schemas.load_npz(folder / "faithfulness-occlusion-clean.npz", schemas.SCORED)
    assert (scores["deletion"] <= scores["insertion"]).all()


def test_heatmaps_in_numbers_know_the_region_of_the_class(explained):
    folder = explained.path(explained.place_of("explain", "pixel_pgd"))
    table = schemas.load_table(folder / "comparison.csv", schemas.COMPARISON, stage="explain")
    named = table[(table["method"] == "gradient_x_input") & (table["subset"] == "all")]
    assert {"correlation", "mask_area", "concentration"} <= set(named["metric"])
    assert set(table["subset"]) <= {"all", "fooled", "standing"}


def test_each_map_is_measured_in_the_region_of_the_class_that_it_explains(explained, tmp_path):
    """Under an attack the largest structure that the model sees may be another."""
    found = samples.at_all_radii(explained, "pixel_pgd", "occlusion")
    targets = [tuple(each.targets) for each in found.values()]
    assert len(set(targets)) > 1, "else this would say nothing"
    for each in found.values():
        expected = each.labels == each.targets[:, None, None]
        np.testing.assert_array_equal(each.masks, expected)
    table = evaluation.evaluate(explained, tmp_path)
    mine = table[(table["name"] == "pixel_pgd") & (table["metric"] == "heat_inside[occlusion]")]
    assert list(mine["level"]) == [0, *EPSILONS]
    inside = [np.nanmean(each.values("heat_inside")) for each in found.values()]
    assert list(mine["value"]) == pytest.approx(inside)
    assert "gini[gradient_x_input]" in set(table["metric"])


def test_page_and_panel_show_image_class_and_map(explained, tmp_path):
    made = {each.anchor: each for each in sections.read(reading.read([explained]), Asked(tmp_path))}
    pictures = [each for each in made["heatmaps"].blocks if isinstance(each, Picture)]
    assert len(pictures) == 2
    assert "gradient_x_input of the class named below" in pictures[0].caption
    assert "changes" in made
    (result,) = [each for each in reading.read([explained]) if each.attack == "pixel_pgd"]
    state = class_heatmaps.read(result, "occlusion", EPSILONS[-1])
    loaded = samples.load(explained, "pixel_pgd", "occlusion", EPSILONS[-1])
    assert state.ids == tuple(loaded.ids)
    np.testing.assert_array_equal(state.targets, loaded.targets)
    np.testing.assert_array_equal(state.predictions, loaded.predictions)
    assert state.heatmaps.max(axis=(1, 2)) == pytest.approx([1] * len(state.ids))
    assert class_heatmaps.read(result, "grad_cam", 0.0) is None, "that was not made"
    panel([explained], tmp_path / "panel", panel_columns.Asked(columns="methods"))
    assert (tmp_path / "panel.png").stat().st_size
    panel([explained], tmp_path / "levels", panel_columns.Asked(columns="conditions"))
    shown = samples.load(explained, "pixel_pgd", "occlusion", EPSILONS[-1])
    column = panel_figure.Column("a", explained, shown, shown)
    figure = panel_figure.draw([column], shown.ids[:1], drawn.CLASSES, style="overlay", shared=True)
    image, heat, *_ = figure.axes
    assert image.get_xlabel().split("\n")[1] == drawn.CLASSES[shown.targets[0]]
    assert re.fullmatch(r"(disc|square|background), Dice [\d.]+", heat.get_xlabel())
    assert image.collections, "the outline of the class"


def test_samples_without_an_attack_are_explained_as_well(dataset, tmp_path):
    data, replicas = config.Data("drawn", image_size=drawn.SIZE), segmenter()
    images = stage.unattacked(replicas, dataset, data, 3, tmp_path)
    shown = schemas.load_npz(images["clean"], samples.SAMPLED)
    assert shown["prediction"].dtype == shown["label"].dtype == np.uint8
    expected = [f"g{int(id_.removeprefix('d')) // 2}" for id_ in shown["sample_id"]]
    assert shown["group"].tolist() == expected, "their intervals resample whole groups"
    maps = task.predict(replicas.forward(shown["sample_image"]).numpy())
    np.testing.assert_array_equal(shown["prediction"], maps)
    setting = config.Explanation(methods=("gradient",), target="square")
    stage.explain(replicas.model, setting, images, tmp_path, classes=drawn.CLASSES, seed=0)
    kept = schemas.load_npz(tmp_path / "gradient-clean.npz", schemas.EXPLAINED)
    assert kept["target"].tolist() == [2] * 3
    # A pixel's logit of the square falls with its first channel alone, by 10.
    assert kept["heatmap"] / kept["scale"][:, None, None] == pytest.approx(np.full((3, 32, 32), 10))
