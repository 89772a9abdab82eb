"""The report, on tiny runs made by hand: what the page says is what the files hold."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import re
import shlex
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import command_helpers
import numpy as np
import pandas as pd
import pytest

from attnrobust import config
from attnrobust.disk import stamps
from attnrobust.disk.runs import Run, load_json, save_json, save_npz, save_text
from attnrobust.errors import UserError
from attnrobust.report import (
    commands,
    figures,
    limits,
    reading,
    robustness,
    samples,
    training,
    wording,
)
from attnrobust.report.page import write
from attnrobust.report.results import Result, heads
from attnrobust.stages import pipeline

COLUMNS = (
    "dataset",
    "experiment",
    "seed",
    "split",
    "condition",
    "name",
    "level",
    "metric",
    "value",
    "low",
    "high",
    "n",
)
SCRIPT = "<script>alert(1)</script>"


def make_run(
    root: Path,
    name: str = "tiny_gap",
    *,
    seed: int = 0,
    accuracy: float = 0.75,
    epsilons: Sequence[float] = (0.00125, 8 / 255),
    classes: Sequence[str] = ("nevus", "melanoma"),
    heatmaps: bool = True,
    backbone: str = "resnet50",
    dataset: str = "demo",
    method: str = "standard",
) -> Run:
    """A run with every file the report reads: 40 images, 3 samples of 16x16."""
    experiment = config.Experiment(
        name=name,
        data=config.Data(dataset, image_size=16),
        model=config.Model(backbone=backbone, head="soft_attention"),
        training=config.Training(method=method),
        attack=config.Attack(epsilons=tuple(epsilons), samples=3),
        seed=seed,
    )
    run = Run.of(experiment, root)
    words = command_helpers.again(experiment)
    save_text(run.path("config.json"), config.to_json(experiment))
    split = {"count": 40, "class_counts": dict.fromkeys(classes, 20)}
    described = {"name": dataset, "classes": list(classes), "size": 16, "splits": {"test": split}}
    save_json(
        run.path("provenance.json"),
        {
            "command": shlex.join(["python", "-m", "experiments", words[0], "all", *words[1:]]),
            "revision": "abc123",
            "python": "3.11",
            "packages": {"numpy": "1.26.4"},
            "machine": "Linux",
            "devices": ["CPU:0"],
            "dataset_hash": "d00d",
            "started": "2025-01-01T00:00:00+0000",
            "dataset": described,
            "parameters": 1234567,
            "attention_parameters": 145,
            "input_scale": 255.0,
        },
    )
    epochs = [
        {
            "epoch": e,
            "loss": 1 / e,
            "accuracy": 0.5,
            "val_loss": abs(e - 3) + 0.1,
            "val_accuracy": 0.6,
            "seconds": 1.0,
        }
        for e in range(1, 6)
    ]
    save_text(run.path("train", "history.jsonl"), "".join(json.dumps(e) + "\n" for e in epochs))
    stamp = {"used": {}, "inputs": "", "finished": True, "seconds": 90.0, "again": words}
    save_json(run.path("train", "stage.json"), stamp)
    used = dataclasses.asdict(experiment)
    made = {**stamp, "used": used, "version": stamps.version("attack")}
    save_json(run.path("attack", "linf_pgd", "stage.json"), made)
    if heatmaps:
        save_json(run.path("explain", "linf_pgd", "stage.json"), {**stamp, "used": used})
    _measure(run, accuracy, classes)
    for epsilon in (0.0, *epsilons):
        _attack(run, epsilon, heatmaps)
    return run


def _measure(run: Run, accuracy: float, classes: Sequence[str]) -> None:
    attack = run.experiment.attack
    rows: list[dict[str, Any]] = []

    def add(metric: str, value: float, epsilon: float | None = None, n: int = 40) -> None:
        attacked = epsilon is not None
        rows.append(
            {
                "dataset": run.experiment.data.dataset,
                "experiment": run.experiment.name,
                "seed": run.experiment.seed,
                "split": "test",
                "condition": "attack" if attacked else "clean",
                "name": attack.name if attacked else "",
                "level": epsilon if attacked else "",
                "metric": metric,
                "value": value,
                "n": n,
                "low": "" if metric == "majority_rate" else value * 0.8,
                "high": "" if metric == "majority_rate" else value * 1.1,
            }
        )

    add("accuracy", accuracy)
    add("balanced_accuracy", accuracy - 0.123)
    add("macro_auc", accuracy + 0.1)
    add("majority_rate", 0.5)
    for i, name in enumerate(classes):
        add(f"recall[{name}]", accuracy - 0.1 * i, n=20)
    for order, epsilon in enumerate((0.0, *attack.epsilons)):
        add("accuracy", accuracy / (1 + order), epsilon)
        add("attack_success_rate", 1 - 1 / (1 + order), epsilon, n=30)
        add("prediction_change_rate", 0.7 - 0.7 / (1 + order), epsilon)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    save_text(run.path("evaluate", "measurements.csv"), text.getvalue())


def _attack(run: Run, epsilon: float, heatmaps: bool) -> None:
    ids = np.array([f"image-{i}" for i in range(40)])
    label = np.arange(40) % 2
    logits = np.eye(2, dtype=np.float32)[label if not epsilon else 1 - label]
    rng = np.random.default_rng(0)
    image = rng.random((3, 16, 16, 3), dtype=np.float32) * 0.5 + 0.25
    noise = rng.choice([-1.0, 1.0], image.shape).astype(np.float32) * np.float32(epsilon)
    name = run.experiment.attack.name
    save_npz(
        run.path("attack", name, f"{name}-{epsilon:g}.npz"),
        id=ids,
        label=label,
        logits=logits,
        linf=np.full(40, epsilon),
        l2=np.full(40, epsilon),
        queries=np.full(40, 40),
        sample_id=ids[[4, 1, 7]],
        sample_image=np.clip(image + noise, 0, 1),
    )
    if heatmaps:
        heatmap = rng.random((3, 16, 16)).astype(np.float16)
        heatmap[1] = 0
        stem = f"grad_cam-{name}-{epsilon:g}" if epsilon else "grad_cam-clean"
        # In another order than the attack's: images are matched by id, not by place.
        save_npz(
            run.path("explain", name, f"{stem}.npz"),
            id=ids[[7, 1, 4]],
            heatmap=heatmap,
            target=np.zeros(3, np.int64),
            prediction=np.zeros(3, np.int64),
        )


class Page(HTMLParser):
    """The tags of the page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and text of a report on two models."""
    root = tmp_path_factory.mktemp("pair")
    run_list = [make_run(root), make_run(root, "tiny_attention", accuracy=0.6)]
    path = write(run_list, root / "out")
    return root / "out", path.read_text(encoding="utf-8")


def test_every_section_is_there(pair: tuple[Path, str]) -> None:
    out, text = pair
    tags = Page(text).tags
    anchors = [a["href"] for tag, a in tags if tag == "a"]
    sections = [f"#{a['id']}" for tag, a in tags if tag == "section"]
    assert sections == [a for a in anchors if a and a.startswith("#")]
    assert len(sections) == 11
    for word in (
        "Table 1.",
        "Table 6.",
        "Figure 1.",
        "One image at every ε",
        "1,234,567",
        "d00d",
        "upper bound",
        "python -m attnrobust report",
    ):
        assert word in text
    assert text.count("<details") == 2 * 2 + 2  # Two epsilons and a configuration for each run.
    assert text.count("<details open") == 2
    # Headline, two trainings, two runs at two epsilons, a strip, two comparisons.
    names = {path.stem for path in (out / "figures").glob("*.png")}
    assert len(names) == 1 + 2 + 4 + 1 + 2 == text.count("<img ") + 2
    assert text.count('<a href="figures/samples-') == 2, "of the epsilons that tell less"
    assert not list(out.rglob(".*")), "temporary files are left"


@pytest.mark.slow
def test_every_command_of_the_page_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs under names of their own, in a folder of their own with a blank, one with a label."""
    monkeypatch.chdir(tmp_path)
    root = Path("my runs")
    first, second = make_run(root), make_run(root, "tiny_attention", seed=3, heatmaps=False)
    second.path("attack", "linf_pgd").rename(second.path("attack", "strong"))
    for path in second.path("attack", "strong").glob("*-0*.npz"):
        path.unlink()
    measured = second.path("evaluate", "measurements.csv")
    save_text(measured, measured.read_text().replace(",linf_pgd,", ",strong,"))
    page = write([first, second], tmp_path / "out", title='The "title"')
    text = page.read_text(encoding="utf-8")
    called = command_helpers.all_of(text, monkeypatch)
    assert page.read_text(encoding="utf-8") == text, "the report's own command writes it again"
    mine = [each for command, each in called.items() if "my runs" in command]
    assert {each.context.run.root for each in mine} == {first.root, second.root}
    for each in mine:
        run = first if each.context.run.root == first.root else second
        assert each.context.experiment == run.experiment
        assert each.context.label == ("linf_pgd" if run is first else "strong")
    made = {
        run: [each.stages for each in mine if each.context.run.root == run.root]
        for run in (first, second)
    }
    everything = pipeline.in_order(["all"])
    assert made == {
        first: [["explain", "evaluate"], ["check"], everything],
        second: [["check"], ["attack", "explain", "evaluate"], everything],
    }


def test_commands_of_stages_with_other_settings_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "runs", heatmaps=False)
    changed = config.with_settings(run.experiment, ["attack.steps=7", "attack.target=nevus"])
    more = {"again": [*command_helpers.again(changed), "--records", "some where"]}
    place = run.path("attack", "linf_pgd", "stage.json")
    save_json(place, {**load_json(place), **more, "used": dataclasses.asdict(changed)})
    lines = commands.repeating(reading.read([run]), tmp_path / "out")
    stages = [["train", "predict"], ["attack"], ["evaluate"]]
    for line, expected in zip(lines[:-1], stages, strict=True):
        called = command_helpers.call(line, monkeypatch)
        assert called is not None
        assert called.stages == expected
        assert called.context.run.root == run.root
        attack = changed.attack if expected == ["attack"] else run.experiment.attack
        assert called.context.experiment.attack == attack
        if expected == ["attack"]:
            assert called.context.records == Path("some where")


def test_runs_of_long_ago_are_called_by_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("resnet18_gap", "resnet18_gap-smoke"):
        run = make_run(tmp_path / "runs", name)
        for stage in run.root.rglob("stage.json"):
            save_json(stage, {**load_json(stage), "again": []})
        line, report = commands.repeating(reading.read([run]), tmp_path / "out")
        called = command_helpers.call(line, monkeypatch)
        assert called is not None
        assert called.context.run.root == run.root
        assert report.startswith("python -m attnrobust report ")


@pytest.mark.parametrize("stage", ["train", "attack/linf_pgd"])
def test_stamps_that_name_an_experiments_file_mean_the_experiment(
    stage: str, tmp_path: Path
) -> None:
    """As they did when each had a file of its own; `train` may be older than the attack."""
    run = make_run(tmp_path / "runs", heatmaps=False)
    today = commands.repeating(reading.read([run]), tmp_path / "out")
    assert today[0].startswith(f"python -m attnrobust run {command_helpers.NAME} all ")
    place = run.path(stage, "stage.json")
    stamp = load_json(place)
    name, *options = stamp["again"]
    save_json(place, {**stamp, "again": [f"experiments.{name}", *options]})
    assert commands.repeating(reading.read([run]), tmp_path / "out") == today


def test_numbers_on_the_page_are_those_of_the_files(pair: tuple[Path, str]) -> None:
    out, text = pair
    cells = [html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", text)]
    place = out / "tables" / "measurements.csv"
    measured = pd.read_csv(place, float_precision="round_trip")
    shown = measured[measured["low"].notna() & ~(measured["level"] == 0)]
    assert len(shown) == 2 * (3 + 2 + 2 * 3)
    for row in shown.itertuples():
        assert f"{row.value:.3f} ({row.low:.3f}–{row.high:.3f})" in cells
    robust = pd.read_csv(out / "tables" / "robust-demo-resnet50-linf_pgd.csv")
    assert list(robust["epsilon_255"].round(4)) == [0.3188, 0.3188, 8, 8]
    assert list(robust["epsilon_model_units"].round(4)) == [0.3188, 0.3188, 8, 8], "scale 255"
    assert list(robust["value"]) == pytest.approx([0.375, 0.3, 0.25, 0.2])
    assert "0.00125" in cells + re.findall(r'row">(.*?)<', text)
    assert "tiny_gap and tiny_attention are not compared image by image" in text


def test_page_is_self_contained_and_described(pair: tuple[Path, str]) -> None:
    _, text = pair
    for tag, attributes in Page(text).tags:
        for name in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(name) or ""
            file = tag == "a" and value.startswith("figures/")  # beside the page
            assert not value or file or value.startswith(("#", "data:image/")), (tag, value[:60])
        if tag == "img":
            assert len(attributes["alt"] or "") > 30
        assert tag not in ("link", "iframe")
    assert "url(" not in text
    assert "@import" not in text


def test_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    first = write([run], tmp_path / "out").read_bytes()
    assert write([run, run], tmp_path / "out").read_bytes() == first


def test_names_are_escaped(tmp_path: Path) -> None:
    run = make_run(tmp_path, classes=(SCRIPT, "NA & $x$"))
    text = write([run], tmp_path / "out", title='<b>"title"</b>').read_text(encoding="utf-8")
    assert SCRIPT not in text
    assert "<b>&#34;" not in text
    assert '<b>"' not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "NA &amp; $x$" in text


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run given"):
        write([], tmp_path / "out")
    run = make_run(tmp_path, heatmaps=False)
    text = write([run], tmp_path / "out").read_text(encoding="utf-8")
    assert "There are no heatmaps yet; this makes them: <code>python -m" in text
    assert "nothing to set side by side" in text
    run.path("provenance.json").unlink()
    run.path("train", "history.jsonl").unlink()
    text = write([run], tmp_path / "out").read_text(encoding="utf-8")
    assert "No training history was kept" in text
    measurements = run.path("evaluate", "measurements.csv")
    rows = [row for row in measurements.read_text().splitlines() if ",attack," not in row]
    save_text(measurements, "\n".join([*rows, ""]))
    assert "No attack has been measured" in write([run], tmp_path / "out").read_text()
    save_text(measurements, "dataset,value\n")
    with pytest.raises(UserError, match=r"measurements\.csv: damaged \(no column"):
        write([run], tmp_path / "out")
    measurements.unlink()
    with pytest.raises(UserError, match="run 'evaluate' first"):
        write([run], tmp_path / "out")


def test_runs_without_measurements_are_left_out_and_the_page_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    measured, stale, begun = (make_run(tmp_path, seed=seed, heatmaps=False) for seed in range(3))
    begun.path("evaluate", "measurements.csv").unlink()
    with stale.stage("evaluate", used={}, inputs="of other attacks", renew=True):
        pass
    page = write([measured, stale, begun], tmp_path / "out")
    text = html.unescape(page.read_text(encoding="utf-8"))
    for run, reason in ((stale, "run 'predict' first"), (begun, "run 'evaluate' first")):
        assert f"A run is left out: {run.root}: {reason}." in text
        assert f"warning: a run is left out: {run.root}: {reason}" in caplog.text
    assert f"seed-{measured.experiment.seed} --out" in text, "its own command names what it shows"
    for runs_ in ([begun], [begun, stale]):
        with pytest.raises(UserError, match="run 'evaluate' first"):
            write(runs_, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_seeds_of_an_experiment_are_taken_together(tmp_path: Path) -> None:
    run_list = [make_run(tmp_path, seed=s, accuracy=a) for s, a in enumerate((0.6, 0.7, 0.8))]
    text = write(run_list, tmp_path / "out").read_text(encoding="utf-8")
    assert "mean of 3 seeds" in text
    assert "0.700 ± 0.100" in text
    assert "0.350 ± 0.050" in text  # Robust accuracy at the smaller epsilon: half of each.
    assert all(f"tiny_gap seed {seed}" in text for seed in range(3))
    # The first seed at both epsilons, the others at the telling one.
    assert len(list((tmp_path / "out" / "figures").glob("samples-*.png"))) == 2 + 1 + 1


def test_two_runs_of_one_name_and_seed_are_refused(tmp_path: Path) -> None:
    run_list = [make_run(tmp_path / "a"), make_run(tmp_path / "b")]
    with pytest.raises(UserError, match="give one a name of its own"):
        write(run_list, tmp_path / "out")


def test_heatmaps_are_matched_by_id(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    found = samples.read(reading.read([run])[0], "grad_cam")
    assert found is not None
    assert found.ids == ("image-4", "image-1", "image-7")
    stored = np.load(run.path("explain", "linf_pgd", "grad_cam-clean.npz"))["heatmap"].astype(
        np.float32
    )
    np.testing.assert_allclose(found.clean.heatmaps[0], stored[2] / stored[2].max())
    assert list(found.labels) == [0, 1, 1]
    assert list(found.clean.predictions) == [0, 1, 1]
    assert [list(each.predictions) for each in found.attacked] == [[1, 0, 0]] * 2
    save_npz(
        run.path("explain", "linf_pgd", "grad_cam-clean.npz"),
        id=np.array(["other"]),
        heatmap=stored[:1],
    )
    with pytest.raises(UserError, match="run 'explain' again"):
        samples.read(reading.read([run])[0], "grad_cam")
    save_npz(run.path("explain", "linf_pgd", "grad_cam-clean.npz"), id=np.array(["other"]))
    with pytest.raises(UserError, match=r"grad_cam-clean\.npz: damaged .no heatmap in it"):
        samples.read(reading.read([run])[0], "grad_cam")


def test_the_attack_is_put_in_words(tmp_path: Path) -> None:
    (result,) = reading.read([make_run(tmp_path)])
    assert limits.attacks([result, result]) == [
        "linf_pgd with 40 steps of 0.0333 ε each and 1 start at random in the ball"
    ]
    assert float(limits.half_width([result])) == pytest.approx(0.75 * (1.1 - 0.8) / 2, abs=1e-3)


@pytest.mark.parametrize(("steps", "warned"), [(10, True), (40, False)])
def test_an_attack_that_stops_short_is_called_out_on_the_first_screen(
    steps: int, warned: bool, tmp_path: Path
) -> None:
    run = make_run(tmp_path, "tiny_gap")
    experiment = config.with_settings(run.experiment, [f"attack.steps={steps}"])
    place = run.path("attack", "linf_pgd", "stage.json")
    save_json(place, {**load_json(place), "used": dataclasses.asdict(experiment)})
    text = write([Run.open(run.root)], tmp_path / "out").read_text(encoding="utf-8")
    assert ("10 steps reach 0.33 of the ball" in html.unescape(text)) == warned


def test_the_best_epoch_is_the_one_whose_weights_were_kept():
    training = config.Training(min_delta=0.001)
    run = SimpleNamespace(experiment=SimpleNamespace(training=training))
    losses = [0.9, 0.5, 0.4995, 0.6]
    history = [{"epoch": i + 1, "val_loss": loss} for i, loss in enumerate(losses)]
    assert Result.best_epoch(SimpleNamespace(history=history, run=run)) == 2
    assert Result.best_epoch(SimpleNamespace(history=[], run=run)) is None


def test_seeds_that_were_not_measured_are_counted_aloud(tmp_path: Path) -> None:
    run_list = [make_run(tmp_path, seed=seed, heatmaps=False) for seed in range(3)]
    # The first knows one epsilon more, the last no AUC.
    for run, lost in (
        (run_list[1], ",0.00125,"),
        (run_list[2], ",0.00125,"),
        (run_list[2], ",macro_auc,"),
    ):
        place = run.path("evaluate", "measurements.csv")
        rows = [row for row in place.read_text().splitlines() if lost not in row]
        save_text(place, "\n".join([*rows, ""]))
    text = html.unescape(write(run_list, tmp_path / "out").read_text(encoding="utf-8"))
    assert "tiny_<wbr>gap, 3 seeds" in text
    assert "<td>0.375 (0.300–0.413), 1 of 3</td>" in text
    assert "<td>0.850 ± 0.000, 2 of 3</td>" in text
    assert "robust accuracy 0.375 (0.300–0.413), 1 of 3 at ε\u00a0=\u00a00.00125" in text
    results = reading.read(run_list)
    assert heads(results[:1])[0][0] == "tiny_gap, 1 of 3 seeds"
    assert heads(results)[0][0] == "tiny_gap, 3 seeds"
    (picture,) = robustness.accuracy_curves(results, figures.colours(results))
    assert "the thick line is their mean where all have one" in picture.caption
    places = figures.positions(results[0].epsilons)
    x, mean = figures._mean([robustness._curve(each, places) for each in results])
    assert x == [0, places[results[0].epsilons[1]]], "at 0.00125 it would be the first seed's alone"
    assert mean == pytest.approx([0.75, 0.25])


def test_a_targeted_attack_is_called_so_wherever_it_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    changed = config.with_settings(run.experiment, ["attack.target=nevus"])
    for stage in ("attack", "explain"):
        place = run.path(stage, "linf_pgd", "stage.json")
        save_json(place, {**load_json(place), "used": dataclasses.asdict(changed)})
    (result,) = reading.read([run])
    assert result.label == "tiny_gap, linf_pgd targeted at nevus"
    text = html.unescape(write([run], tmp_path / "out").read_text(encoding="utf-8"))
    shown = re.sub(r"<[^>]*>", "", re.sub(r"<pre>.*?</pre>", "", text, flags=re.S))
    # Not the settings' own names, which stand in files, commands and the configuration.
    named = [
        match
        for match in re.finditer("linf_pgd", shown)
        if "--" not in shown[shown.rfind("\n", 0, match.start()) : match.start()]
    ]
    assert len(named) > 5
    for match in named:
        after = shown[match.end() : match.end() + 30]
        assert after.startswith((" targeted at nevus", " with")) or "linf" in after, after
    assert "0.031" in text
    assert "under linf_pgd targeted at nevus" in text
    assert "The attack: linf_pgd targeted at nevus with 40 steps" in text
    made = {path.name for path in (tmp_path / "out" / "tables").iterdir()}
    assert "attack-demo-resnet50-linf_pgd-targeted-at-nevus.csv" in made
    assert "of a targeted attack, the images read as its target" in text


def test_the_majority_rate_is_every_runs_own(tmp_path: Path) -> None:
    run_list = [make_run(tmp_path), make_run(tmp_path, "tiny_attention")]
    place = run_list[1].path("evaluate", "measurements.csv")
    save_text(place, place.read_text().replace("majority_rate,0.5,", "majority_rate,0.625,"))
    said = wording.summary(reading.read(run_list))[0]
    assert "commonest class would give an accuracy of 0.500–0.625, by run." in said
    assert "an accuracy of 0.500." in wording.summary(reading.read(run_list[:1]))[0]


def test_the_dashed_line_of_a_training_is_the_epoch_that_was_kept(tmp_path: Path) -> None:
    (result,) = reading.read([make_run(tmp_path)])
    picture = training.curves(result, "#000000", name="training")
    assert result.best_epoch() == 3
    delta = result.run.experiment.training.min_delta
    expected = "Dashed: the epoch whose weights were kept, the last that bettered the lowest"
    assert expected in picture.caption
    assert (f"by more than {delta:g}" in picture.caption) == (delta > 0)
    never = dataclasses.replace(result, history=({"epoch": 1, "loss": 1.0},))
    picture = training.curves(never, "#000000", name="training")
    assert "Dashed" not in picture.caption


def test_how_intervals_are_made_is_said(tmp_path: Path) -> None:
    (result,) = reading.read([make_run(tmp_path)])
    assert "Images of one patient are taken as independent" in wording.intervals([result])
    for kind, expected in (
        ("wilson", "Proportions have Wilson’s interval"),
        ("group_bootstrap", "whole groups are resampled"),
    ):
        frame = result.frame.assign(interval=kind)
        said = wording.intervals([dataclasses.replace(result, frame=frame)])
        assert expected in said
        assert "taken as independent" not in said


def test_predictions_older_than_the_weights_are_not_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    save_text(run.path("train", "weights.h5"), "weights of today")
    place = run.path("attack", "linf_pgd", "stage.json")
    save_json(place, {**load_json(place), "weights": "of yesterday"})
    with pytest.raises(UserError, match=r"attack/linf_pgd older than train/weights\.h5"):
        write([run], tmp_path / "out")
